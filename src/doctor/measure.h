// What costs are estimated from, measured in some tenths of a second; private to the room.
#pragma once

#include <optional>
#include <string>

#include "doctor/doctor.h"

namespace pagewire::doctor {

/// Of every byte.
struct CopyCount {
  double least = 1;
  double most = 1;
};
/// In plain HTTP: into user memory and out of it.
inline constexpr CopyCount two_copies{.least = 2, .most = 2};
/// Without kernel TLS: a file is read into user memory, its records are copied into the socket, one
/// of which may stay in the CPU's cache.
inline constexpr CopyCount tls_copies{.least = 1, .most = 2};
inline constexpr CopyCount one_copy{};

/// Bytes per second; absent: it could not be measured.
struct Measured {
  std::string no_copies;                 ///< why the three below are absent
  std::optional<double> copy_cached;     ///< page cache to user memory, source in the CPU's cache
  bool is_small = false;                 ///< there was no room for more than caches hold
  std::optional<double> copy_memory;     ///< likewise, source in memory (or in a very large cache)
  std::optional<double> copy_all_cores;  ///< the same on every CPU at once, together
  std::size_t cores = 1;                 ///< that took part in it
  std::optional<double> aes128;          ///< AES-128-GCM in records of 16 KiB, OpenSSL, one core
  std::optional<double> aes256;
  std::optional<double> syscall_ns;  ///< the cheapest system call

  /// What so many copies of every byte cost: the fewest at the quick rate to the most at the slow
  /// one.
  std::optional<Cost> copies(CopyCount count) const;
  /// What `calls` system calls for each body of `body` bytes cost, within a factor of three: a call
  /// that does something costs more than one that does nothing.
  std::optional<Cost> calls(double calls, ByteCount body) const;
};

/// With files in memory that take no more than an eighth of `room`, within limits.
Measured measure(ByteCount room);

}  // namespace pagewire::doctor
