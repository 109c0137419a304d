// Relies on ncurses' own handler of SIGWINCH: poll(2) then ends with EINTR, and getch(3X) says
// KEY_RESIZE.
#include "top/screen.h"

// Functions, not macros called timeout, erase and move.
#define NCURSES_NOMACROS
#include <curses.h>
#include <langinfo.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <string_view>

namespace pagewire::top {

struct Screen::Terminal {
  SCREEN* handle = nullptr;
  bool coloured = false;
};

namespace {

constexpr short good = 1;
constexpr short warning = 2;
constexpr short bad = 3;

bool wants_colour() {
  const char* const refusal = std::getenv("NO_COLOR");  // no-color.org
  return refusal == nullptr || *refusal == '\0';
}

attr_t attribute_of(Ink ink, bool coloured) {
  const auto pair = [coloured](short number) {
    return coloured ? static_cast<attr_t>(COLOR_PAIR(number)) : attr_t{A_NORMAL};
  };
  switch (ink) {
    case Ink::Plain:
      return A_NORMAL;
    case Ink::Strong:
      return A_BOLD;
    case Ink::Faint:
      return A_DIM;
    case Ink::Good:
      return pair(good);
    case Ink::Warning:
      return pair(warning) | A_BOLD;
    case Ink::Bad:
      return pair(bad) | A_BOLD;
    case Ink::Heading:
      return A_REVERSE;
  }
  return A_NORMAL;
}

}  // namespace

tl::expected<std::unique_ptr<Screen>, std::string> Screen::open() {
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1) {
    return tl::unexpected(std::string("this is no terminal; --once prints one look at the server"));
  }
  std::setlocale(LC_CTYPE, "");
  auto terminal = std::make_unique<Terminal>();
  // Not initscr(3X), which ends the process where TERM names nothing that it knows.
  terminal->handle = ::newterm(nullptr, stdout, stdin);
  if (terminal->handle == nullptr) {
    const char* const name = std::getenv("TERM");
    return tl::unexpected("cannot draw on a terminal of the type \"" +
                          std::string(name == nullptr ? "" : name) +
                          "\" (TERM); --once prints one look at the server");
  }
  return std::unique_ptr<Screen>(new Screen(std::move(terminal)));
}

Screen::Screen(std::unique_ptr<Terminal> terminal)
    : terminal_(std::move(terminal)),
      unicode_(std::string_view(::nl_langinfo(CODESET)) == "UTF-8") {
  ::cbreak();
  ::noecho();
  ::curs_set(0);
  ::keypad(stdscr, TRUE);
  ::nodelay(stdscr, TRUE);
  constexpr int escape_ms = 25;
  ::set_escdelay(escape_ms);
  terminal_->coloured = wants_colour() && ::has_colors() && ::start_color() == OK;
  if (!terminal_->coloured) return;
  ::use_default_colors();
  ::init_pair(good, COLOR_GREEN, -1);
  ::init_pair(warning, COLOR_YELLOW, -1);
  ::init_pair(bad, COLOR_RED, -1);
}

Screen::~Screen() {
  ::endwin();
  ::delscreen(terminal_->handle);
}

std::size_t Screen::columns() const {
  return static_cast<std::size_t>(std::max(1, ::getmaxx(stdscr)));
}

std::size_t Screen::rows() const {
  return static_cast<std::size_t>(std::max(1, ::getmaxy(stdscr)));
}

void Screen::draw_line(int row, const Line& line) {
  ::wmove(stdscr, row, 0);
  for (const Piece& piece : line) {
    // Beyond the right edge ncurses would go on in the next row.
    const int left = ::getmaxx(stdscr) - ::getcurx(stdscr);
    if (left <= 0 || ::getcury(stdscr) != row) return;
    ::wattrset(stdscr, static_cast<int>(attribute_of(piece.ink, terminal_->coloured)));
    std::string_view text = piece.text;
    while (columns_of(text) > static_cast<std::size_t>(left)) text.remove_suffix(1);
    ::waddnstr(stdscr, text.data(), static_cast<int>(text.size()));
  }
}

void Screen::draw(std::span<const Line> lines, const Line& footer) {
  ::werase(stdscr);
  const std::size_t room = rows() - 1;
  for (std::size_t row = 0; row < std::min(room, lines.size()); ++row) {
    draw_line(static_cast<int>(row), lines[row]);
  }
  draw_line(static_cast<int>(room), footer);
  ::wattrset(stdscr, A_NORMAL);
  ::wrefresh(stdscr);
}

Pressed Screen::pressed() {
  const int code = ::wgetch(stdscr);
  switch (code) {
    case ERR:
      return {};
    case KEY_RESIZE:
      return {.key = Key::Resized};
    case KEY_UP:
      return {.key = Key::Up};
    case KEY_DOWN:
      return {.key = Key::Down};
    case KEY_PPAGE:
      return {.key = Key::PageUp};
    case KEY_NPAGE:
      return {.key = Key::PageDown};
    case KEY_HOME:
      return {.key = Key::Home};
    default:
      break;
  }
  if (code > 0 && code < 0x80) return {.key = Key::Letter, .letter = static_cast<char>(code)};
  return {.key = Key::Other};
}

}  // namespace pagewire::top
