// Threads: a name for top(1) and perf, and the CPUs.
#pragma once

#include <pthread.h>
#include <sched.h>

#include "base/result.h"

namespace pagewire::sys {

/// At most 15 characters (pthread_setname_np(3)).
inline void name_this_thread(const char* name) {
  ::pthread_setname_np(::pthread_self(), name);
}

/// Errors: EINVAL, no such CPU or not one that the process may use.
inline Result<void> pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  const int error = ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
  if (error != 0) return failure("pthread_setaffinity_np", error);
  return {};
}

}  // namespace pagewire::sys
