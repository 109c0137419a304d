// Folded stacks, as flamegraph.pl, speedscope and inferno read them: a line a stack, outermost
// first, ";" between frames, a space and the count behind. What would break that in a name becomes
// "_".
#include <fmt/format.h>

#include <algorithm>

#include "profile/profile.h"

namespace pagewire::profile {

namespace {

std::string one_frame(std::string name) {
  std::ranges::replace_if(
      name, [](char c) { return c == ';' || c == '\n' || c == '\r' || c == '\t'; }, '_');
  return name;
}

std::string name_of(const Frame& frame) {
  return one_frame(frame.function) + (frame.in_kernel ? "_[k]" : "");
}

}  // namespace

std::string to_folded(const Report& report) {
  const std::string process =
      report.processes.empty() ? "?" : one_frame(report.processes.front().name);
  std::string text;
  for (const Stack& stack : report.stacks) {
    text += process;
    for (const std::uint32_t place : stack.frames) text += ';' + name_of(report.frames[place]);
    text += fmt::format(" {}\n", stack.samples);
  }
  return text;
}

}  // namespace pagewire::profile
