// Assignment: one option with what a user gave it, from a flag or from a line of the file.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cli/options.h"

namespace pagewire::cli {

struct Value {
  std::string text;
  std::string shown;  ///< as an error repeats it: with quotes, unless the file had none
  std::string where;  ///< "pagewire serve: --workers", "edge.toml:3: workers": an error's start
};

struct Assignment {
  const Option* option = nullptr;
  std::vector<Value> values;  ///< more than one for a list only
};

/// One line for the user: what is wrong, where, and what would be right.
struct UsageError {
  std::string text;
};

template <class T>
using OrUsageError = tl::expected<T, UsageError>;

}  // namespace pagewire::cli
