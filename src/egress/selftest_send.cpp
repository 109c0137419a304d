// The self-test of one path: head and slices over a TCP connection of this thread with itself.
//
// The path's own step is called, not egress::step(), which would fall to another path and hide what
// this one did. The receiving end is emptied between the steps, so that one thread does for both.
// Invariant: every wait is at most idle_wait_ms, and idle_waits in a row without a byte received
// end the test; so it ends, whatever the path says.
#include "egress/selftest_send.h"

#include <fmt/format.h>
#include <poll.h>

#include <array>
#include <optional>
#include <vector>

#include "sys/file.h"
#include "sys/socket.h"

namespace pagewire::egress {

namespace {

using content::Segment;

constexpr ByteCount quantum{64 * kib};
constexpr std::size_t scratch_bytes = 64 * kib;
constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: ?\r\n\r\n";
constexpr std::string_view part_head = "\r\n--part\r\nContent-Range: ?\r\n\r\n";

/// What the connection carries in one transfer, and what has come of it.
class Receiver {
 public:
  Receiver(int fd, std::string expected) : fd_(fd), expected_(std::move(expected)) {}

  /// Takes what is there; returns whether anything was.
  bool drain() {
    std::array<char, 64 * kib> buffer;
    bool any = false;
    for (;;) {
      const ssize_t n = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return any;  // EAGAIN: nothing more; ECONNRESET, 0: never more
      any = true;
      compare({buffer.data(), static_cast<std::size_t>(n)});
    }
  }
  /// As drain(), after waiting a little for something to be there.
  bool wait_and_drain() {
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    ::poll(&readable, 1, idle_wait_ms);
    return drain();
  }
  bool complete() const { return received_ >= expected_.size(); }
  std::string progress() const {
    return fmt::format("after {} of {} bytes", received_, expected_.size());
  }
  /// "" as long as all that came was right.
  const std::string& wrong() const { return wrong_; }

 private:
  void compare(std::string_view bytes) {
    const std::string_view rest =
        std::string_view(expected_).substr(std::min(received_, expected_.size()));
    const std::size_t common = std::min(bytes.size(), rest.size());
    for (std::size_t i = 0; i < common && wrong_.empty(); ++i) {
      if (bytes[i] == rest[i]) continue;
      wrong_ = fmt::format("byte {} of {} was wrong", received_ + i, expected_.size());
    }
    received_ += bytes.size();
    if (wrong_.empty() && bytes.size() > rest.size()) wrong_ = "sent more bytes than it should";
  }

  int fd_;
  std::string expected_;
  std::string wrong_;
  std::size_t received_ = 0;
};

/// What the segments hold, in order.
std::string bytes_of(std::span<const Segment> segments, const SampleFile& sample) {
  std::string bytes;
  for (const Segment& segment : segments) {
    if (segment.kind == Segment::Kind::Memory) {
      bytes += segment.memory;
    } else {
      bytes += std::string_view(sample.bytes)
                   .substr(segment.slice.offset.value, segment.slice.count.value);
    }
  }
  return bytes;
}

/// A slice of the sample, as far as it has one there.
Segment slice_of(const SampleFile& sample, ByteRange wanted) {
  const std::uint64_t size = sample.bytes.size();
  const std::uint64_t offset = std::min(wanted.offset.value, size - 1);
  const std::uint64_t count = std::min(wanted.count.value, size - offset);
  return Segment::of_file(*sample.file.get(), {FileOffset{offset}, ByteCount{count}});
}

/// Odd offsets and sizes; slices that begin and end within pages, and across their borders; the
/// tail; and the whole.
std::vector<std::vector<Segment>> transfers_of(const SampleFile& sample) {
  const std::uint64_t size = sample.bytes.size();
  const Segment head_segment = Segment::of_memory(head);
  return {
      {head_segment, slice_of(sample, {FileOffset{1}, ByteCount{2 * 4096 + 3}})},
      {head_segment, slice_of(sample, {FileOffset{4093}, ByteCount{7}}),
       Segment::of_memory(part_head),
       slice_of(sample, {FileOffset{size - std::min<std::uint64_t>(size, 4099)}, ByteCount{size}})},
      {head_segment, slice_of(sample, {FileOffset{0}, ByteCount{size}})},
  };
}

Verdict quarantined(std::string why) {
  return {.state = PathState::Quarantined, .why = std::move(why), .conclusive = true};
}

/// The one place where operations that the kernel has (Status::Submitted) are waited for: their
/// bytes arrive at the other end, and whatever completes them must be polled here as well.
bool wait_for_submitted(Transfer& transfer, Receiver& receiver) {
  transfer.resources->lanes->reap();
  return receiver.wait_and_drain();
}

/// One transfer by steps.
class Examination {
 public:
  Examination(Transfer& transfer, Receiver& receiver, int idle_waits)
      : transfer_(transfer), receiver_(receiver), idle_left_(idle_waits), idle_waits_(idle_waits) {}

