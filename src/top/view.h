// The picture of a Summary, as lines of coloured text for a window of any size. Pure. Private to
// this room.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "top/summary.h"

namespace pagewire::top {

enum class Ink : std::uint8_t { Plain, Strong, Faint, Good, Warning, Bad, Heading };

struct Piece {
  std::string text{};  ///< UTF-8
  Ink ink = Ink::Plain;
};
using Line = std::vector<Piece>;

enum class Sort : std::uint8_t { Throughput, Requests, Name };
inline constexpr std::size_t sorts = 3;
std::string_view name(Sort sort);

/// What the user chose, and what stands around the figures.
struct View {
  std::size_t columns = 80;
  bool unicode = true;  ///< the terminal shows more than ASCII
  Sort sort = Sort::Throughput;
  bool reversed = false;
  bool paused = false;
  bool help = false;
  std::string url{};
  std::string trouble{};          ///< why there are no newer figures; "" when there are
  std::vector<double> history{};  ///< throughput of the last readings, the newest last
};

/// Lines of at most `columns`. Without a summary, what is waited for.
std::vector<Line> picture(const Summary* summary, const View& view);

/// Columns that a text takes, as far as it has no wide or combining characters.
std::size_t columns_of(std::string_view text);

}  // namespace pagewire::top
