// metrics: adds the workers' counters up and writes them as Prometheus text.
//
// Invariant: within one text a histogram's _count equals its +Inf bucket, though workers go on
// counting meanwhile: every counter is read once and only the copies are used.
// Format: Prometheus exposition text, version 0.0.4 (HELP and TYPE once a family, all samples of a
// family together, label values with \\ \" \n escaped).
#include "metrics/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <tuple>

#include "base/check.h"

namespace pagewire::metrics {

namespace {

constexpr std::uint64_t first_bound_us = 64;

using Workers = std::span<const WorkerMetrics* const>;

void family(std::string& text, std::string_view name, std::string_view type,
            std::string_view help) {
  fmt::format_to(std::back_inserter(text), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void sample(std::string& text, std::string_view name, std::uint64_t value) {
  fmt::format_to(std::back_inserter(text), "{} {}\n", name, value);
}

/// A family of one series without labels.
void single(std::string& text, std::string_view name, std::string_view type, std::string_view help,
            std::uint64_t value) {
  family(text, name, type, help);
  sample(text, name, value);
}

/// The sum over the workers of what `counter` picks.
template <class Pick>
std::uint64_t sum(Workers workers, Pick counter) {
  std::uint64_t total = 0;
  for (const WorkerMetrics* const worker : workers) total += counter(*worker).value();
  return total;
}

std::uint64_t sum(Workers workers, Counter WorkerMetrics::*counter) {
  return sum(workers,
             [counter](const WorkerMetrics& worker) -> const Counter& { return worker.*counter; });
}

void write_requests(std::string& text, Workers workers) {
  family(text, "pagewire_requests_total", "counter", "Responses begun, by status code.");
  for (std::size_t status = 0; status < std::tuple_size_v<decltype(WorkerMetrics::responses)>;
       ++status) {
    const std::uint64_t count = sum(workers, [status](const WorkerMetrics& w) -> const Counter& {
      return w.responses[status];
    });
    if (count == 0) continue;
    fmt::format_to(std::back_inserter(text), "pagewire_requests_total{{status=\"{}\"}} {}\n",
                   status, count);
  }
}

struct PathSums {
  std::array<std::uint64_t, max_paths> responses{};
  std::array<std::uint64_t, max_paths> bytes{};
  std::array<std::uint64_t, max_paths> copied{};
  std::array<std::uint64_t, max_paths> calls{};
};

PathSums path_sums(Workers workers) {
  PathSums sums;
  for (const WorkerMetrics* const worker : workers) {
    for (std::size_t path = 0; path < max_paths; ++path) {
      sums.responses[path] += worker->path_responses[path].value();
      sums.bytes[path] += worker->path_bytes[path].value();
      sums.copied[path] += worker->path_copied[path].value();
      sums.calls[path] += worker->path_calls[path].value();
    }
  }
  return sums;
}

void path_samples(std::string& text, std::string_view name, const std::vector<std::string>& labels,
                  const std::array<std::uint64_t, max_paths>& values) {
  for (std::size_t path = 0; path < labels.size(); ++path) {
    fmt::format_to(std::back_inserter(text), "{}{{path=\"{}\"}} {}\n", name, labels[path],
                   values[path]);
  }
}

void write_paths(std::string& text, Workers workers, const std::vector<std::string>& labels) {
  const PathSums sums = path_sums(workers);
  family(text, "pagewire_path_responses_total", "counter", "Responses sent, by egress path.");
  path_samples(text, "pagewire_path_responses_total", labels, sums.responses);
  family(text, "pagewire_path_bytes_total", "counter",
         "Bytes that sockets took, heads included, by egress path.");
  path_samples(text, "pagewire_path_bytes_total", labels, sums.bytes);
  family(text, "pagewire_path_copied_bytes_total", "counter",
         "Bytes that the CPU copied between user and kernel memory for that, by egress path.");
  path_samples(text, "pagewire_path_copied_bytes_total", labels, sums.copied);
  family(text, "pagewire_path_calls_total", "counter",
         "System calls that moved those bytes, by egress path.");
  path_samples(text, "pagewire_path_calls_total", labels, sums.calls);
  family(text, "pagewire_path_bytes_per_call", "gauge",
         "Bytes a system call moved on average since the start, by egress path.");
  for (std::size_t path = 0; path < labels.size(); ++path) {
    if (sums.calls[path] == 0) continue;  // no call yet: there is no average, and 0 would be one
    fmt::format_to(std::back_inserter(text), "pagewire_path_bytes_per_call{{path=\"{}\"}} {}\n",
                   labels[path],
                   static_cast<double>(sums.bytes[path]) / static_cast<double>(sums.calls[path]));
  }
}

void write_reasons(std::string& text, Workers workers, const std::vector<std::string>& paths,
                   const std::vector<std::string>& reasons) {
  family(text, "pagewire_path_reasons_total", "counter", "Why an egress path was chosen.");
  for (std::size_t path = 0; path < paths.size(); ++path) {
    for (std::size_t reason = 0; reason < reasons.size(); ++reason) {
      const std::uint64_t count = sum(workers, [=](const WorkerMetrics& w) -> const Counter& {
        return w.path_reasons[path][reason];
      });
      if (count == 0) continue;
      fmt::format_to(std::back_inserter(text),
                     "pagewire_path_reasons_total{{path=\"{}\",reason=\"{}\"}} {}\n", paths[path],
                     reasons[reason], count);
    }
  }
}

void write_path_use(std::string& text, const Names& names, const std::vector<std::string>& paths) {
  if (!names.path_use.empty()) {
    family(text, "pagewire_path_usable", "gauge",
           "1: the path can be used in this run; 0: it cannot, and why.");
  }
  for (std::size_t path = 0; path < names.path_use.size(); ++path) {
    const PathUse& use = names.path_use[path];
    fmt::format_to(std::back_inserter(text), "pagewire_path_usable{{path=\"{}\",why=\"{}\"}} {}\n",
                   paths[path], escaped_label(use.why), use.usable ? 1 : 0);
  }
  if (!names.self_test_s) return;
  constexpr std::string_view name = "pagewire_self_test_duration_seconds";
  family(text, name, "gauge", "How long the paths' self-test took at start, or reading its cache.");
  fmt::format_to(std::back_inserter(text), "{} {}\n", name, *names.self_test_s);
}

void write_connections(std::string& text, Workers workers) {
  single(text, "pagewire_connections_open", "gauge", "Connections open now.",
         sum(workers, &WorkerMetrics::connections_open));
  single(text, "pagewire_connections_draining", "gauge",
         "Connections that have ended and wait for the kernel to let go of their memory.",
         sum(workers, &WorkerMetrics::connections_draining));
  single(text, "pagewire_connections_accepted_total", "counter", "Connections accepted.",
         sum(workers, &WorkerMetrics::connections_accepted));
  single(text, "pagewire_connections_refused_total", "counter",
         "Connections turned away: the connection limit, or out of descriptors.",
         sum(workers, &WorkerMetrics::connections_refused));
  single(text, "pagewire_accept_errors_total", "counter", "accept4 calls that failed.",
         sum(workers, &WorkerMetrics::accept_errors));
  family(text, "pagewire_connection_ends_total", "counter",
         "Connections that ended otherwise than by a peer that was done.");
  for (std::size_t end = 0; end < connection_ends; ++end) {
    const std::uint64_t count =
        sum(workers, [end](const WorkerMetrics& w) -> const Counter& { return w.ends[end]; });
    fmt::format_to(std::back_inserter(text), "pagewire_connection_ends_total{{why=\"{}\"}} {}\n",
                   token(static_cast<ConnectionEnd>(end)), count);
  }
}

void write_cache_and_log(std::string& text, Workers workers) {
  single(text, "pagewire_open_file_cache_hits_total", "counter",
         "Requests answered from an open file.", sum(workers, &WorkerMetrics::cache_hits));
  single(text, "pagewire_open_file_cache_misses_total", "counter",
         "Requests that had to open their file.", sum(workers, &WorkerMetrics::cache_misses));
  single(text, "pagewire_open_file_cache_revalidated_total", "counter",
         "Entries past their validity that stat found unchanged.",
         sum(workers, &WorkerMetrics::cache_revalidated));
  single(text, "pagewire_open_file_cache_entries", "gauge", "Open files held now.",
         sum(workers, &WorkerMetrics::cache_entries));
  single(text, "pagewire_open_file_cache_memory_bytes", "gauge",
         "Bytes of small files held in memory now.",
         sum(workers, &WorkerMetrics::small_body_bytes));
  single(text, "pagewire_readahead_files_total", "counter",
         "Open files whose readahead window was doubled, because they are streamed.",
         sum(workers, &WorkerMetrics::readahead_files));
  single(text, "pagewire_readahead_asked_bytes_total", "counter",
         "Bytes of them that were asked for ahead (--readahead SIZE).",
         sum(workers, &WorkerMetrics::readahead_bytes));
  single(text, "pagewire_log_dropped_total", "counter", "Access log lines that were not written.",
         sum(workers, &WorkerMetrics::log_dropped));
}

void write_zerocopy(std::string& text, Workers workers) {
  single(text, "pagewire_zerocopy_in_flight_bytes", "gauge",
         "Bytes sent with MSG_ZEROCOPY that the kernel has not let go of.",
         sum(workers, &WorkerMetrics::zerocopy_in_flight));
  single(text, "pagewire_zerocopy_sends_total", "counter", "Sends made with MSG_ZEROCOPY.",
         sum(workers, &WorkerMetrics::zerocopy_sends));
  single(text, "pagewire_zerocopy_completions_total", "counter",
         "Of these sends, those that the kernel has let go of.",
         sum(workers, &WorkerMetrics::zerocopy_completed));
  single(text, "pagewire_zerocopy_copied_total", "counter",
         "Of the completed sends, those that the kernel copied after all.",
         sum(workers, &WorkerMetrics::zerocopy_copied));
  single(text, "pagewire_zerocopy_abandoned_total", "counter",
         "Sends whose connection was closed before they completed.",
         sum(workers, &WorkerMetrics::zerocopy_abandoned));
  family(text, "pagewire_zerocopy_fallbacks_total", "counter",
         "Sends made by copying instead: no option or lockable memory (ENOBUFS), or too much in "
         "flight.");
  fmt::format_to(std::back_inserter(text),
                 "pagewire_zerocopy_fallbacks_total{{why=\"enobufs\"}} {}\n"
                 "pagewire_zerocopy_fallbacks_total{{why=\"in-flight-limit\"}} {}\n",
                 sum(workers, &WorkerMetrics::zerocopy_no_buffer),
                 sum(workers, &WorkerMetrics::zerocopy_over_limit));
  single(text, "pagewire_zerocopy_given_up_total", "counter",
         "Connections on which the kernel copied too often, so that the path was given up.",
         sum(workers, &WorkerMetrics::zerocopy_given_up));
}

void write_uring(std::string& text, Workers workers) {
  single(text, "pagewire_uring_notifications_total", "counter",
         "Zero-copy sends whose memory the kernel has let go of.",
         sum(workers, &WorkerMetrics::uring_notifications));
  single(text, "pagewire_uring_copied_notifications_total", "counter",
         "Of these, sends that the kernel copied after all.",
         sum(workers, &WorkerMetrics::uring_copied_notifications));
  single(text, "pagewire_uring_splice_operations_total", "counter",
         "Splices from a file that io_uring was asked for.",
         sum(workers, &WorkerMetrics::uring_splices));
  single(text, "pagewire_uring_without_buffer_total", "counter",
         "Sends that were copied because no registered buffer was free.",
         sum(workers, &WorkerMetrics::uring_without_buffer));
  single(text, "pagewire_uring_buffers_in_flight", "gauge",
         "Registered buffers that the kernel holds now.",
         sum(workers, &WorkerMetrics::uring_buffers_in_flight));
  single(text, "pagewire_uring_operations_in_flight", "gauge",
         "Operations of io_uring without a result now.",
         sum(workers, &WorkerMetrics::uring_operations_in_flight));
}

void write_engine(std::string& text, Workers workers, std::string_view engine) {
  family(text, "pagewire_engine_info", "gauge", "1, with the workers' event loop as a label.");
  fmt::format_to(std::back_inserter(text), "pagewire_engine_info{{engine=\"{}\"}} 1\n",
                 escaped_label(engine));
  single(text, "pagewire_uring_enter_calls_total", "counter",
         "Calls of io_uring_enter by the workers' loops; 0 with epoll.",
         sum(workers, &WorkerMetrics::uring_enters));
  single(text, "pagewire_uring_cq_overflows_total", "counter",
         "Rounds that found the completion queue overflown.",
         sum(workers, &WorkerMetrics::uring_overflows));
  single(text, "pagewire_uring_no_buffers_total", "counter",
         "Receives that found no provided buffer (ENOBUFS) and were begun again.",
         sum(workers, &WorkerMetrics::uring_no_buffers));
}

void write_tls_words(std::string& text, Workers workers, std::string_view name,
                     std::array<Counter, max_tls_words> TlsMetrics::*counters,
                     const std::vector<std::string_view>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uint64_t count = sum(
        workers, [=](const WorkerMetrics& w) -> const Counter& { return (w.tls.*counters)[i]; });
    if (count == 0) continue;
    fmt::format_to(std::back_inserter(text), "{}{{result=\"{}\"}} {}\n", name, words[i], count);
  }
}

void write_tls_kernel(std::string& text, Workers workers, const Names& names) {
  family(text, "pagewire_tls_connections_total", "counter",
         "Connections by who encrypts what is sent, and why it is not the kernel.");
  for (std::size_t state = 0; state < names.tls_kernel.size(); ++state) {
    for (std::size_t why = 0; why < names.tls_kernel_reasons.size(); ++why) {
      const std::uint64_t count = sum(workers, [=](const WorkerMetrics& w) -> const Counter& {
        return w.tls.kernel[state][why];
      });
      if (count == 0) continue;
      fmt::format_to(std::back_inserter(text),
                     "pagewire_tls_connections_total{{ktls=\"{}\",reason=\"{}\"}} {}\n",
                     names.tls_kernel[state], names.tls_kernel_reasons[why], count);
    }
  }
}

void write_tls(std::string& text, Workers workers, const Names& names) {
  const auto total = [&](Counter TlsMetrics::*counter) {
    return sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return w.tls.*counter; });
  };
  family(text, "pagewire_tls_handshakes_total", "counter", "TLS handshakes, by what they came to.");
  write_tls_words(text, workers, "pagewire_tls_handshakes_total", &TlsMetrics::handshakes,
                  names.tls_outcomes);
  family(text, "pagewire_tls_handshakes_completed_total", "counter",
         "Of these, the complete ones, by version and whether an earlier session was resumed.");
  for (const std::size_t version : {0U, 1U}) {
    for (const std::size_t resumed : {0U, 1U}) {
      const std::uint64_t count = sum(workers, [=](const WorkerMetrics& w) -> const Counter& {
        return w.tls.completed[version][resumed];
      });
      fmt::format_to(
          std::back_inserter(text),
          "pagewire_tls_handshakes_completed_total{{version=\"{}\",resumed=\"{}\"}} {}\n",
          version == 1 ? "TLSv1.3" : "TLSv1.2", resumed == 1 ? "yes" : "no", count);
    }
  }
  family(text, "pagewire_tls_failures_total", "counter",
         "Connections that TLS ended after their handshake, by why.");
  write_tls_words(text, workers, "pagewire_tls_failures_total", &TlsMetrics::failures,
                  names.tls_outcomes);
  write_tls_kernel(text, workers, names);
  single(text, "pagewire_tls_record_bytes_total", "counter",
         "Bytes that sockets took of records made in user space, handshakes included.",
         total(&TlsMetrics::record_bytes));
  single(text, "pagewire_tls_key_updates_total", "counter", "KeyUpdates that peers sent.",
         total(&TlsMetrics::key_updates));
  single(text, "pagewire_tls_clean_closes_total", "counter",
         "Connections whose peer said close_notify.", total(&TlsMetrics::clean_closes));
  single(text, "pagewire_tls_truncations_total", "counter",
         "Connections whose peer sent its FIN without close_notify.",
         total(&TlsMetrics::truncations));
}

template <class Pick>
void write_histogram(std::string& text, std::string_view name, Workers workers, Pick histogram) {
  std::uint64_t cumulative = 0;
  for (std::size_t bucket = 0; bucket < TimeHistogram::buckets; ++bucket) {
    cumulative += sum(workers, [=](const WorkerMetrics& w) -> const Counter& {
      return histogram(w).counts[bucket];
    });
    if (bucket + 1 == TimeHistogram::buckets) {
      fmt::format_to(std::back_inserter(text), "{}_bucket{{le=\"+Inf\"}} {}\n", name, cumulative);
    } else {
      fmt::format_to(std::back_inserter(text), "{}_bucket{{le=\"{}\"}} {}\n", name,
                     static_cast<double>(TimeHistogram::upper_bound_us(bucket)) / 1e6, cumulative);
    }
  }
  const std::uint64_t sum_ns =
      sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return histogram(w).sum_ns; });
  fmt::format_to(std::back_inserter(text), "{}_sum {}\n{}_count {}\n", name,
                 static_cast<double>(sum_ns) / 1e9, name, cumulative);
}

