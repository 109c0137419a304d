// The machine, asked once per report.
#pragma once

#include <string>

#include "bench/report.h"
#include "bench/workload.h"

namespace pagewire::bench {

/// Everything but command_line and pagewire_version. `file` is the one that is sent (any name on
/// the same filesystem will do). Never fails: what cannot be read stays empty.
Environment describe_environment(const std::string& file, NetKind net);

/// Over a real interface (`bench sink` to another machine): driver, offloads by ethtool's ioctl.
void describe_interface(const std::string& interface, Environment& environment);

}  // namespace pagewire::bench
