// Flags by CLI11, which is told of the table and asked for raw texts only: values are checked where
// those of the file are, so that both say the same.
#include "cli/flags.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <deque>
#include <utility>

#include "cli/values.h"

namespace pagewire::cli {

namespace {

constexpr std::string_view command = "pagewire serve: ";

struct Entry {
  const Option* option = nullptr;
  CLI::Option* parsed = nullptr;
  std::string text;                ///< CLI11 wants a place for one value ...
  std::vector<std::string> texts;  ///< ... or for many; the kind of place tells it which
};

CLI::Option* add_entry(CLI::App& app, Entry& entry) {
  const std::string name(entry.option->name);
  switch (entry.option->kind) {
    case Option::Kind::Switch:
      return app.add_flag(fmt::format("--{0},!--no-{0}", name), entry.texts);
    case Option::Kind::Positional:
      return app.add_option(name, entry.text);
    case Option::Kind::OnOff:
    case Option::Kind::Number:
    case Option::Kind::Size:
    case Option::Kind::Text:
    case Option::Kind::List:
      break;
  }
  // One value each time the flag stands there: what follows may be ROOT.
  return app.add_option("--" + name, entry.texts)->allow_extra_args(false);
}

Assignment assignment_of(const Entry& entry) {
  const bool positional = entry.option->kind == Option::Kind::Positional;
  Assignment assignment{.option = entry.option, .values = {}};
  for (const std::string& text : entry.parsed->results()) {
    // A repeated flag that is no list: the last one counts, so that a script's can be overridden.
    if (entry.option->kind != Option::Kind::List) assignment.values.clear();
    assignment.values.push_back(
        {.text = text,
         .shown = '"' + text + '"',
         .where = fmt::format("{}{}{}", command, positional ? "" : "--",
                              positional ? entry.option->placeholder : entry.option->name)});
  }
  return assignment;
}

/// What CLI11 could not place: a flag that does not exist, or a second ROOT.
UsageError unplaced(const std::vector<std::string>& arguments) {
  const auto is_flag = [](const std::string& text) { return text.size() > 1 && text[0] == '-'; };
  const auto flag = std::find_if(arguments.begin(), arguments.end(), is_flag);
  if (flag == arguments.end()) {
    return {fmt::format("{}takes one ROOT; \"{}\" is one too many", command, arguments.front())};
  }
  const std::string name = flag->substr(0, flag->find('='));
  std::vector<std::string> known{"--help"};
  for (const Option& option : serve_options()) {
    if (option.kind == Option::Kind::Positional) continue;
    known.push_back(fmt::format("--{}", option.name));
    if (option.kind == Option::Kind::Switch) known.push_back(fmt::format("--no-{}", option.name));
  }
  const std::vector<std::string_view> names(known.begin(), known.end());
  const std::optional<std::string_view> near = near_match(name, names);
  return {fmt::format("{}there is no flag {}{}; see pagewire serve --help", command, name,
                      near ? fmt::format(" (did you mean {}?)", *near) : "")};
}

/// CLI11 names the flag that has no value at the start of its own message.
UsageError no_value(const CLI::ParseError& error) {
  const std::string said = error.what();
  const std::string flag = said.substr(0, said.find(':'));
  const Option* const option = flag.starts_with("--") ? find_option(flag.substr(2)) : nullptr;
  if (option == nullptr) return {std::string(command) + said};
  return {fmt::format("{}{} takes {}, but nothing follows it", command, flag, option->takes)};
}

}  // namespace

OrUsageError<ServeFlags> parse_flags(std::span<const std::string> arguments) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  ServeFlags flags;
  app.add_flag("-h,--help", flags.help);
  std::deque<Entry> entries;  // CLI11 keeps references to the texts
  for (const Option& option : serve_options()) {
    Entry& entry =
        entries.emplace_back(Entry{.option = &option, .parsed = nullptr, .text = {}, .texts = {}});
    entry.parsed = add_entry(app, entry);
  }
  try {
    // CLI11 takes a vector from its end.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return tl::unexpected(no_value(error));
  }
  if (flags.help) return flags;
  if (const std::vector<std::string> extra = app.remaining(); !extra.empty()) {
    return tl::unexpected(unplaced(extra));
  }
  for (const Entry& entry : entries) {
    if (entry.parsed->count() > 0) flags.assignments.push_back(assignment_of(entry));
  }
  return flags;
}

}  // namespace pagewire::cli
