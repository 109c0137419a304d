// What the kernel says of this process, of its threads and of the machine's TCP; for metrics.
//
// Each is asked when somebody wants to know, off the data path: a few files of /proc, about a tenth
// of a millisecond. What cannot be had is absent, never 0.
#pragma once

#include <cstdint>
#include <optional>

#include "base/units.h"

namespace pagewire::sys {

struct CpuTime {
  std::uint64_t user_us = 0;
  std::uint64_t system_us = 0;
};

/// Of the calling thread since it began (getrusage(2), RUSAGE_THREAD).
CpuTime thread_cpu_time();

struct ProcessFacts {
  CpuTime cpu;  ///< of all threads, those that have ended and those of io_uring included
  std::optional<double> started_at_s;  ///< by CLOCK_REALTIME, since 1970
  std::optional<ByteCount> resident;
  /// Memory whose pages the kernel may not move, such as io_uring's registered buffers (VmPin).
  std::optional<ByteCount> pinned;
  std::optional<std::uint64_t> open_descriptors;
  std::optional<std::uint64_t> most_descriptors;  ///< RLIMIT_NOFILE, the soft one
};
ProcessFacts process_facts();

/// Of everybody's sockets in this network namespace, since it began.
struct HostTcp {
  std::uint64_t sent_segments = 0;           ///< TcpOutSegs of /proc/net/snmp; without retransmits
  std::uint64_t retransmitted_segments = 0;  ///< TcpRetransSegs
};
std::optional<HostTcp> host_tcp();

/// Sockets that the kernel or a network card encrypts now, everybody's (/proc/net/tls_stat).
struct HostTls {
  std::uint64_t by_kernel = 0;  ///< TlsCurrTxSw
  std::uint64_t by_card = 0;    ///< TlsCurrTxDevice
};
/// Absent where the kernel's tls module is not loaded.
std::optional<HostTls> host_tls();

}  // namespace pagewire::sys
