// MSG_ZEROCOPY's two ends: allowing it on a socket, and the completions on its error queue.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"

namespace pagewire::sys {

/// SO_ZEROCOPY (socket(7)). Errors: ENOPROTOOPT (before Linux 4.14), ENOTSUPP (not this kind of
/// socket); EBUSY (kernels that only allow it before connecting).
Result<void> allow_zero_copy(int fd);

/// The kernel has let go of the memory of these sends. Sends are numbered per socket, from 0, those
/// alone that took something; the number wraps after 2^32 of them.
struct ZeroCopyCompletion {
  std::uint32_t first = 0;
  std::uint32_t last = 0;  ///< inclusive; below `first` when the number wrapped in between
  bool copied = false;     ///< SO_EE_CODE_ZEROCOPY_COPIED: the kernel made a copy after all
};

/// The next one from the socket's error queue (recvmsg(2), MSG_ERRQUEUE); nullopt when it holds no
/// more. Never blocks.
std::optional<ZeroCopyCompletion> next_completion(int fd);

}  // namespace pagewire::sys
