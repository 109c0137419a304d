#include "relay/mirror_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace pagewire::relay {

namespace {

constexpr std::size_t buffer_bytes = 256 * 1024;

class Input {
 public:
  explicit Input(int fd) : fd_(fd) {}

  /// At least `wanted` bytes stand there, or the input has ended.
  Result<void> fill(std::size_t wanted) {
    while (end_ - begin_ < wanted) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
      const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return last_error("read");  // EIO, EISDIR, ECONNRESET
      if (n == 0) return {};
      end_ += static_cast<std::size_t>(n);
    }
    return {};
  }
  std::span<const char> waiting() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void take(std::size_t count) { begin_ += count; }

 private:
  int fd_;
  std::vector<char> buffer_ = std::vector<char>(buffer_bytes);
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace

Result<MirrorWalk> walk_mirror(int fd, const MirrorVisitor& visit) {
  Input input(fd);
  MirrorWalk walk;
  for (;;) {
    if (Result<void> filled = input.fill(mirror_head_bytes); !filled) {
      return tl::unexpected(filled.error());
    }
    const std::span<const char> waiting = input.waiting();
    if (waiting.size() < mirror_head_bytes) {
      walk.end = waiting.empty() ? MirrorEnd::Whole : MirrorEnd::Torn;
      return walk;
    }
    const auto* raw = reinterpret_cast<const unsigned char*>(waiting.data());
    const std::optional<MirrorHead> head =
        decode(std::span<const unsigned char, mirror_head_bytes>(raw, mirror_head_bytes));
    if (!head) {
      walk.end = MirrorEnd::Lost;
      return walk;
    }
    input.take(mirror_head_bytes);
    walk.bytes += mirror_head_bytes;
    std::uint64_t at = 0;
    do {
      if (Result<void> filled = input.fill(at < head->length ? 1 : 0); !filled) {
        return tl::unexpected(filled.error());
      }
      const std::span<const char> bytes = input.waiting().first(static_cast<std::size_t>(
          std::min<std::uint64_t>(input.waiting().size(), head->length - at)));
      if (bytes.empty() && at < head->length) {
        walk.end = MirrorEnd::Torn;
        return walk;
      }
      visit(*head, at, bytes);
      input.take(bytes.size());
      at += bytes.size();
    } while (at < head->length);
    walk.bytes += head->length;
  }
}

MirrorStream::Fresh MirrorStream::take(std::uint64_t offset, std::span<const char> bytes) {
  const std::uint64_t behind = offset + bytes.size();
  if (offset < next_offset) {
    const std::uint64_t seen = std::min<std::uint64_t>(next_offset - offset, bytes.size());
    bytes = bytes.subspan(static_cast<std::size_t>(seen));
    offset += seen;
  }
  Fresh fresh{.missing = offset > next_offset ? offset - next_offset : 0, .bytes = bytes};
  next_offset = std::max(next_offset, behind);
  missing_bytes += fresh.missing;
  return fresh;
}

void MirrorList::add(const MirrorHead& head, std::uint64_t at, std::span<const char> bytes) {
  if (head.has(mirror_flag::start)) return;
  MirrorConnection& connection = connections_[head.connection];
  if (connection.first_ns == 0) connection.first_ns = head.realtime_ns;
  connection.last_ns = head.realtime_ns;
  if (head.has(mirror_flag::open)) {
    connection.text.append(bytes.begin(), bytes.end());
    return;
  }
  MirrorStream& stream = connection.streams[static_cast<std::size_t>(head.direction)];
  (void)stream.take(head.offset + at, bytes);
  if (head.has(mirror_flag::end)) stream.end = mirror_flag::end;
  if (head.has(mirror_flag::reset)) stream.end = mirror_flag::reset;
}

}  // namespace pagewire::relay
