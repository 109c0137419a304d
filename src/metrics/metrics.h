// metrics: what happened, counted by the worker that did it, read by the admin thread.
//
// Each worker owns one WorkerMetrics and is its only writer; readers add the workers up. A counter
// is a relaxed atomic that is loaded and stored, not exchanged: no locked instruction on the data
// path.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/process.h"

namespace pagewire::metrics {

/// One writer, any number of readers.
class Counter {
 public:
  void add(std::uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Request time, from the round in which the head was complete (so that the wait behind others of
/// the round counts) to the last byte given to the kernel. Buckets double from 64 us to 67 s;
/// `count` is their sum.
class TimeHistogram {
 public:
  static constexpr std::size_t buckets = 22;  ///< the last is +Inf
  void record_ns(std::uint64_t ns);
  static std::uint64_t upper_bound_us(std::size_t bucket);  ///< of all but the last
  std::array<Counter, buckets> counts;
  Counter sum_ns;
};

inline constexpr std::size_t max_paths = 16;
inline constexpr std::size_t max_reasons = 32;

/// Why a connection ended, other than by a peer that was done.
enum class ConnectionEnd : std::uint8_t {
  HeadTimeout,
  IdleTimeout,
  SlowReader,  ///< under the minimum transfer rate
  PeerReset,
  SourceTruncated,
  SourceChanged,
  ReadError,  ///< EIO and its like from the file
  SocketError,
  DrainTimeout,
  DiskTimeout,  ///< our disk did not answer in time
  TlsError,     ///< what came cannot be decrypted, or the peer sent a fatal alert
};
inline constexpr std::size_t connection_ends = 11;
std::string_view token(ConnectionEnd end);

/// What a worker asked of the disk helpers.
struct DiskMetrics {
  static constexpr std::array<std::string_view, 3> kinds = {"fetch", "ahead", "open"};
  std::array<Counter, kinds.size()> jobs;
  Counter dropped;  ///< of them, not done: nobody waited any more, or too much was read ahead
  Counter pending;  ///< now, queued or being worked on
  Counter queued;   ///< now, of all workers: waiting for a thread
  Counter fetched_bytes;
  Counter errors;
  TimeHistogram wait_time;  ///< of fetches and opens, from asking until the worker has the answer
  Counter looks;            ///< at the page cache, before steps
  Counter asked_bytes;      ///< that these looks were at
  Counter found_bytes;      ///< of them, those that were there
  Counter unseen;           ///< steps over pages that were fetched and yet not seen there
};

inline constexpr std::size_t max_tls_words = 24;

/// The words behind the indexes are those of TlsNames.
struct TlsMetrics {
  std::array<Counter, max_tls_words> handshakes;    ///< by their outcome
  std::array<Counter, max_tls_words> failures;      ///< after the handshake, by outcome
  std::array<std::array<Counter, 2>, 2> completed;  ///< [TLS 1.3][resumed]
  std::array<std::array<Counter, 12>, 4> kernel;    ///< connections, [who encrypts][why]
  Counter record_bytes;                             ///< of records made in user space
  Counter key_updates;                              ///< of peers
  Counter clean_closes;                             ///< close_notify came
  Counter truncations;                              ///< FIN without close_notify
};

/// What TCP said of connections when they were closed (TCP_INFO, sys/tcp_info.h).
struct TcpMetrics {
  Counter connections;
  Counter retransmits;  ///< segments
  Counter busy_us;      ///< time with something to send; the two below are parts of it
  Counter receiver_limited_us;
  Counter send_buffer_limited_us;
};

/// What a worker's thread and its loop did, as of the last tick.
struct ThreadMetrics {
  Counter cpu_user_us;
  Counter cpu_system_us;
  Counter rounds;  ///< of its loop; each is one wake-up
  Counter events;

  void ask_cpu();  ///< on that thread
};

struct WorkerMetrics {
  std::array<Counter, 600> responses;  ///< by status code
  std::array<Counter, max_paths> path_responses;
  std::array<Counter, max_paths> path_bytes;   ///< that the socket took, heads included
  std::array<Counter, max_paths> path_copied;  ///< bytes copied between user and kernel memory
  std::array<Counter, max_paths> path_calls;   ///< syscalls that moved them
  std::array<std::array<Counter, max_reasons>, max_paths> path_reasons;
  std::array<Counter, connection_ends> ends;
  Counter connections_open;
  Counter connections_accepted;
  Counter connections_refused;  ///< the limit, or out of descriptors
  Counter accept_errors;
  Counter log_dropped;
  Counter cache_hits;
  Counter cache_misses;
  Counter cache_revalidated;
  Counter cache_entries;
  Counter small_body_bytes;
  Counter readahead_files;
  Counter readahead_bytes;
  // Sends with MSG_ZEROCOPY; each ends completed or abandoned.
  Counter zerocopy_in_flight;  ///< bytes now
  Counter zerocopy_sends;
  Counter zerocopy_completed;
  Counter zerocopy_copied;     ///< of them
  Counter zerocopy_abandoned;  ///< the connection went first
  Counter zerocopy_no_buffer;
  Counter zerocopy_over_limit;
  Counter zerocopy_given_up;  ///< connections
  Counter connections_draining;
  // Of uring_* (egress/uring_lane.h), as of the last tick:
  Counter uring_notifications;
  Counter uring_copied_notifications;
  Counter uring_splices;
  Counter uring_without_buffer;
  Counter uring_buffers_in_flight;
  Counter uring_operations_in_flight;
  Counter uring_enters;      ///< calls of io_uring_enter; these three stay 0 with epoll
  Counter uring_overflows;   ///< of the completion queue
  Counter uring_no_buffers;  ///< receives that found no provided buffer
  // Of the pipe pool, as of the last tick:
  Counter pipes_idle;
  Counter pipes_made;
  Counter pipes_reused;
  TimeHistogram request_time;
  ThreadMetrics thread;
  TcpMetrics tcp;
  DiskMetrics disk;
  TlsMetrics tls;
};

/// Whether a path can be used in this run.
struct PathUse {
  bool usable = true;
  std::string_view why;  ///< a fixed token: "ok", "quarantined"
};

/// The words behind the indexes of TlsMetrics.
struct TlsNames {
  std::vector<std::string_view> outcomes;
  std::vector<std::string_view> kernel;
  std::vector<std::string_view> kernel_reasons;
};

/// The names behind the indexes, which this room cannot know.
struct Names {
  std::vector<std::string_view> paths;
  std::vector<std::string_view> reasons;
  std::string_view version;
  /// What was found at start and holds for the run: by path, as `paths`; empty: not known.
  std::vector<PathUse> path_use{};
  std::optional<double> self_test_s{};  ///< none: there was none
  std::string_view engine{};
  bool tls_served = false;
  TlsNames tls{};
};

/// Sums that the status line shows.
struct Totals {
  std::uint64_t requests = 0;
  std::uint64_t bytes = 0;
  std::uint64_t connections_open = 0;
};
Totals totals(std::span<const WorkerMetrics* const> workers);

// ---------------------------------------------------------------- text, for other rooms' counters

/// The HELP and TYPE lines of a family; its samples follow.
struct Family {
  std::string_view name;
  std::string_view type;  ///< "counter", "gauge"
  std::string_view help;
};
void write_family(std::string& text, const Family& family);
/// A family of one series without labels.
void write_single(std::string& text, const Family& family, std::uint64_t value);
/// A label's value with \\, " and newline escaped.
std::string escaped_label(std::string_view value);

/// What is asked of the kernel when somebody reads the metrics, and belongs to no worker.
struct SystemFacts {
  sys::ProcessFacts process;
  std::optional<sys::HostTcp> tcp;
  std::optional<sys::HostTls> tls;
};
SystemFacts ask_system();

/// Prometheus text format 0.0.4. Series of statuses and reasons that never happened, and of what
/// the kernel did not tell, are left out; every family has its HELP and TYPE all the same.
std::string prometheus_text(std::span<const WorkerMetrics* const> workers, const Names& names,
                            const SystemFacts& system);
/// The part of it that is the same for every program with workers of this kind.
std::string system_text(const SystemFacts& system);
/// What these workers' threads did, one series a worker.
std::string threads_text(std::span<const ThreadMetrics* const> workers);
/// The families of TLS, of these workers.
std::string tls_text(std::span<const TlsMetrics* const> workers, const TlsNames& names);

}  // namespace pagewire::metrics
