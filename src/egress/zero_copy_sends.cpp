// Windows and sends in flight of one socket, and SocketState, which owns them for its connection.
// See zero_copy_sends.h.
//
// Relies on: Documentation/networking/msg_zerocopy.rst; sys/zero_copy.h.
#include "egress/zero_copy_sends.h"

#include "egress/mapped_window.h"
#include "egress/registry.h"

namespace pagewire::egress {

namespace {

// Below about 10 KB pinning pages and handling the completion cost more than the copy
// (msg_zerocopy.rst, "Opportunity and Caveats").
constexpr ByteCount least_send{16 * kib};

}  // namespace

ZeroCopySends::~ZeroCopySends() {
  const SendsInFlight::Completed left = sends_.left();
  use_.abandoned += left.sends;
  use_.in_flight -= left.bytes;
}

Result<const sys::Mapping*> ZeroCopySends::window_at(const Transfer& transfer, FileOffset at) {
  const int fd = transfer.segments[transfer.index].file->fd();
  if (has_current()) {
    const ByteRange range = current().mapping.range();
    const bool inside = current_fd_ == fd && range.offset <= at && at < range.end();
    if (inside) return &current().mapping;
    leave_window();
  }
  const std::optional<std::uint8_t> index = free_window();
  if (!index) {
    ++use_.over_limit;
    return nullptr;
  }
  Result<sys::Mapping> mapping = sys::Mapping::map(fd, window_from(transfer, at));
  if (!mapping) return tl::unexpected(mapping.error());
  windows_[*index].mapping = std::move(*mapping);
  current_ = *index;
  current_fd_ = fd;
  return &current().mapping;
}

void ZeroCopySends::leave_window() {
  if (!has_current()) return;
  const std::uint8_t left = current_;
  current_ = max_windows;
  current_fd_ = -1;
  release(left);
}

std::optional<std::uint8_t> ZeroCopySends::free_window() const {
  for (std::uint8_t index = 0; index < max_windows; ++index) {
    if (!windows_[index].mapping.is_mapped()) return index;
  }
  return std::nullopt;
}

/// Unmaps the window if nothing holds it any more.
void ZeroCopySends::release(std::uint8_t index) {
  Window& window = windows_[index];
  if (window.sends == 0 && index != current_) window.mapping.unmap();
}

ByteCount ZeroCopySends::allowed(ByteCount wanted) const {
  if (given_up_ || wanted < least_send) return {};
  const ByteCount limit = use_.limits.in_flight;
  const ByteCount room = limit - std::min(use_.in_flight, limit);
  if (sends_.full() || room < least_send) {
    ++use_.over_limit;
    return {};
  }
  return std::min(wanted, room);
}

void ZeroCopySends::sent(ByteCount count) {
  sends_.add(count, current_);
  ++current().sends;
  ++use_.sends;
  use_.in_flight += count;
}

ByteCount ZeroCopySends::take_completions(int socket_fd) {
  ByteCount copied;
  // Ends with the last send: asking an empty queue once more would cost a call each time.
  while (!sends_.empty()) {
    const std::optional<sys::ZeroCopyCompletion> range = sys::next_completion(socket_fd);
    if (!range) break;
    const auto freed = [this](const SendsInFlight::Send& send) {
      --windows_[send.window].sends;
      release(send.window);
    };
    const SendsInFlight::Completed done = sends_.complete(*range, freed);
    use_.in_flight -= done.bytes;
    use_.completed += done.sends;
    if (range->copied) {
      use_.copied += done.sends;
      copied += done.bytes;
    }
    note_streak(done.sends, range->copied);
  }
  return copied;
}

void ZeroCopySends::note_streak(std::uint32_t sends, bool copied) {
  copied_streak_ = copied ? copied_streak_ + sends : 0;
  const std::uint64_t limit = use_.limits.copied_streak;
  if (given_up_ || limit == 0 || copied_streak_ < limit) return;
  given_up_ = true;
  ++use_.given_up;
}

// ---------------------------------------------------------------- SocketState

SocketState::SocketState() = default;
SocketState::~SocketState() = default;

bool SocketState::busy() const {
  return zero_copy != nullptr && zero_copy->any_in_flight();
}

Completed SocketState::take_completions(int socket_fd) {
  if (!busy()) return {};
  return {.path = &zerocopy_path, .copied = zero_copy->take_completions(socket_fd)};
}

}  // namespace pagewire::egress
