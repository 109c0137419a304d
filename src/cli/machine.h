// The machine, as far as settings depend on it.
#pragma once

#include <optional>
#include <vector>

namespace pagewire::cli {

struct Machine {
  std::vector<int> cpus;  ///< those that this process may run on; not empty
  /// One of them on another core than the first one is, so that two busy threads do not share a
  /// core; none where there is no second CPU.
  std::optional<int> second_core = std::nullopt;
};

Machine this_machine();

}  // namespace pagewire::cli
