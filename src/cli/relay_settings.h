// From flags and file to the settings of a relay. Pure.
#pragma once

#include <span>
#include <string>

#include "cli/assignment.h"
#include "cli/machine.h"
#include "cli/relay_options.h"

namespace pagewire::cli {

struct RelaySources {
  std::span<const Assignment> file;
  std::span<const Assignment> flags;
};

/// Defaults, then the file, then the flags. A relay of its own is what listen and to say outside of
/// tables; the tables' ones come behind it.
OrUsageError<RelaySettings> build_relay_settings(const RelaySources& sources,
                                                 const Machine& machine);

/// The effective settings as a TOML file, with its newline at the end.
std::string show_relay_settings(const RelaySettings& settings);

}  // namespace pagewire::cli
