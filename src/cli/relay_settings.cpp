#include "cli/relay_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "cli/config_file.h"
#include "cli/worker_plan.h"

namespace pagewire::cli {

namespace {

UsageError wrong(std::string_view what) {
  return {fmt::format("pagewire relay: {}", what)};
}

OrUsageError<void> check_tls(const relay::Route& route) {
  const tls::CertificateFiles& files = route.certificate;
  if (!files.chain.empty() && files.key.empty()) {
    return tl::unexpected(wrong("tls-cert is given without tls-key"));
  }
  if (!files.chain.empty()) return {};
  if (!files.key.empty()) return tl::unexpected(wrong("tls-key is given without tls-cert"));
  if (!files.ocsp.empty()) return tl::unexpected(wrong("tls-ocsp is given without tls-cert"));
  if (!route.tls.client_ca.empty()) {
    return tl::unexpected(wrong("tls-client-ca is given without tls-cert"));
  }
  return {};
}

/// The metrics and the log know relays by their names alone. Those that were given none are
/// numbered.
OrUsageError<void> check_names(std::vector<relay::Route>& routes) {
  const std::string unnamed = relay::Route().name;
  std::set<std::string> names;
  for (relay::Route& route : routes) {
    std::string name = route.name;
    for (int number = 2; route.name == unnamed && names.contains(name); ++number) {
      name = fmt::format("{}-{}", unnamed, number);
    }
    if (!names.insert(name).second) {
      return tl::unexpected(wrong(fmt::format("two relays have the name '{}'", name)));
    }
    route.name = name;
  }
  return {};
}

/// Whether flags, or keys outside of tables, describe a relay.
bool has_single(const RelaySettings& settings) {
  return !settings.single.to.empty() || settings.tables.empty();
}

bool is_of_route(const OptionFacts& option) {
  return std::any_of(route_options().begin(), route_options().end(),
                     [&](const RouteOption& each) { return each.name == option.name; });
}

/// Where all relays are tables, what is said of one outside of them would be lost: a tls-cert
/// above them, and each would speak plain TCP.
OrUsageError<void> check_strays(std::span<const Assignment> given, const RelaySettings& settings) {
  if (has_single(settings)) return {};
  for (const Assignment& assignment : given) {
    if (assignment.values.empty() || !is_of_route(*assignment.option)) continue;
    return tl::unexpected(UsageError{fmt::format(
        "{} would hold for no relay: it stands in each [[relay]] that it is to hold for",
        assignment.values.front().where)});
  }
  return {};
}

OrUsageError<void> gather_routes(RelaySettings& settings) {
  settings.relay.keep_alive.idle_s = static_cast<int>(settings.keep_alive_s);
  const relay::Route& single = settings.single;
  std::vector<relay::Route>& routes = settings.relay.routes;
  if (!single.to.empty()) {
    routes.push_back(single);
    if (single.listen.empty()) {
      routes.front().listen.push_back(sys::Address::parse(":9000").value());
    }
  } else if (!single.listen.empty()) {
    return tl::unexpected(wrong("listen is given without to"));
  }
  routes.insert(routes.end(), settings.tables.begin(), settings.tables.end());
  if (routes.empty()) {
    return tl::unexpected(
        wrong("--to is missing, a host with a port to pass connections on to; see pagewire relay "
              "--help"));
  }
  for (const relay::Route& route : routes) {
    if (auto checked = check_tls(route); !checked) return checked;
  }
  return check_names(routes);
}

OrUsageError<void> plan_workers(const Machine& machine, RelaySettings& settings) {
  return resolve_workers(
             "pagewire relay",
             {.workers = settings.workers, .pin_mode = settings.pin_mode, .pin = settings.pin_list},
             machine)
      .map([&](const WorkerPlan& plan) {
        settings.workers = plan.workers;
        settings.relay.workers = plan.workers;
        settings.relay.access_log.workers = plan.workers;
        settings.relay.pin = plan.pin;
      });
}

}  // namespace

OrUsageError<RelaySettings> build_relay_settings(const RelaySources& sources,
                                                 const Machine& machine) {
  RelaySettings settings = default_relay_settings();
  return apply(relay_options(), sources.file, settings)
      .and_then([&] { return apply(relay_options(), sources.flags, settings); })
      .and_then([&] { return check_strays(sources.file, settings); })
      .and_then([&] { return check_strays(sources.flags, settings); })
      .and_then([&] { return plan_workers(machine, settings); })
      .and_then([&] { return gather_routes(settings); })
      .map([&] { return settings; });
}

std::string show_relay_settings(const RelaySettings& settings) {
  std::string text;
  for (const RelayOption& option : relay_options()) {
    if (!has_single(settings) && is_of_route(option)) continue;
    const std::vector<std::string> values = option.show(settings);
    // A list or tables without an element: nothing was said, which an empty one would not repeat.
    if (option.in_file && !values.empty()) text += config_line(option, values) + '\n';
  }
  return text;
}

}  // namespace pagewire::cli
