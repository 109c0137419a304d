// scan: the screen that every byte of a request head goes through before it is parsed.
// Private to the room; scan_head() and parse_head() use the same one.
#pragma once

#include <cstddef>
#include <string_view>

namespace pagewire::http {

struct Screened {
  enum class State { Incomplete, Complete, Malformed };
  State state = State::Incomplete;
  /// Complete: one past the empty line. Incomplete: where to go on. Malformed: the offending byte.
  std::size_t position = 0;
};

/// Screens lines from `from` until the empty line. The caller has put `from` on the first byte of
/// the request line or where an Incomplete call on the same bytes ended.
Screened screen_lines(std::string_view input, std::size_t from);

}  // namespace pagewire::http
