// The TOML file of `pagewire serve --config`: flat, its keys are the names of the options.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/assignment.h"

namespace pagewire::cli {

struct ConfigText {
  std::string name;  ///< as the user wrote it; errors start with it
  std::string text;
};

/// Pure. In the order of the lines; the first wrong line is the error: bad TOML, an unknown key, a
/// value of a type that the option cannot take.
OrUsageError<std::vector<Assignment>> parse_config(const ConfigText& config);

/// One option as a line of such a file: `listen = ["[::]:8080"]`.
std::string config_line(const Option& option, const ServeSettings& settings);

}  // namespace pagewire::cli
