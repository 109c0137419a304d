#include "cli/top_options.h"

#include <fmt/format.h>

#include "cli/option_help.h"
#include "cli/option_kinds.h"

namespace pagewire::cli {

namespace {

using Make = OptionKinds<TopSettings>;
using Kind = OptionFacts::Kind;

constexpr std::string_view group = "Watching";

BasicOption<TopSettings> admin_option() {
  BasicOption<TopSettings> option =
      Make::described(Kind::Text,
                      {.name = "admin",
                       .group = group,
                       .placeholder = "URL",
                       .help = "the admin listener of the server, where its --admin says; a "
                               "relay's is http://127.0.0.1:9181 unless told"},
                      "an http address such as http://127.0.0.1:9180, host:9180 or 9180");
  option.set = [](std::string_view value, TopSettings& settings) {
    auto target = top::parse_target(value);
    if (!target) return false;
    settings.admin = value;
    settings.top.target = std::move(*target);
    return true;
  };
  option.show = [](const TopSettings& settings) { return std::vector{settings.admin}; };
  return option;
}

std::vector<BasicOption<TopSettings>> make_table() {
  std::vector<BasicOption<TopSettings>> table;
  table.push_back(admin_option());
  table.push_back(Make::duration(
      {.name = "interval",
       .group = group,
       .placeholder = "TIME",
       .help = "how often to look; the figures are of the time between two looks"},
      {.least_ms = 100, .most_ms = 3'600'000}, [](auto& s) -> auto& { return s.top.interval_ms; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "once",
       .group = group,
       .placeholder = "",
       .help = "look twice, print what happened in between, end"},
      [](auto& s) -> auto& { return s.once; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "json",
       .group = group,
       .placeholder = "",
       .help = "with --once: as one JSON object (docs/top.schema.json), rates per second, "
               "null for what could not be had"},
      [](auto& s) -> auto& { return s.json; }));
  return table;
}

}  // namespace

const std::vector<BasicOption<TopSettings>>& top_options() {
  static const std::vector<BasicOption<TopSettings>> table = make_table();
  return table;
}

CommandTable top_command() {
  return command_table("pagewire top", top_options());
}

OrUsageError<TopSettings> build_top(const Flags& flags) {
  TopSettings settings;
  settings.top.target = *top::parse_target(settings.admin);
  if (auto applied = apply(top_options(), flags.assignments, settings); !applied) {
    return tl::unexpected(applied.error());
  }
  if (settings.json && !settings.once) {
    return tl::unexpected(UsageError{
        fmt::format("{}: --json is for --once, which is missing", top_command().command)});
  }
  return settings;
}

std::string top_help_text() {
  return "Usage: pagewire top [flags]\n\n"
         "Shows what a running `pagewire serve` or `pagewire relay` does: throughput, CPU, how\n"
         "the bytes go out and why, waits for the disk, errors; of a relay also its upstreams,\n"
         "queues and mirrors. Reads /metrics of its admin listener, and changes nothing.\n" +
         options_help(top_options(), TopSettings{}) +
         "\nKeys: q quits, s sorts, r reverses, p pauses, + and - change the interval, h lists\n"
         "all of them.\n\n"
         "Exit status: 0 ended by the user; 1 the metrics could not be read, or there is no\n"
         "terminal; 2 the flags are wrong.\n\n"
         "Examples:\n"
         "  pagewire top\n"
         "  pagewire top --admin 9181                      a relay on this machine\n"
         "  pagewire top --admin 10.0.0.7:9180 --interval 5s\n"
         "  pagewire top --once --json | jq '.paths[] | {path, share, reasons}'\n"
         "  pagewire top --admin 9181 --once --json | jq '.relays[].upstreams[]'\n";
}

}  // namespace pagewire::cli