void write_request_time(std::string& text, Workers workers) {
  constexpr std::string_view name = "pagewire_request_duration_seconds";
  family(text, name, "histogram",
         "From the round in which the head was complete to the last byte given to the kernel.");
  write_histogram(text, name, workers,
                  [](const WorkerMetrics& w) -> const TimeHistogram& { return w.request_time; });
}

void write_disk(std::string& text, Workers workers) {
  const auto total = [&](Counter DiskMetrics::*counter) {
    return sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return w.disk.*counter; });
  };
  family(text, "pagewire_disk_jobs_total", "counter", "What disk helpers were asked for.");
  for (std::size_t kind = 0; kind < DiskMetrics::kinds.size(); ++kind) {
    fmt::format_to(
        std::back_inserter(text), "pagewire_disk_jobs_total{{kind=\"{}\"}} {}\n",
        DiskMetrics::kinds[kind],
        sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return w.disk.jobs[kind]; }));
  }
  single(text, "pagewire_disk_jobs_dropped_total", "counter",
         "Jobs that were left out: their clients had gone, or too much was being read ahead.",
         total(&DiskMetrics::dropped));
  single(text, "pagewire_disk_jobs_pending", "gauge", "Jobs of disk helpers, waiting or under way.",
         total(&DiskMetrics::pending));
  single(text, "pagewire_disk_queue_depth", "gauge", "Jobs that wait for a disk helper.",
         total(&DiskMetrics::queued));
  single(text, "pagewire_disk_fetched_bytes_total", "counter",
         "Bytes that disk helpers read because a response needed them.",
         total(&DiskMetrics::fetched_bytes));
  single(text, "pagewire_disk_errors_total", "counter", "Fetches that the disk failed.",
         total(&DiskMetrics::errors));
  constexpr std::string_view wait = "pagewire_disk_wait_seconds";
  family(text, wait, "histogram", "From asking for pages or a name until they were there.");
  write_histogram(text, wait, workers,
                  [](const WorkerMetrics& w) -> const TimeHistogram& { return w.disk.wait_time; });
  single(text, "pagewire_residency_looks_total", "counter", "Looks at the page cache before steps.",
         total(&DiskMetrics::looks));
  single(text, "pagewire_residency_unseen_total", "counter",
         "Steps over pages that were fetched and yet not seen in the page cache.",
         total(&DiskMetrics::unseen));
}

