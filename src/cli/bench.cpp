#include "cli/bench.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <optional>
#include <string_view>

#include "cli/bench_commands.h"
#include "cli/bench_help.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

struct Command {
  std::string_view name;
  int (*run)(std::span<const std::string> arguments);
};
constexpr std::array<Command, 6> commands{{{"run", bench_run},
                                           {"sweep", bench_sweep},
                                           {"send", bench_send},
                                           {"sink", bench_sink},
                                           {"compare", bench_compare},
                                           {"report", bench_report}}};

int unknown_word(const std::string& word) {
  if (word.starts_with('-')) {
    return bench_complain(
        fmt::format("pagewire bench: {} has no place here; flags stand after a command, as in "
                    "pagewire bench run --path all; see pagewire bench --help",
                    word),
        bench_usage);
  }
  std::array<std::string_view, commands.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = commands[i].name;
  const std::optional<std::string_view> near = near_match(word, names);
  return bench_complain(
      fmt::format("pagewire bench: there is no command {}{}; see pagewire bench --help", word,
                  near ? fmt::format(" (did you mean {}?)", *near) : ""),
      bench_usage);
}

}  // namespace

int bench(std::span<const std::string> arguments) {
  if (arguments.empty()) return bench_quick();
  const std::string& word = arguments.front();
  if (word == "--help" || word == "-h" || word == "help") {
    (void)std::fputs(bench_help_text().c_str(), stdout);
    return bench_done;
  }
  for (const Command& command : commands) {
    if (word == command.name) return command.run(arguments.subspan(1));
  }
  return unknown_word(word);
}

int bench_complain(const std::string& line, int status) {
  (void)std::fprintf(stderr, "%s\n", line.c_str());
  return status;
}

}  // namespace pagewire::cli
