// The lanes of a worker, and why a lane cannot be had. See uring_lane.h.
#include "egress/uring_lane.h"

namespace pagewire::egress {

UringLanes::UringLanes() = default;
UringLanes::UringLanes(UringLanes&&) noexcept = default;
UringLanes& UringLanes::operator=(UringLanes&&) noexcept = default;
UringLanes::~UringLanes() = default;

Result<void> UringLanes::open(LaneKind kind) {
  std::unique_ptr<UringLane>& lane = lanes_[static_cast<std::size_t>(kind)];
  if (lane != nullptr) return {};
  Result<std::unique_ptr<UringLane>> opened = UringLane::open(kind);
  if (!opened) return tl::unexpected(opened.error());
  lane = std::move(*opened);
  return {};
}

std::vector<int> UringLanes::fds() const {
  std::vector<int> all;
  for (const auto& lane : lanes_) {
    if (lane != nullptr) all.push_back(lane->fd());
  }
  return all;
}

void UringLanes::reap() {
  for (const auto& lane : lanes_) {
    if (lane != nullptr) lane->reap();
  }
}

void UringLanes::settle() {
  for (const auto& lane : lanes_) {
    if (lane != nullptr) lane->settle();
  }
}

LaneCounters UringLanes::counters() const {
  LaneCounters sum;
  for (const auto& lane : lanes_) {
    if (lane != nullptr) sum += lane->counters();
  }
  return sum;
}

LaneCounters& LaneCounters::operator+=(const LaneCounters& other) {
  notifications += other.notifications;
  copied_notifications += other.copied_notifications;
  splices += other.splices;
  without_buffer += other.without_buffer;
  buffers_in_flight += other.buffers_in_flight;
  operations_in_flight += other.operations_in_flight;
  return *this;
}

namespace {

const char* why_not(const Error& error, LaneKind kind) {
  const bool registering = error.operation != std::string_view("io_uring_setup");
  switch (error.errno_value) {
    case ENOSYS:
      return "io_uring is not in this kernel";
    case EPERM:
      return "io_uring is refused (kernel.io_uring_disabled, or a seccomp filter)";
    case EINVAL:  // setup: unknown flags, or see Uring::open()
      return kind == LaneKind::PolledSend
                 ? "SQPOLL of this kernel keeps closed sockets open (Linux 6.14)"
                 : "io_uring of this kernel is too old (Linux 5.19)";
    case EOPNOTSUPP:
      return kind == LaneKind::Splice ? "io_uring of this kernel has no splice"
                                      : "io_uring of this kernel has no SEND_ZC (Linux 6.2)";
    case ENOMEM:
      // Of the ring itself as well as of its buffers.
      return "no memory can be locked for io_uring (RLIMIT_MEMLOCK)";
    case EMFILE:
    case ENFILE:
      return "no descriptor is left for an io_uring";
    case ETIME:
      return "the thread of the io_uring (SQPOLL) does not answer";
    default:
      return registering ? "io_uring cannot be set up here" : "io_uring cannot be opened here";
  }
}

}  // namespace

Availability probe_lane(LaneKind kind) {
  const Result<std::unique_ptr<UringLane>> lane = UringLane::open(kind);
  if (!lane) return {.available = false, .reason = why_not(lane.error(), kind)};
  return {};
}

Result<void> open_lane(Resources& resources, LaneKind kind) {
  // Who lends no lanes cannot have the path.
  if (resources.lanes == nullptr) return failure("io_uring", ENOSYS);
  return resources.lanes->open(kind);
}

UringLane* lane_of(const Transfer& transfer, LaneKind kind) {
  const UringLanes* const lanes = transfer.resources->lanes;
  return lanes == nullptr ? nullptr : lanes->lane(kind);
}

}  // namespace pagewire::egress
