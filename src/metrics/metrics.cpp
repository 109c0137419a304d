// metrics: the counters, and the order of the text that they become.
#include "metrics/metrics.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "metrics/text.h"

namespace pagewire::metrics {

namespace {

constexpr std::uint64_t first_bound_us = 64;

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

std::string prometheus_text(Workers workers, const Names& names, const SystemFacts& system) {
  PW_CHECK(names.paths.size() <= max_paths && names.reasons.size() <= max_reasons);
  PW_CHECK(names.path_use.empty() || names.path_use.size() == names.paths.size());
  const std::vector<std::string> paths = escaped_labels(names.paths);
  const std::vector<std::string> reasons = escaped_labels(names.reasons);
  std::string text;
  text.reserve(16 * 1024);
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
  write_tcp(text, workers);
  write_cache_and_log(text, workers);
  write_zerocopy(text, workers);
  write_uring(text, workers);
  write_pipes(text, workers);
  write_workers(text, workers);
  if (names.tls_served) {
    std::vector<const TlsMetrics*> tls;
    for (const WorkerMetrics* const worker : workers) tls.push_back(&worker->tls);
    text += tls_text(tls, names.tls);
  }
  text += system_text(system);
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
