#include "cli/machine.h"

#include "bench/bench.h"

namespace pagewire::cli {

Machine this_machine() {
  return {.cpus = bench::allowed_cpus(), .second_core = bench::default_pinning().client};
}

}  // namespace pagewire::cli
