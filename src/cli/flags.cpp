// Flags by CLI11, which is told of the table and asked for raw texts only: values are checked where
// those of the file are, so that both say the same.
#include "cli/flags.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

struct Entry {
  const OptionFacts* option = nullptr;
  CLI::Option* parsed = nullptr;
  std::string text;                ///< CLI11 wants a place for one value ...
  std::vector<std::string> texts;  ///< ... or for many; the kind of place tells it which
};

CLI::Option* add_entry(CLI::App& app, Entry& entry) {
  const std::string name(entry.option->name);
  switch (entry.option->kind) {
    case Kind::Switch:
      return app.add_flag(fmt::format("--{0},!--no-{0}", name), entry.texts);
    case Kind::Positional:
      return app.add_option(name, entry.text);
    case Kind::OnOff:
    case Kind::Number:
    case Kind::Size:
    case Kind::Text:
    case Kind::List:
    case Kind::Tables:  // has none
      break;
  }
  const char letter = entry.option->short_name;
  // One value each time the flag stands there: what follows may be a positional.
  return app
      .add_option((letter != 0 ? fmt::format("-{},", letter) : "") + "--" + name, entry.texts)
      ->allow_extra_args(false);
}

Assignment assignment_of(const CommandTable& table, const Entry& entry) {
  const bool positional = entry.option->kind == Kind::Positional;
  Assignment assignment{.option = entry.option, .values = {}};
  for (const std::string& text : entry.parsed->results()) {
    // A repeated flag that is no list: the last one counts, so that a script's can be overridden.
    if (entry.option->kind != Kind::List) assignment.values.clear();
    assignment.values.push_back(
        {.text = text,
         .shown = '"' + text + '"',
         .where = fmt::format("{}: {}{}", table.command, positional ? "" : "--",
                              positional ? entry.option->placeholder : entry.option->name)});
  }
  return assignment;
}

/// "one ROOT", "A.json and B.json", "nothing but flags"
std::string positionals_of(const CommandTable& table) {
  std::vector<std::string_view> names;
  for (const OptionFacts* const option : table.options) {
    if (option->kind == Kind::Positional) names.push_back(option->placeholder);
  }
  if (names.empty()) return "nothing but flags";
  return (names.size() == 1 ? "one " : "") + fmt::format("{}", fmt::join(names, " and "));
}

/// What CLI11 could not place: a flag that does not exist, or a positional too many.
UsageError unplaced(const CommandTable& table, const std::vector<std::string>& arguments) {
  const auto is_flag = [](const std::string& text) { return text.size() > 1 && text[0] == '-'; };
  const auto flag = std::find_if(arguments.begin(), arguments.end(), is_flag);
  if (flag == arguments.end()) {
    return {fmt::format("{}: takes {}; \"{}\" is one too many", table.command,
                        positionals_of(table), arguments.front())};
  }
  const std::string name = flag->substr(0, flag->find('='));
  std::vector<std::string> known{"--help"};
  for (const OptionFacts* const option : table.options) {
    if (option->kind == Kind::Positional || option->kind == Kind::Tables) continue;
    known.push_back(fmt::format("--{}", option->name));
    if (option->kind == Kind::Switch) known.push_back(fmt::format("--no-{}", option->name));
  }
  const std::vector<std::string_view> names(known.begin(), known.end());
  const std::optional<std::string_view> near = near_match(name, names);
  return {fmt::format("{}: there is no flag {}{}; see {} --help", table.command, name,
                      near ? fmt::format(" (did you mean {}?)", *near) : "", table.command)};
}

/// CLI11 names the flag that has no value at the start of its own message.
UsageError no_value(const CommandTable& table, const CLI::ParseError& error) {
  const std::string said = error.what();
  const std::string flag = said.substr(0, said.find(':'));
  const OptionFacts* const option = flag.starts_with("--") ? table.find(flag.substr(2)) : nullptr;
  if (option == nullptr) return {fmt::format("{}: {}", table.command, said)};
  return {
      fmt::format("{}: {} takes {}, but nothing follows it", table.command, flag, option->takes)};
}

OrUsageError<void> check_required(const CommandTable& table, const Flags& flags) {
  for (const OptionFacts* const option : table.options) {
    const auto gives_it = [option](const Assignment& given) { return given.option == option; };
    if (!option->required ||
        std::any_of(flags.assignments.begin(), flags.assignments.end(), gives_it)) {
      continue;
    }
    const bool positional = option->kind == Kind::Positional;
    return tl::unexpected(UsageError{fmt::format(
        "{}: {}{} is missing, {}; see {} --help", table.command, positional ? "" : "--",
        positional ? option->placeholder : option->name, option->takes, table.command)});
  }
  return {};
}

}  // namespace

OrUsageError<Flags> parse_flags(const CommandTable& table, std::span<const std::string> arguments) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  Flags flags;
  app.add_flag("-h,--help", flags.help);
  std::deque<Entry> entries;  // CLI11 keeps references to the texts
  for (const OptionFacts* const option : table.options) {
    if (option->kind == Kind::Tables) continue;
    Entry& entry =
        entries.emplace_back(Entry{.option = option, .parsed = nullptr, .text = {}, .texts = {}});
    entry.parsed = add_entry(app, entry);
  }
  try {
    // CLI11 takes a vector from its end.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return tl::unexpected(no_value(table, error));
  }
  if (flags.help) return flags;
  if (const std::vector<std::string> extra = app.remaining(); !extra.empty()) {
    return tl::unexpected(unplaced(table, extra));
  }
  for (const Entry& entry : entries) {
    if (entry.parsed->count() > 0) flags.assignments.push_back(assignment_of(table, entry));
  }
  return check_required(table, flags).map([&] { return std::move(flags); });
}

}  // namespace pagewire::cli
