// Which system calls, how often, and how many bytes each moves; private to the room. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "profile/profile.h"
#include "sys/stack_sampler.h"

namespace pagewire::profile {

/// "sendfile", or "call 999".
std::string name_of_syscall(std::int64_t number);

struct SyscallWindow {
  std::uint64_t calls = 0;  ///< all of them
  double seconds = 0;
};
/// The most frequent first. Rates are those of `window`, shared out as the samples are; bytes are
/// the mean of what successful calls of the sample returned.
std::vector<SyscallUse> uses_of(std::span<const sys::SyscallSample> samples,
                                const SyscallWindow& window);

}  // namespace pagewire::profile
