// The two processes of a round: a server that sends a file by one path, and a client that discards
// it. Each is forked from this (single-threaded) process, so that its CPU is its own.
//
// Invariants: a child dies with its parent (PR_SET_PDEATHSIG), ignores SIGINT (the parent decides
// what Ctrl-C means) and is reaped by the destructor here. Parent and child talk over a socketpair
// in fixed-size messages (engine_messages.h).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "bench/network.h"
#include "bench/workload.h"
#include "sys/fd.h"

namespace pagewire::bench {

/// What ended a round before its time, as one line: "the file shrank while it was sent", "the
/// server closed a connection: Connection reset by peer".
struct Fault {
  std::string text;
};
template <class T>
using OrFault = tl::expected<T, Fault>;

/// Asked now and then by what may take long; true ends it. Empty: nobody will say stop.
using StopAsked = std::function<bool()>;

struct ChildReport;  // engine_messages.h

/// A forked child and our end of its control socket. Every wait for it has a limit (10 s), so that
/// a wedged child is a Fault, never a hang. The first fault stays: it is what every later call
/// says. A wait that a stop ended says "stopped"; the child is then of no more use.
class Child {
 public:
  Child() = default;
  /// `role` ("server") names it in faults; a literal.
  Child(pid_t pid, sys::Fd control, const char* role)
      : pid_(pid), control_(std::move(control)), role_(role) {}
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();  ///< SIGKILL and waitpid

  pid_t pid() const { return pid_; }
  /// Waits for what the child says next.
  OrFault<ChildReport> next_report(const StopAsked& stop_asked = {});
  /// Asks for a sample and waits for it.
  OrFault<ChildReport> sample(const StopAsked& stop_asked = {});
  /// Whether the child has said something that has not been read, or has ended; waits until then,
  /// at most `limit_ms`.
  bool has_news(int limit_ms) const;
  /// A fault that it has told meanwhile, or its unexpected end; does not wait.
  std::optional<Fault> fault();

 private:
  void end();
  Fault fail(std::string text);
  Fault ended();

  pid_t pid_ = -1;
  sys::Fd control_;
  const char* role_ = "";
  std::optional<Fault> fault_;
};

/// TCP_INFO of one moment, summed over all connections, also those that are closed by now: it never
/// goes back.
struct TcpSample {
  std::uint64_t retransmits = 0;
  std::uint64_t busy_us = 0;
  std::uint64_t receiver_limited_us = 0;
  std::uint64_t send_buffer_limited_us = 0;
};

/// What the server's process has counted since it started; differences of two are a window.
struct ServerSample {
  std::int64_t at_ns = 0;          ///< CLOCK_MONOTONIC
  std::uint64_t sent_bytes = 0;    ///< from what the steps returned
  std::uint64_t copied_bytes = 0;  ///< likewise
  std::uint64_t answers = 0;       ///< request mode
  TcpSample tcp;
};

/// A request at an offered rate that goes out later than this was late: the schedule has the
/// timer's own delays, too.
inline constexpr std::int64_t late_after_ns = 1'000'000;

struct ClientSample {
  std::int64_t at_ns = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t answers = 0;
  std::int64_t cpu_ns = 0;  ///< of the client's process
  /// p50, p90, p99, p99.9 of the answers since the last sample; none in stream mode.
  std::optional<std::array<double, 4>> latency_us;
  // At an offered rate; never back.
  std::uint64_t due_asks = 0;   ///< requests that should have gone out by now, but for late_after
  std::uint64_t late_asks = 0;  ///< of them, those that could not go out in time
};

struct ServerSettings {
  int file_fd = -1;          ///< readable; stays the caller's
  ByteCount device_bytes{};  ///< what is sent of a device, which has no size of its own; 0: none is
  const egress::Path* path = nullptr;
  const Network* network = nullptr;  ///< none: 127.0.0.1, in the caller's namespace
  std::optional<int> cpu;
};

class ServerProcess {
 public:
  /// Listens on a port of the kernel's choice. Faults: fork (EAGAIN, ENOMEM), bind, affinity; a
  /// file that is empty or no regular file; "stopped" when that was asked for.
  static OrFault<ServerProcess> start(const ServerSettings& settings,
                                      const StopAsked& stop_asked = {});
  pid_t pid() const { return child_.pid(); }
  const sys::Address& address() const { return address_; }
  OrFault<ServerSample> sample(const StopAsked& stop_asked = {});
  /// As Child::fault(). To be asked before the client's: what goes wrong here also ends the
  /// client's connections, and only the server knows why.
  std::optional<Fault> fault() { return child_.fault(); }

 private:
  ServerProcess(Child child, const sys::Address& address)
      : child_(std::move(child)), address_(address) {}
  Child child_;
  sys::Address address_;
};

struct ClientSettings {
  sys::Address server;
  Mode mode = Mode::Stream;
  std::uint64_t file_bytes = 0;
  std::size_t connections = 1;
  std::optional<double> rate_gbit_per_s;  ///< asks on a schedule (stream mode: for 256 KiB pieces)
  const Network* network = nullptr;
  std::optional<int> cpu;
};

class ClientProcess {
 public:
  /// Returns when all connections stand and asking has begun; they have some seconds in all. Fault
  /// "stopped" when that was asked for.
  static OrFault<ClientProcess> start(const ClientSettings& settings,
                                      const StopAsked& stop_asked = {});
  pid_t pid() const { return child_.pid(); }
  OrFault<ClientSample> sample(const StopAsked& stop_asked = {});
  std::optional<Fault> fault() { return child_.fault(); }

 private:
  explicit ClientProcess(Child child) : child_(std::move(child)) {}
  Child child_;
};

/// One connection asks for the whole file (request mode: a head and the file) by `server`'s path
/// and compares every byte with what pread says, in a process of its own. Returns the bytes of the
/// file that were compared. Fault "stopped" when that was asked for.
OrFault<std::uint64_t> verify_content(const ClientSettings& client, int file_fd,
                                      const StopAsked& stop_asked = {});

/// A position-coded file of `size`: every 8 bytes hold their own offset (the low 56 bits, little
/// endian, each byte XORed with 0x5A) and a mark, so that not even its first byte is a zero. It is
/// without a name already (O_TMPFILE, else unlinked), so that nothing is left behind; written back
/// to the disk. Errors: ENOSPC, EDQUOT, EACCES, EROFS, EFBIG; EINVAL for no bytes at all; EINTR
/// when a stop was asked for.
Result<sys::Fd> make_position_coded_file(const std::string& folder, ByteCount size,
                                         const StopAsked& stop_asked = {});

/// Drops the clean pages of the file (POSIX_FADV_DONTNEED). Returns the bytes that are still
/// resident afterwards, as mincore(2) or cachestat(2) sees it; nullopt where neither does.
Result<std::optional<std::uint64_t>> drop_pages(int file_fd);

}  // namespace pagewire::bench
