// kernel-version: old kernels lack calls that serve cannot do without, or does with.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr KernelVersion needed{5, 6};        // openat2
constexpr KernelVersion has_the_loop{6, 1};  // IORING_SETUP_DEFER_TASKRUN

Finding run(Examination& examination) {
  const KernelVersion here = examination.kernel;
  Finding finding{.looked_at = "uname(2)",
                  .found = fmt::format("Linux {}.{}", here.major, here.minor)};
  if (here < needed) {
    finding.status = Status::Failed;
    finding.costs = "pagewire serve does not start before Linux 5.6 (openat2)";
    finding.mend = "install a newer kernel of your distribution";
  } else if (here < has_the_loop) {
    finding.status = Status::Warning;
    finding.costs =
        "before 6.1 there is no io_uring loop: serve takes epoll, 5 to 8% more CPU for small "
        "answers";
    finding.mend = "install a kernel of 6.1 or newer";
  }
  return finding;
}

}  // namespace

const Check kernel_version_check{.group = Group::Kernel, .name = "kernel-version", .run = run};

}  // namespace pagewire::doctor
