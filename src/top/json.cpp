#include "top/json.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace pagewire::top {

namespace {

// In the order in which they are written.
using Json = nlohmann::ordered_json;

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json by_name(const std::vector<Share>& shares) {
  Json object = Json::object();
  for (const auto& [name, value] : shares) object[name] = value;
  return object;
}

Json workers_json(const Summary& summary) {
  Json list = Json::array();
  for (const WorkerRow& row : summary.workers) {
    list.push_back({{"worker", row.name},
                    {"gbit_per_s", row.gbit},
                    {"requests_per_s", row.requests},
                    {"connections", or_null(row.connections)},
                    {"cpu_user", row.user},
                    {"cpu_system", row.system},
                    {"events_per_wakeup", or_null(row.events_per_wakeup)}});
  }
  return list;
}

Json paths_json(const Summary& summary) {
  Json list = Json::array();
  for (const PathRow& row : summary.paths) {
    list.push_back({{"path", row.name},
                    {"share", row.share},
                    {"gbit_per_s", row.gbit},
                    {"responses_per_s", row.responses},
                    {"bytes_per_call", or_null(row.bytes_per_call)},
                    {"reasons", by_name(row.reasons)}});
  }
  return list;
}

/// Counters are rates here too, and their names say so.
Json relay_json(const Summary& summary) {
  Json object = Json::object();
  for (const RelayRow& row : summary.relay) {
    object[row.name + (row.per_second ? "_per_s" : "")] = row.value;
  }
  return object;
}

}  // namespace

std::string to_json(const Summary& summary, const std::string& url) {
  const bool relays = summary.program == Program::Relay;
  const Json report = {{"url", url},
                       {"program", relays ? "relay" : "serve"},
                       {"version", summary.version},
                       {"engine", summary.engine},
                       {"up_s", or_null(summary.up_s)},
                       {"interval_s", summary.seconds},
                       {"gbit_per_s", summary.gbit},
                       {relays ? "new_connections_per_s" : "requests_per_s", summary.requests},
                       {"connections", or_null(summary.connections)},
                       {"cpu", or_null(summary.cpu)},
                       {"cpu_ms_per_gbit", or_null(summary.cpu_ms_per_gbit)},
                       {"p50_ms", or_null(summary.p50_ms)},
                       {"p99_ms", or_null(summary.p99_ms)},
                       {"cold_waits_per_s", summary.cold_waits},
                       {"cold_wait_ms", or_null(summary.cold_wait_ms)},
                       {"ktls_share", or_null(summary.ktls)},
                       {"retransmitted_share", or_null(summary.retransmitted)},
                       {"errors_per_s", by_name(summary.errors)},
                       {"workers", workers_json(summary)},
                       {"paths", paths_json(summary)},
                       {"relay", relay_json(summary)}};
  // A label that is not UTF-8 becomes U+FFFD; anything else would throw.
  return report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace pagewire::top
