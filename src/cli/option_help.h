// The part of a command's help that its table of options writes.
#pragma once

#include <string>
#include <vector>

#include "cli/option.h"

namespace pagewire::cli {

struct HelpEntry {
  const OptionFacts* option = nullptr;
  std::string shown;  ///< what show() says of the defaults; the first of a list's
};

/// "\nGroup:\n  --flag VALUE   what it does (default: ...)\n" for each, and -h.
std::string options_help(const std::vector<HelpEntry>& entries);

template <class Settings>
std::string options_help(const std::vector<BasicOption<Settings>>& table,
                         const Settings& defaults) {
  std::vector<HelpEntry> entries;
  for (const BasicOption<Settings>& option : table) {
    const std::vector<std::string> shown = option.show(defaults);
    entries.push_back({.option = &option, .shown = shown.empty() ? "" : shown.front()});
  }
  return options_help(entries);
}

}  // namespace pagewire::cli
