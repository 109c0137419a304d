// Assignment: one option with what a user gave it, from a flag, a line of the file or the
// environment; and apply(), which hands the values to a command's settings.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "base/check.h"
#include "cli/option.h"

namespace pagewire::cli {

struct Value {
  std::string text;
  std::string shown;  ///< as an error repeats it: with quotes, unless the file had none
  std::string where;  ///< "pagewire serve: --workers", "edge.toml:3: workers": an error's start
};

struct Assignment {
  const OptionFacts* option = nullptr;
  std::vector<Value> values;  ///< more than one for a list or tables only
};

/// One line for the user: what is wrong, where, and what would be right.
struct UsageError {
  std::string text;
};

template <class T>
using OrUsageError = tl::expected<T, UsageError>;

/// "... --path takes auto or copy, not "cpoy" (did you mean copy?)"
UsageError not_taken(const OptionFacts& option, const Value& value);

/// Values to settings, in the order of `assignments`, which are of the same table.
template <class Settings>
OrUsageError<void> apply(const std::vector<BasicOption<Settings>>& table,
                         std::span<const Assignment> assignments, Settings& settings) {
  for (const Assignment& assignment : assignments) {
    const BasicOption<Settings>* option = nullptr;
    for (const BasicOption<Settings>& each : table) {
      if (&each == assignment.option) option = &each;
    }
    PW_CHECK(option != nullptr);
    if (option->clear) option->clear(settings);
    for (const Value& value : assignment.values) {
      if (!option->set(value.text, settings)) return tl::unexpected(not_taken(*option, value));
    }
  }
  return {};
}

}  // namespace pagewire::cli