  std::optional<Verdict> run() {
    for (;;) {
      const StepResult result = transfer_.path->step(transfer_, quantum);
      const bool received = receiver_.drain();
      if (received) idle_left_ = idle_waits_;
      if (!receiver_.wrong().empty()) return quarantined(receiver_.wrong());
      if (result.status == Status::Done) return rest();
      if (std::optional<Verdict> verdict = judge(result, received)) return verdict;
    }
  }

 private:
  /// nullopt: step again.
  std::optional<Verdict> judge(const StepResult& result, bool received) {
    switch (result.status) {
      case Status::Moved:
      case Status::Done:
        if (result.moved.value > 0) return std::nullopt;
        return count_idle(false);
      case Status::WantWrite:
        return count_idle(received || receiver_.wait_and_drain());
      case Status::Submitted:
        return count_idle(wait_for_submitted(transfer_, receiver_));
      case Status::WantPages:
        return read_pages(result.pages);
      case Status::Unsupported:
        return Verdict{.state = PathState::Unsupported,
                       .why = "the filesystem has no files for it",
                       .conclusive = true};
      case Status::SourceChanged:  // somebody writes the file right now: says nothing of the path
        return Verdict{.state = PathState::Usable, .why = {}, .conclusive = false};
      case Status::SourceTruncated:
        return quarantined("took the file for shorter than it is " + receiver_.progress());
      case Status::PeerGone:
      case Status::Failed:
        return quarantined(pagewire::describe(result.error) + " " + receiver_.progress());
    }
    return std::nullopt;
  }

  std::optional<Verdict> count_idle(bool received) {
    if (received) {
      idle_left_ = idle_waits_;
      return std::nullopt;
    }
    if (--idle_left_ > 0) return std::nullopt;
    Verdict verdict = quarantined("stalled " + receiver_.progress());
    verdict.stalled = true;
    return verdict;
  }

  /// In place of the thread that a server has for it.
  std::optional<Verdict> read_pages(const WantedPages& pages) {
    std::vector<char> into(std::min<std::uint64_t>(pages.range.count.value, mib));
    // What cannot be read the path will find out by itself.
    if (pages.file != nullptr) {
      static_cast<void>(sys::read_at(pages.file->fd(), pages.range.offset, into));
    }
    return count_idle(false);
  }

  /// All has been given to the kernel; the last of it is still on its way. MSG_MORE on the last
  /// bytes would hold them for 200 ms: that is a stall, too.
  std::optional<Verdict> rest() {
    while (!receiver_.complete()) {
      const std::optional<Verdict> verdict = count_idle(receiver_.wait_and_drain());
      if (verdict) return verdict;
      if (!receiver_.wrong().empty()) return quarantined(receiver_.wrong());
    }
    if (!receiver_.wrong().empty()) return quarantined(receiver_.wrong());
    return std::nullopt;
  }

  Transfer& transfer_;
  Receiver& receiver_;
  int idle_left_;
  int idle_waits_;
};

}  // namespace

Verdict examine(const Path& path, const SampleFile& sample, int idle_waits) {
  const Result<sys::SocketPair> pair = sys::tcp_pair_over_loopback();
  if (!pair) {
    return {
        .state = PathState::Usable, .why = pagewire::describe(pair.error()), .conclusive = false};
  }
  static_cast<void>(sys::set_no_delay(pair->sender.get()));  // else the tail may be held back
  sys::PipePool pipes(sys::PipePool::Limits{});
  std::vector<char> scratch(scratch_bytes);
  const auto masters = make_master_pipes(1);
  UringLanes lanes;
  Resources resources{
      .pipes = pipes, .scratch = scratch, .masters = masters.get(), .lanes = &lanes};
  if (const Result<void> equipped = equip(path, resources); !equipped) {
    return {.state = PathState::Unavailable,  // ENOMEM: more than the user may lock
            .why = pagewire::describe(equipped.error()),
            .conclusive = false};
  }
  resources.zero_copy.limits.copied_streak = 0;  // over loopback it would be given up
  SocketState state;                             // what is in flight at the end is the file's pages
  for (const std::vector<Segment>& segments : transfers_of(sample)) {
    Transfer transfer;
    transfer.path = &path;
    transfer.transport = {.socket_fd = pair->sender.get(), .state = &state};
    transfer.resources = &resources;
    transfer.segments = segments;
    transfer.waker = {.call = [](void*) {}, .self = nullptr};  // what comes is polled for
    // Made for something else than files; choose() asks the same.
    prepare(transfer);
    if (!path.fits(segments, transfer.transport)) continue;
    Receiver receiver(pair->receiver.get(), bytes_of(segments, sample));
    const std::optional<Verdict> verdict = Examination(transfer, receiver, idle_waits).run();
    path.cancel(transfer);
    if (!verdict) continue;
    // A file that somebody wrote to meanwhile is no witness.
    if (!sample.file->unchanged()) {
      return {.state = PathState::Usable, .why = "the file was written to", .conclusive = false};
    }
    return *verdict;
  }
  return {};
}

}  // namespace pagewire::egress
