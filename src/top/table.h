// A table that leaves out columns where the window is too narrow. Private to this room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "top/view.h"

namespace pagewire::top {

struct Column {
  std::string_view title;
  int rank = 0;       ///< those of a higher number go first when there is no room; 0 stays
  bool left = false;  ///< aligned; numbers stand to the right
};

/// Rows of as many cells as there are columns. The first column and the last one that is left are
/// cut when even so there is no room.
std::vector<Line> table(const std::vector<Column>& columns,
                        const std::vector<std::vector<Piece>>& rows, std::size_t width);

/// Cut to `columns`, with a mark where something is missing.
std::string cut(std::string_view text, std::size_t columns);

}  // namespace pagewire::top
