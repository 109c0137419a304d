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

std::string requests_key(const Summary& summary) {
  return summary.relay ? "new_connections_per_s" : "requests_per_s";
}

Json workers_json(const Summary& summary) {
  Json list = Json::array();
  for (const WorkerRow& row : summary.workers) {
    Json worker{{"worker", row.name}, {"gbit_per_s", row.gbit}};
    if (summary.relay) {
      worker["gbit_up_per_s"] = or_null(row.gbit_up);
      worker["gbit_down_per_s"] = or_null(row.gbit_down);
    }
    worker[requests_key(summary)] = row.requests;
    worker["connections"] = or_null(row.connections);
    worker["cpu_user"] = or_null(row.user);
    worker["cpu_system"] = or_null(row.system);
    worker["events_per_wakeup"] = or_null(row.events_per_wakeup);
    list.push_back(std::move(worker));
  }
  return list;
}

Json paths_json(const Summary& summary) {
  Json list = Json::array();
  for (const PathRow& row : summary.paths) {
    Json path{{"path", row.name}, {"share", row.share}, {"gbit_per_s", row.gbit}};
    if (!summary.relay) path["responses_per_s"] = row.responses;
    path["bytes_per_call"] = or_null(row.bytes_per_call);
    if (!summary.relay) path["reasons"] = by_name(row.reasons);
    list.push_back(std::move(path));
  }
  return list;
}

Json upstreams_json(const RouteRow& route) {
  Json list = Json::array();
  for (const UpstreamRow& row : route.upstreams) {
    list.push_back({{"upstream", row.upstream},
                    {"address", row.address},
                    {"up", row.up ? Json(*row.up) : Json(nullptr)},
                    {"connections", or_null(row.connections)},
                    {"connects_per_s", row.connects},
                    {"failures_per_s", by_name(row.failures)}});
  }
  return list;
}

Json mirror_json(const std::optional<MirrorRow>& mirror) {
  if (!mirror) return nullptr;
  return {{"gbit_per_s", mirror->gbit},
          {"dropped_bytes_per_s", mirror->dropped_bytes},
          {"dropped_records_per_s", mirror->dropped_records},
          {"gaps_per_s", mirror->gaps},
          {"failures_per_s", mirror->failures}};
}

Json relays_json(const RelaySummary& relay) {
  Json list = Json::array();
  for (const RouteRow& route : relay.routes) {
    list.push_back({{"relay", route.name},
                    {"queued", or_null(route.queued)},
                    {"lookup_failures_per_s", route.lookup_failures},
                    {"mirror", mirror_json(route.mirror)},
                    {"upstreams", upstreams_json(route)}});
  }
  return list;
}

void add_serve(const Summary& summary, Json& report) {
  report["engine"] = summary.engine;
  report["p50_ms"] = or_null(summary.p50_ms);
  report["p99_ms"] = or_null(summary.p99_ms);
  report["cold_waits_per_s"] = summary.cold_waits;
  report["cold_wait_ms"] = or_null(summary.cold_wait_ms);
}

void add_relay(const RelaySummary& relay, Json& report) {
  report["gbit_up_per_s"] = relay.gbit_up;
  report["gbit_down_per_s"] = relay.gbit_down;
  report["tunnels"] = or_null(relay.tunnels);
  report["pipes_in_use"] = or_null(relay.pipes_in_use);
  report["pipes_idle"] = or_null(relay.pipes_idle);
  report["splice_usable"] = relay.splice_usable ? Json(*relay.splice_usable) : Json(nullptr);
  report["retries_per_s"] = relay.retries;
  report["switches_per_s"] = by_name(relay.switches);
  report["ends_per_s"] = by_name(relay.ends);
  report["relays"] = relays_json(relay);
}

}  // namespace

std::string to_json(const Summary& summary, const std::string& url) {
  Json report = {{"schema_version", 1},
                 {"kind", "top"},
                 {"url", url},
                 {"program", summary.relay ? "relay" : "serve"},
                 {"version", summary.version},
                 {"up_s", or_null(summary.up_s)},
                 {"interval_s", summary.seconds},
                 {"gbit_per_s", summary.gbit},
                 {requests_key(summary), summary.requests},
                 {"connections", or_null(summary.connections)},
                 {"cpu", or_null(summary.cpu)},
                 {"cpu_ms_per_gbit", or_null(summary.cpu_ms_per_gbit)},
                 {"ktls_share", or_null(summary.ktls)},
                 {"retransmitted_share", or_null(summary.retransmitted)},
                 {"errors_per_s", by_name(summary.errors)},
                 {"workers", workers_json(summary)},
                 {"paths", paths_json(summary)}};
  if (summary.relay) {
    add_relay(*summary.relay, report);
  } else {
    add_serve(summary, report);
  }
  // A label that is not UTF-8 becomes U+FFFD; anything else would throw.
  return report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace pagewire::top
