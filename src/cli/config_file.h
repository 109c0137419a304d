// The TOML file of a command's --config: its keys are the names of the options; flat, but for
// options that are tables.
#pragma once

#include <span>
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
OrUsageError<std::vector<Assignment>> parse_config(const CommandTable& table,
                                                   const ConfigText& config);

/// The file that `flags` names by --config; nothing where there is none.
OrUsageError<std::vector<Assignment>> read_config(const CommandTable& table,
                                                  std::span<const Assignment> flags);

/// One option as a line of such a file: `listen = ["[::]:8080"]`.
/// `values` are what its show() says.
std::string config_line(const OptionFacts& option, std::vector<std::string> values);

}  // namespace pagewire::cli
