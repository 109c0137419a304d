// What a descriptor shows to a person: how wide it is, whether it may be drawn on, in colour.
#pragma once

#include <cstddef>

namespace pagewire::cli {

/// Takes back what stands in the cursor's line.
inline constexpr const char* erase_line = "\r\x1b[K";

/// Asked each time, because the window may have been resized; `otherwise` where it is no terminal.
std::size_t terminal_columns(int fd, std::size_t otherwise);
/// A terminal that understands erase_line (TERM is not "dumb").
bool can_redraw(int fd);
/// can_redraw(), unless NO_COLOR is set and not empty (no-color.org).
bool wants_colour(int fd);

}  // namespace pagewire::cli
