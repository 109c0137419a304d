// MirrorHead: the 32 bytes in front of every record of a mirror (docs/MIRROR.md).
//
// Pure. On the wire and in files all numbers are little endian, whatever the machine is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace pagewire::relay {

enum class Direction : std::uint8_t {
  Up,    ///< from the client to the upstream
  Down,  ///< from the upstream to the client
};

/// What a record is, and what is to be known of it. Bits.
namespace mirror_flag {
inline constexpr std::uint8_t start = 1;   ///< of a file or a recorder's connection: text follows
inline constexpr std::uint8_t open = 2;    ///< a connection begins: its addresses follow as text
inline constexpr std::uint8_t gap = 4;     ///< bytes of the stream before `offset` were dropped
inline constexpr std::uint8_t end = 8;     ///< the stream ended here (FIN)
inline constexpr std::uint8_t reset = 16;  ///< the stream was broken off here
inline constexpr std::uint8_t all = start | open | gap | end | reset;
}  // namespace mirror_flag

struct MirrorHead {
  std::uint64_t connection = 0;  ///< unique, also over restarts; of a start record: the run
  std::uint64_t offset = 0;      ///< of the first byte, in its stream
  std::int64_t realtime_ns = 0;  ///< when the bytes came, nanoseconds since 1970, to a few ms
  std::uint32_t length = 0;      ///< bytes that follow the head
  Direction direction = Direction::Up;
  std::uint8_t flags = 0;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  friend bool operator==(const MirrorHead&, const MirrorHead&) = default;
};

inline constexpr std::size_t mirror_head_bytes = 32;
using EncodedMirrorHead = std::array<unsigned char, mirror_head_bytes>;

EncodedMirrorHead encode(const MirrorHead& head);
/// nullopt: not a head of this format (its last two bytes, direction or flags are none).
std::optional<MirrorHead> decode(std::span<const unsigned char, mirror_head_bytes> bytes);

}  // namespace pagewire::relay
