#include "top/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "top/between.h"

namespace pagewire::top {

namespace {

/// The workers that any of these names has, in their order.
std::vector<std::string> workers_of(const Exposition& now,
                                    std::initializer_list<std::string_view> names) {
  std::vector<std::string> workers;
  for (const std::string_view name : names) {
    for (const Sample* const sample : now.of(name)) {
      const std::string_view worker = sample->label("worker");
      if (std::find(workers.begin(), workers.end(), worker) == workers.end()) {
        workers.emplace_back(worker);
      }
    }
  }
  return workers;
}

/// What serve and relay call the same.
void add_thread(const Between& between, WorkerRow& row) {
  const auto growth = [&](std::string_view metric) {
    return between.growth(metric, "worker", row.name);
  };
  for (const Sample* const cpu : between.now().of("pagewire_worker_cpu_seconds_total")) {
    if (cpu->label("worker") != row.name) continue;
    (cpu->label("mode") == "user" ? row.user : row.system) = between.rate(between.growth(*cpu));
  }
  row.events_per_wakeup =
      ratio(growth("pagewire_worker_events_total"), growth("pagewire_worker_wakeups_total"));
}

std::vector<WorkerRow> serve_workers(const Between& between) {
  std::vector<WorkerRow> rows;
  for (const std::string& name : workers_of(between.now(), {"pagewire_worker_sent_bytes_total"})) {
    const auto growth = [&](std::string_view metric) {
      return between.growth(metric, "worker", name);
    };
    WorkerRow& row = rows.emplace_back(
        WorkerRow{.name = name,
                  .gbit = between.gbit(growth("pagewire_worker_sent_bytes_total")),
                  .requests = between.rate(growth("pagewire_worker_requests_total"))});
    row.connections = between.now().with("pagewire_worker_connections_open", "worker", name);
    add_thread(between, row);
  }
  return rows;
}

std::vector<WorkerRow> relay_workers(const Between& between) {
  constexpr std::string_view bytes = "pagewire_relay_worker_bytes_total";
  std::vector<WorkerRow> rows;
  for (const std::string& name : workers_of(between.now(), {bytes})) {
    WorkerRow& row = rows.emplace_back(WorkerRow{.name = name});
    for (const Sample* const sample : between.now().of(bytes)) {
      if (sample->label("worker") != name) continue;
      (sample->label("direction") == "up" ? row.gbit_up : row.gbit_down) =
          between.gbit(between.growth(*sample));
    }
    row.gbit = row.gbit_up.value_or(0) + row.gbit_down.value_or(0);
    row.requests =
        between.rate(between.growth("pagewire_relay_worker_connections_total", "worker", name));
    row.connections = between.now().with("pagewire_relay_worker_connections_open", "worker", name);
    add_thread(between, row);
  }
  return rows;
}

/// What the two programs call the same thing.
struct Words {
  std::string_view bytes;
  std::string_view calls;
  std::string_view requests;
  std::string_view connections;
};

constexpr Words serve_words{.bytes = "pagewire_path_bytes_total",
                            .calls = "pagewire_path_calls_total",
                            .requests = "pagewire_requests_total",
                            .connections = "pagewire_connections_open"};
constexpr Words relay_words{.bytes = "pagewire_relay_path_bytes_total",
                            .calls = "pagewire_relay_path_calls_total",
                            .requests = "pagewire_relay_connections_total",
                            .connections = "pagewire_relay_connections_open"};

std::vector<PathRow> path_rows(const Between& between, const Words& words) {
  const double all_bytes = between.growth(words.bytes);
  std::vector<PathRow> rows;
  for (const Sample* const sample : between.now().of(words.bytes)) {
    const std::string name(sample->label("path"));
    const double bytes = between.growth(*sample);
    const double responses = between.growth("pagewire_path_responses_total", "path", name);
    if (bytes <= 0 && responses <= 0) continue;
    PathRow row{.name = name,
                .share = ratio(bytes, all_bytes).value_or(0),
                .gbit = between.gbit(bytes),
                .responses = between.rate(responses)};
    row.bytes_per_call = ratio(bytes, between.growth(words.calls, "path", name));
    for (const Sample* const reason : between.now().of("pagewire_path_reasons_total")) {
      if (reason->label("path") != name) continue;
      row.reasons.emplace_back(reason->label("reason"),
                               ratio(between.growth(*reason), responses).value_or(0));
    }
    sort_shares(row.reasons);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Share> error_rates(const Between& between) {
  std::vector<Share> errors;
  const auto add = [&](std::string name, double growth) {
    errors.emplace_back(std::move(name), between.rate(growth));
  };
  for (const Sample* const end : between.now().of("pagewire_connection_ends_total")) {
    add(std::string(end->label("why")), between.growth(*end));
  }
  for (const Sample* const status : between.now().of("pagewire_requests_total")) {
    const std::string_view code = status->label("status");
    if (code.starts_with('5')) add("status " + std::string(code), between.growth(*status));
  }
  add("refused", between.growth("pagewire_connections_refused_total"));
  add("refused", between.growth("pagewire_relay_refused_total"));
  add("accept-errors", between.growth("pagewire_accept_errors_total"));
  add("accept-errors", between.growth("pagewire_relay_accept_errors_total"));
  add("disk-errors", between.growth("pagewire_disk_errors_total"));
  add("log-dropped", between.growth("pagewire_log_dropped_total"));
  for (const Sample* const failure : between.now().of("pagewire_tls_failures_total")) {
    add("tls " + std::string(failure->label("result")), between.growth(*failure));
  }
  sort_shares(errors);
  return errors;
}

std::optional<double> ktls_share(const Exposition& now) {
  double by_kernel = 0;
  double all = 0;
  for (const Sample* const sample : now.of("pagewire_tls_connections_total")) {
    all += sample->value;
    if (sample->label("ktls") != "none") by_kernel += sample->value;
  }
  return ratio(by_kernel, all);
}

std::optional<double> retransmitted_share(const Between& between) {
  const double again = between.growth("pagewire_host_tcp_retransmitted_segments_total");
  return ratio(again, again + between.growth("pagewire_host_tcp_sent_segments_total"));
}

std::string label_of(const Exposition& now, std::string_view name, std::string_view label) {
  const std::vector<const Sample*> found = now.of(name);
  return found.empty() ? std::string() : std::string(found.front()->label(label));
}

}  // namespace

bool restarted(const Reading& before, const Reading& after) {
  const std::optional<double> started = before.metrics.total("process_start_time_seconds");
  const std::optional<double> starts = after.metrics.total("process_start_time_seconds");
  if (started && starts && *starts > *started) return true;
  for (const Sample& sample : before.metrics.samples()) {
    if (!sample.name.ends_with("_total") || sample.name.starts_with("pagewire_host_")) continue;
    const std::optional<double> now = after.metrics.same_as(sample);
    if (now ? *now < sample.value : sample.value > 0) return true;
  }
  return false;
}

std::optional<double> quantile(const Reading& before, const Reading& after, std::string_view name,
                               double share) {
  const std::string bucket = std::string(name) + "_bucket";
  const Between between(before, after);
  std::vector<std::pair<double, double>> counts;  // upper bound, cumulative
  for (const Sample* const sample : after.metrics.of(bucket)) {
    const std::string_view bound = sample->label("le");
    const double upper = bound == "+Inf" ? std::numeric_limits<double>::infinity()
                                         : std::strtod(std::string(bound).c_str(), nullptr);
    counts.emplace_back(upper, between.growth(*sample));
  }
  if (counts.empty() || counts.back().second <= 0) return std::nullopt;
  const double wanted = counts.back().second * share;
  double lower = 0;
  double below = 0;
  for (const auto& [upper, cumulative] : counts) {
    if (cumulative >= wanted && cumulative > below) {
      if (std::isinf(upper)) return lower;  // all that is known: it took longer than this
      return lower + (upper - lower) * (wanted - below) / (cumulative - below);
    }
    lower = upper;
    below = cumulative;
  }
  return lower;
}

Summary summarize(const Reading& before, const Reading& after, double now_s) {
  const Between between(before, after);
  const Exposition& now = between.now();
  constexpr std::string_view duration = "pagewire_request_duration_seconds";
  Summary summary{.seconds = between.seconds(),
                  .version = label_of(now, "pagewire_build_info", "version"),
                  .engine = label_of(now, "pagewire_engine_info", "engine")};
  if (const auto started = now.total("process_start_time_seconds")) summary.up_s = now_s - *started;
  const bool relays = !now.of("pagewire_relay_bytes_total").empty();
  const Words& words = relays ? relay_words : serve_words;
  const double bytes = between.growth(words.bytes);
  summary.gbit = between.gbit(bytes);
  summary.requests = between.rate(between.growth(words.requests));
  summary.connections = now.total(words.connections);
  if (now.total("process_cpu_seconds_total")) {
    const double cpu_s = between.growth("process_cpu_seconds_total");
    summary.cpu = between.rate(cpu_s);
    summary.cpu_ms_per_gbit = ratio(cpu_s * 1e3, bytes * 8 / 1e9);
  }
  const auto in_ms = [&](double share) {
    const std::optional<double> seconds = quantile(before, after, duration, share);
    return seconds ? std::optional(*seconds * 1e3) : std::nullopt;
  };
  summary.p50_ms = in_ms(0.5);
  summary.p99_ms = in_ms(0.99);
  const double waits = between.growth("pagewire_disk_wait_seconds_count");
  summary.cold_waits = between.rate(waits);
  if (const auto wait_s = ratio(between.growth("pagewire_disk_wait_seconds_sum"), waits)) {
    summary.cold_wait_ms = *wait_s * 1e3;
  }
  summary.ktls = ktls_share(now);
  summary.retransmitted = retransmitted_share(between);
  summary.errors = error_rates(between);
  summary.workers = relays ? relay_workers(between) : serve_workers(between);
  summary.paths = path_rows(between, words);
  if (relays) summary.relay = summarize_relay(between);
  return summary;
}

}  // namespace pagewire::top
