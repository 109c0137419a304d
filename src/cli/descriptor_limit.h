// How many descriptors this process may have open.
#pragma once

#include <sys/resource.h>

namespace pagewire::cli {

/// Raises the soft limit, 1024 on most systems for programs that use select(2), to the hard one,
/// for this process and those that it forks. Returns what may be open now.
rlim_t raise_descriptor_limit();

}  // namespace pagewire::cli
