#include "relay/mirror_head.h"

namespace pagewire::relay {

namespace {

// The last two bytes of every head: a reader that has lost its place sees it soon.
constexpr unsigned char mark_0 = 'P';
constexpr unsigned char mark_1 = 'W';

template <class Number>
void put(EncodedMirrorHead& bytes, std::size_t at, Number number) {
  auto rest = static_cast<std::uint64_t>(number);
  for (std::size_t i = 0; i < sizeof number; ++i, rest >>= 8) {
    bytes[at + i] = static_cast<unsigned char>(rest & 0xff);
  }
}

template <class Number>
Number get(std::span<const unsigned char, mirror_head_bytes> bytes, std::size_t at) {
  std::uint64_t number = 0;
  for (std::size_t i = sizeof(Number); i-- > 0;) number = number << 8 | bytes[at + i];
  return static_cast<Number>(number);
}

}  // namespace

EncodedMirrorHead encode(const MirrorHead& head) {
  EncodedMirrorHead bytes;
  put(bytes, 0, head.connection);
  put(bytes, 8, head.offset);
  put(bytes, 16, head.realtime_ns);
  put(bytes, 24, head.length);
  bytes[28] = static_cast<unsigned char>(head.direction);
  bytes[29] = head.flags;
  bytes[30] = mark_0;
  bytes[31] = mark_1;
  return bytes;
}

std::optional<MirrorHead> decode(std::span<const unsigned char, mirror_head_bytes> bytes) {
  const bool is_head = bytes[30] == mark_0 && bytes[31] == mark_1 &&
                       bytes[28] <= static_cast<unsigned char>(Direction::Down) &&
                       (bytes[29] & ~mirror_flag::all) == 0;
  if (!is_head) return std::nullopt;
  MirrorHead head;
  head.connection = get<std::uint64_t>(bytes, 0);
  head.offset = get<std::uint64_t>(bytes, 8);
  head.realtime_ns = get<std::int64_t>(bytes, 16);
  head.length = get<std::uint32_t>(bytes, 24);
  head.direction = static_cast<Direction>(bytes[28]);
  head.flags = bytes[29];
  return head;
}

}  // namespace pagewire::relay
