// Prometheus text, format 0.0.4: what the families are written with. Private to this room.
//
// Invariant: within one text a histogram's _count equals its +Inf bucket, though workers go on
// counting meanwhile: every counter is read once and only the copies are used.
// Format: HELP and TYPE once a family, all samples of a family together, label values with \\ \" \n
// escaped.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/metrics.h"

namespace pagewire::metrics {

using Workers = std::span<const WorkerMetrics* const>;

inline void family(std::string& text, std::string_view name, std::string_view type,
                   std::string_view help) {
  fmt::format_to(std::back_inserter(text), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

template <class Number>
void sample(std::string& text, std::string_view name, Number value) {
  fmt::format_to(std::back_inserter(text), "{} {}\n", name, value);
}

/// A family of one series without labels.
template <class Number>
void single(std::string& text, std::string_view name, std::string_view type, std::string_view help,
            Number value) {
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

inline std::uint64_t sum(Workers workers, Counter WorkerMetrics::*counter) {
  return sum(workers,
             [counter](const WorkerMetrics& worker) -> const Counter& { return worker.*counter; });
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

// text_traffic.cpp: what went out, by which path and why, and how connections ended.
void write_requests(std::string& text, Workers workers);
void write_request_time(std::string& text, Workers workers);
void write_paths(std::string& text, Workers workers, const std::vector<std::string>& labels);
void write_reasons(std::string& text, Workers workers, const std::vector<std::string>& paths,
                   const std::vector<std::string>& reasons);
void write_path_use(std::string& text, const Names& names, const std::vector<std::string>& paths);
void write_connections(std::string& text, Workers workers);
void write_tcp(std::string& text, Workers workers);

// text_machinery.cpp: what it went through: files, disk, pipes, loops, threads.
void write_cache_and_log(std::string& text, Workers workers);
void write_disk(std::string& text, Workers workers);
void write_zerocopy(std::string& text, Workers workers);
void write_uring(std::string& text, Workers workers);
void write_engine(std::string& text, Workers workers, std::string_view engine);
void write_pipes(std::string& text, Workers workers);
void write_workers(std::string& text, Workers workers);

}  // namespace pagewire::metrics
