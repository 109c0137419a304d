#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace pagewire::cli {

namespace {

std::string_view environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::size_t terminal_columns(int fd, std::size_t otherwise) {
  winsize window{};
  if (::ioctl(fd, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) return otherwise;
  return window.ws_col;
}

bool can_redraw(int fd) {
  return ::isatty(fd) == 1 && environment("TERM") != "dumb";
}

bool wants_colour(int fd) {
  return can_redraw(fd) && environment("NO_COLOR").empty();
}

}  // namespace pagewire::cli
