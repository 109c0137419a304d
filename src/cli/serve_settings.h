// From flags and file to the settings of a server. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/assignment.h"
#include "cli/machine.h"
#include "cli/serve_options.h"

namespace pagewire::cli {

/// Where the settings come from, the weaker source first.
struct Sources {
  std::span<const Assignment> file;
  std::span<const Assignment> flags;
};

/// Defaults, then the file, then the flags; a list given by a stronger source replaces a weaker's.
OrUsageError<ServeSettings> build_settings(const Sources& sources, const Machine& machine);

/// The effective settings as a TOML file, with its newline at the end.
std::string show_settings(const ServeSettings& settings);

}  // namespace pagewire::cli
