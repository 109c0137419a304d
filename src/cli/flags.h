// The command line of `pagewire serve`, taken apart.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/assignment.h"

namespace pagewire::cli {

struct ServeFlags {
  bool help = false;  ///< then nothing else counts
  std::vector<Assignment> assignments;
};

/// Splits `arguments` (those after "serve") by the table of options. Values are not looked at yet.
OrUsageError<ServeFlags> parse_flags(std::span<const std::string> arguments);

}  // namespace pagewire::cli
