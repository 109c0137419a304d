// What a relay did between two readings: by relay and by upstream.
#include "top/between.h"

namespace pagewire::top {

namespace {

std::optional<bool> truth(std::optional<double> value) {
  return value ? std::optional(*value != 0) : std::nullopt;
}

RouteRow& route_named(std::vector<RouteRow>& routes, std::string_view name) {
  for (RouteRow& route : routes) {
    if (route.name == name) return route;
  }
  return routes.emplace_back(RouteRow{.name = std::string(name)});
}

/// Labels besides those of an upstream (`reason`) are not compared.
bool is_of(const Sample& sample, const RouteRow& route, const UpstreamRow& upstream) {
  return sample.label("relay") == route.name && sample.label("upstream") == upstream.upstream &&
         sample.label("address") == upstream.address;
}

void add_counts(const Between& between, const RouteRow& route, UpstreamRow& upstream) {
  for (const Sample* const sample : between.now().of("pagewire_relay_upstream_connections")) {
    if (is_of(*sample, route, upstream)) upstream.connections = sample->value;
  }
  for (const Sample* const sample : between.now().of("pagewire_relay_upstream_connects_total")) {
    if (is_of(*sample, route, upstream)) upstream.connects = between.rate(between.growth(*sample));
  }
  constexpr std::string_view failures = "pagewire_relay_upstream_connect_failures_total";
  for (const Sample* const sample : between.now().of(failures)) {
    if (!is_of(*sample, route, upstream)) continue;
    upstream.failures.emplace_back(sample->label("reason"), between.rate(between.growth(*sample)));
  }
  sort_shares(upstream.failures);
}

std::optional<MirrorRow> mirror_of(const Between& between, const RouteRow& route) {
  const auto rate = [&](std::string_view name) {
    return between.rate(between.growth(name, "relay", route.name));
  };
  if (!between.now().with("pagewire_relay_mirror_bytes_total", "relay", route.name)) return {};
  return MirrorRow{.gbit = rate("pagewire_relay_mirror_bytes_total") * 8 / 1e9,
                   .dropped_bytes = rate("pagewire_relay_mirror_dropped_bytes_total"),
                   .dropped_records = rate("pagewire_relay_mirror_dropped_records_total"),
                   .gaps = rate("pagewire_relay_mirror_gaps_total"),
                   .failures = rate("pagewire_relay_mirror_failures_total")};
}

std::vector<RouteRow> routes_of(const Between& between) {
  const Exposition& now = between.now();
  std::vector<RouteRow> routes;
  for (const Sample* const queued : now.of("pagewire_relay_queued")) {
    route_named(routes, queued->label("relay")).queued = queued->value;
  }
  for (const Sample* const up : now.of("pagewire_relay_upstream_up")) {
    RouteRow& route = route_named(routes, up->label("relay"));
    UpstreamRow upstream{.upstream = std::string(up->label("upstream")),
                         .address = std::string(up->label("address")),
                         .up = truth(up->value)};
    add_counts(between, route, upstream);
    route.upstreams.push_back(std::move(upstream));
  }
  for (RouteRow& route : routes) {
    route.mirror = mirror_of(between, route);
    route.lookup_failures =
        between.rate(between.growth("pagewire_relay_lookup_failures_total", "relay", route.name));
  }
  return routes;
}

}  // namespace

RelaySummary summarize_relay(const Between& between) {
  const Exposition& now = between.now();
  constexpr std::string_view bytes = "pagewire_relay_bytes_total";
  return {.gbit_up = between.gbit(between.growth(bytes, "direction", "up")),
          .gbit_down = between.gbit(between.growth(bytes, "direction", "down")),
          .tunnels = now.total("pagewire_relay_tunnels_open"),
          .pipes_in_use = now.total("pagewire_relay_pipes_in_use"),
          .pipes_idle = now.total("pagewire_relay_pipes_idle"),
          .splice_usable = truth(now.total("pagewire_relay_splice_usable")),
          .retries = between.rate(between.growth("pagewire_relay_retries_total")),
          .switches = between.rates("pagewire_relay_path_switches_total", "reason"),
          .ends = between.rates("pagewire_relay_ends_total", "end"),
          .routes = routes_of(between)};
}

}  // namespace pagewire::top
