#include "cli/cli.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "cli/bench.h"
#include "cli/help.h"
#include "cli/mirror.h"
#include "cli/relay.h"
#include "cli/serve.h"
#include "cli/top.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

int say(const std::string& text) {
  (void)std::fputs(text.c_str(), stdout);
  return 0;
}

int unknown_word(const std::string& word) {
  constexpr std::array<std::string_view, 5> commands{"serve", "relay", "mirror", "bench", "top"};
  constexpr std::array<std::string_view, 2> flags{"--help", "--version"};
  const bool is_flag = word.starts_with('-');
  const std::optional<std::string_view> near =
      is_flag ? near_match(word, flags) : near_match(word, commands);
  const std::string line = fmt::format("pagewire: there is no {} {}{}; see pagewire --help\n",
                                       is_flag ? "flag" : "command", word,
                                       near ? fmt::format(" (did you mean {}?)", *near) : "");
  (void)std::fputs(line.c_str(), stderr);
  return 2;
}

}  // namespace

int run(std::span<const std::string> arguments) {
  if (arguments.empty()) return say(overview_text());
  const std::string& word = arguments.front();
  if (word == "serve") return serve(arguments.subspan(1));
  if (word == "relay") return relay(arguments.subspan(1));
  if (word == "mirror") return mirror(arguments.subspan(1));
  if (word == "bench") return bench(arguments.subspan(1));
  if (word == "top") return top(arguments.subspan(1));
  if (word == "--help" || word == "-h" || word == "help") return say(help_text());
  if (word == "--version") return say(version_text());
  return unknown_word(word);
}

}  // namespace pagewire::cli
