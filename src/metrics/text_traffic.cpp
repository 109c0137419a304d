// What went out, by which path and why, how connections ended, and what TCP said of them.
#include "metrics/text.h"

#include <array>
#include <tuple>

namespace pagewire::metrics {

namespace {

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

}  // namespace

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

void write_request_time(std::string& text, Workers workers) {
  constexpr std::string_view name = "pagewire_request_duration_seconds";
  family(text, name, "histogram",
         "From the round in which the head was complete to the last byte given to the kernel.");
  write_histogram(text, name, workers,
                  [](const WorkerMetrics& w) -> const TimeHistogram& { return w.request_time; });
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

void write_tcp(std::string& text, Workers workers) {
  const auto total = [&](Counter TcpMetrics::*counter) {
    return sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return w.tcp.*counter; });
  };
  const auto seconds = [&](Counter TcpMetrics::*counter) {
    return static_cast<double>(total(counter)) / 1e6;
  };
  single(
      text, "pagewire_tcp_closed_connections_total", "counter",
      "Connections that TCP was asked about when they were closed; the figures below are theirs.",
      total(&TcpMetrics::connections));
  single(text, "pagewire_tcp_retransmitted_segments_total", "counter",
         "Segments that were sent again.", total(&TcpMetrics::retransmits));
  single(text, "pagewire_tcp_busy_seconds_total", "counter", "Time with something to send.",
         seconds(&TcpMetrics::busy_us));
  constexpr std::string_view limited = "pagewire_tcp_limited_seconds_total";
  family(text, limited, "counter",
         "Of the busy time, that in which the peer's window or our send buffer was full.");
  fmt::format_to(std::back_inserter(text),
                 "{0}{{by=\"receiver\"}} {1}\n{0}{{by=\"send-buffer\"}} {2}\n", limited,
                 seconds(&TcpMetrics::receiver_limited_us),
                 seconds(&TcpMetrics::send_buffer_limited_us));
}

}  // namespace pagewire::metrics
