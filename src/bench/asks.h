// What the client of a round asks its server for, and what comes back.
//
// An ask is 24 bytes; the answer is a head of 200 bytes, if it was asked for, and `count` bytes of
// the file from `offset` on, going round: behind the last byte comes the first. Asks may be sent
// ahead of the answers, at most max_pipelined of them on one connection.
// Both ends are one program on one machine: numbers go as they lie in memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/units.h"

namespace pagewire::bench {

struct Ask {
  std::uint64_t offset = 0;  ///< smaller than the file's size
  std::uint64_t count = 0;   ///< > 0
  std::uint64_t with_head = 0;
};
static_assert(sizeof(Ask) == 24);

/// A count that is never reached: round and round, until the client closes.
inline constexpr std::uint64_t endless = std::numeric_limits<std::uint64_t>::max();

inline constexpr std::size_t max_pipelined = 16;

/// As large as a usual response head.
inline constexpr std::size_t answer_head_bytes = 200;
using AnswerHead = std::array<char, answer_head_bytes>;

constexpr AnswerHead make_answer_head() {
  AnswerHead head{};
  for (std::size_t i = 0; i < head.size(); ++i) head[i] = static_cast<char>('A' + i % 26);
  return head;
}
inline constexpr AnswerHead answer_head = make_answer_head();

/// What is asked for at once in stream mode at an offered rate; never more than the file.
inline constexpr ByteCount stream_piece{256 * kib};

}  // namespace pagewire::bench