std::vector<std::string> escaped_labels(const std::vector<std::string_view>& names) {
  std::vector<std::string> labels;
  labels.reserve(names.size());
  for (const std::string_view name : names) labels.push_back(escaped_label(name));
  return labels;
}

}  // namespace

void write_family(std::string& text, const Family& what) {
  family(text, what.name, what.type, what.help);
}

void write_single(std::string& text, const Family& what, std::uint64_t value) {
  single(text, what.name, what.type, what.help, value);
}

std::string escaped_label(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string prometheus_text(Workers workers, const Names& names) {
  PW_CHECK(names.paths.size() <= max_paths && names.reasons.size() <= max_reasons);
  PW_CHECK(names.path_use.empty() || names.path_use.size() == names.paths.size());
  const std::vector<std::string> paths = escaped_labels(names.paths);
  const std::vector<std::string> reasons = escaped_labels(names.reasons);
  std::string text;
  text.reserve(8 * 1024);
  family(text, "pagewire_build_info", "gauge", "1, with the version that runs as a label.");
  fmt::format_to(std::back_inserter(text), "pagewire_build_info{{version=\"{}\"}} 1\n",
                 escaped_label(names.version));
  write_engine(text, workers, names.engine);
  write_requests(text, workers);
  write_request_time(text, workers);
  write_disk(text, workers);
  write_paths(text, workers, paths);
  write_reasons(text, workers, paths, reasons);
  write_path_use(text, names, paths);
  write_connections(text, workers);
  write_cache_and_log(text, workers);
  write_zerocopy(text, workers);
  write_uring(text, workers);
  if (names.tls_served) write_tls(text, workers, names);
  return text;
}

Totals totals(Workers workers) {
  Totals totals;
  for (const WorkerMetrics* const worker : workers) {
    for (const Counter& count : worker->responses) totals.requests += count.value();
    for (const Counter& bytes : worker->path_bytes) totals.bytes += bytes.value();
    totals.connections_open += worker->connections_open.value();
  }
  return totals;
}

void TimeHistogram::record_ns(std::uint64_t ns) {
  // Bucket b holds (64 us * 2^(b-1), 64 us * 2^b], so the doublings needed are the bits of the
  // whole first bounds below ns.
  constexpr std::uint64_t first_bound_ns = first_bound_us * 1000;
  const auto doublings = ns == 0
                             ? std::size_t{0}
                             : static_cast<std::size_t>(std::bit_width((ns - 1) / first_bound_ns));
  counts[std::min(doublings, buckets - 1)].add(1);
  sum_ns.add(ns);
}

std::uint64_t TimeHistogram::upper_bound_us(std::size_t bucket) {
  return first_bound_us << bucket;
}

std::string_view token(ConnectionEnd end) {
  switch (end) {
    case ConnectionEnd::HeadTimeout:
      return "head-timeout";
    case ConnectionEnd::IdleTimeout:
      return "idle-timeout";
    case ConnectionEnd::SlowReader:
      return "slow-reader";
    case ConnectionEnd::PeerReset:
      return "peer-reset";
    case ConnectionEnd::SourceTruncated:
      return "source-truncated";
    case ConnectionEnd::SourceChanged:
      return "source-changed";
    case ConnectionEnd::ReadError:
      return "read-error";
    case ConnectionEnd::SocketError:
      return "socket-error";
    case ConnectionEnd::DrainTimeout:
      return "drain-timeout";
    case ConnectionEnd::DiskTimeout:
      return "disk-timeout";
    case ConnectionEnd::TlsError:
      return "tls-error";
  }
  return "unknown";
}

}  // namespace pagewire::metrics
