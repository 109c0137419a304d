#include "cli/option_help.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

constexpr std::size_t width = 80;
constexpr std::size_t help_column = 30;

/// Words in lines of at most `width`, each but the first indented to the help column.
std::string wrapped(const std::vector<std::string>& words) {
  std::string lines;
  std::size_t column = help_column;
  for (const std::string& word : words) {
    if (column > help_column && column + 1 + word.size() > width) {
      lines += '\n' + std::string(help_column, ' ');
      column = help_column;
    } else if (column > help_column) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
  }
  return lines;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, space));
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  return words;
}

std::string left_of(const HelpEntry& entry) {
  const OptionFacts& option = *entry.option;
  switch (option.kind) {
    case Kind::Switch:
      // The one that changes something.
      return fmt::format("  --{}{}", entry.shown == "true" ? "no-" : "", option.name);
    case Kind::Positional:
      return fmt::format("  {}", option.placeholder);
    case Kind::Tables:
      return fmt::format("  [[{}]]", option.name);
    case Kind::OnOff:
    case Kind::Number:
    case Kind::Size:
    case Kind::Text:
    case Kind::List:
      break;
  }
  return fmt::format("  {}--{} {}",
                     option.short_name == 0 ? "" : fmt::format("-{}, ", option.short_name),
                     option.name, option.placeholder);
}

std::string default_of(const HelpEntry& entry) {
  if (!entry.option->default_text.empty()) return std::string(entry.option->default_text);
  return entry.option->kind == Kind::Switch ? "off" : entry.shown;
}

std::string line_of(const std::string& left, const std::vector<std::string>& words) {
  const std::string gap = left.size() + 2 > help_column
                              ? '\n' + std::string(help_column, ' ')
                              : std::string(help_column - left.size(), ' ');
  return left + gap + wrapped(words) + '\n';
}

}  // namespace

std::string options_help(const std::vector<HelpEntry>& entries) {
  std::string text;
  std::string_view group;
  for (const HelpEntry& entry : entries) {
    const OptionFacts& option = *entry.option;
    if (option.group != group) text += fmt::format("\n{}:\n", option.group);
    group = option.group;
    std::vector<std::string> words = words_of(option.help);
    // One word: a default that is torn from its "default:" is hard to find.
    if (!option.required) words.push_back(fmt::format("(default: {})", default_of(entry)));
    text += line_of(left_of(entry), words);
  }
  return text + line_of("  -h, --help", {"this", "text"});
}

}  // namespace pagewire::cli
