#include "cli/profile_options.h"

#include "cli/option_help.h"
#include "cli/option_kinds.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;
using Make = OptionKinds<ProfileSettings>;

constexpr std::string_view what = "What is sampled";
constexpr std::string_view shown = "What is shown";

std::vector<BasicOption<ProfileSettings>> make_table() {
  std::vector<BasicOption<ProfileSettings>> table;
  table.push_back(Make::text(
      Kind::Positional,
      {.name = "target",
       .group = what,
       .placeholder = "PID|NAME",
       .help = "one process, or all that are called so, any program's"},
      "a process's number or a program's name", [](auto& s) -> auto& { return s.target; }));
  table.back().required = true;
  table.push_back(Make::seconds(
      {.name = "time",
       .short_name = 't',
       .group = what,
       .placeholder = "SECONDS",
       .help = "for so long; Ctrl-C ends it sooner and keeps what was seen"},
      {.least_ms = 100, .most_ms = 3'600'000}, [](auto& s) -> auto& { return s.seconds; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "json",
       .group = shown,
       .placeholder = "",
       .help = "docs/profile.schema.json, stacks included"},
      [](auto& s) -> auto& { return s.json; }));
  table.push_back(Make::text(
      Kind::Text,
      {.name = "folded",
       .group = shown,
       .placeholder = "FILE",
       .help = "stacks for flame graph tools, a line each",
       .default_text = "none"},
      "the name of a file", [](auto& s) -> auto& { return s.folded; }));
  table.push_back(Make::text(
      Kind::Text,
      {.name = "svg",
       .group = shown,
       .placeholder = "FILE",
       .help = "a flame graph in one file: open it in a browser, click to zoom",
       .default_text = "none"},
      "the name of a file", [](auto& s) -> auto& { return s.svg; }));
  return table;
}

}  // namespace

const std::vector<BasicOption<ProfileSettings>>& profile_options() {
  static const std::vector<BasicOption<ProfileSettings>> table = make_table();
  return table;
}

CommandTable profile_command() {
  return command_table("pagewire profile", profile_options());
}

std::string profile_help_text() {
  return "Usage: pagewire profile PID|NAME [flags]\n\n"
         "Samples where a running server's CPU goes, in user mode and in the kernel, and says how\n"
         "much of it copies bytes: above 5% zero-copy would pay. For nginx, HAProxy, a Python\n"
         "server, any program. Root sees everything; without it, own processes in user mode.\n" +
         options_help(profile_options(), ProfileSettings{}) +
         "\nExit status: 0 done, also in part (the notes say what is missing); 1 it could not be\n"
         "done (no such process, not yours, no permission); 2 the flags are wrong.\n\n"
         "Examples:\n"
         "  pagewire profile nginx\n"
         "  pagewire profile 4711 -t 30 --svg flames.svg --folded stacks.txt\n"
         "  pagewire profile haproxy --json | jq .percent.copy\n";
}

}  // namespace pagewire::cli
