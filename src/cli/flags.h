// A command line, taken apart by the command's table.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/assignment.h"

namespace pagewire::cli {

struct Flags {
  bool help = false;  ///< then nothing else counts
  std::vector<Assignment> assignments;
};

/// Splits `arguments` (those after the command). Values are not looked at yet.
OrUsageError<Flags> parse_flags(const CommandTable& table, std::span<const std::string> arguments);

}  // namespace pagewire::cli
