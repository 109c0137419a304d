// Screen: the terminal, by ncurses. The only file that knows it. Private to this room.
//
// While one lives the terminal is ncurses'; it is given back by the destructor. At most one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "top/view.h"

namespace pagewire::top {

enum class Key : std::uint8_t {
  None,   ///< nothing was pressed
  Other,  ///< what means nothing here
  Resized,
  Up,
  Down,
  PageUp,
  PageDown,
  Home,
  Letter,
};
struct Pressed {
  Key key = Key::None;
  char letter = 0;  ///< of Key::Letter
};

class Screen {
 public:
  /// The error says why there is none: no terminal, or one that TERM does not describe.
  static tl::expected<std::unique_ptr<Screen>, std::string> open();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  std::size_t columns() const;
  std::size_t rows() const;
  bool unicode() const { return unicode_; }

  /// The first rows of the screen; those that have no line become empty. The last row is `footer`.
  void draw(std::span<const Line> lines, const Line& footer);
  /// Does not wait.
  Pressed pressed();

 private:
  struct Terminal;
  explicit Screen(std::unique_ptr<Terminal> terminal);
  void draw_line(int row, const Line& line);

  std::unique_ptr<Terminal> terminal_;
  bool unicode_ = false;
};

}  // namespace pagewire::top
