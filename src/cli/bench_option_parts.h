// Entries that several of bench's tables have. For the bench_options*.cpp alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/bench_options.h"
#include "cli/option_kinds.h"
#include "egress/egress.h"

namespace pagewire::cli {

/// The names of the paths, and "readwrite", as others call copy.
inline std::vector<std::string_view> path_names() {
  std::vector<std::string_view> names;
  for (const egress::Path* const path : egress::socket_paths()) names.push_back(path->name);
  names.push_back("readwrite");
  return names;
}

inline const egress::Path* path_named(std::string_view name) {
  return egress::find_path(name == "readwrite" ? "copy" : name);
}

/// --zero SIZE, of settings where `member` is how many.
template <class Settings, class Member>
BasicOption<Settings> zero_option(std::string_view group, Member member) {
  return OptionKinds<Settings>::size(
      {.name = "zero",
       .group = group,
       .placeholder = "SIZE",
       .help = "send so many bytes of /dev/zero instead of a file: as a load, without a disk or a "
               "page cache behind it",
       .default_text = "a file"},
      {.least = 1, .most = 1024 * gib}, member);
}

/// --json, --csv, --html, --svg and --md of settings that have a member `outputs`.
template <class Settings>
void add_outputs(std::vector<BasicOption<Settings>>& table) {
  struct Format {
    std::string_view name;
    std::string_view help;
    std::string Outputs::*member;
  };
  constexpr Format formats[] = {
      {"json",
       "everything, as docs/bench.schema.json says; - is standard output, here and below (the "
       "table then goes "
       "to standard error)",
       &Outputs::json},
      {"csv", "one line per path, round and metric", &Outputs::csv},
      {"html", "one page with pictures, table and the JSON, that needs no network", &Outputs::html},
      {"svg", "the picture alone", &Outputs::svg},
      {"md", "the table as Markdown", &Outputs::markdown},
  };
  for (const Format& format : formats) {
    table.push_back(OptionKinds<Settings>::text(
        OptionFacts::Kind::Text,
        {.name = format.name,
         .group = "Reports",
         .placeholder = "FILE",
         .help = format.help,
         .default_text = "none"},
        "a file name, or - for standard output", [member = format.member](auto& s) -> auto& {
          return s.outputs.*member;
        }));
  }
}

}  // namespace pagewire::cli
