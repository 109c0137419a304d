// How each relay finds its upstreams, checks them, and says who the client is.
#include "cli/option_kinds.h"
#include "cli/relay_options.h"

namespace pagewire::cli {

namespace {

using Make = OptionKinds<relay::Route>;
using Kind = OptionFacts::Kind;

constexpr std::string_view group = "Upstreams";
constexpr DurationBounds not_zero{.least_ms = 100};

void add_proxy_protocol(std::vector<RouteOption>& table) {
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "accept-proxy",
       .group = group,
       .placeholder = "",
       .help = "clients are proxies that begin with a header of the PROXY protocol (1 or 2); those "
               "that do not are reset. Let nobody else reach the port: the header is believed"},
      [](auto& r) -> auto& { return r.accept_proxy; }));
  table.push_back(Make::duration(
      {.name = "proxy-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "for that header to come"},
      not_zero, [](auto& r) -> auto& { return r.header_timeout_ms; }));
  table.push_back(Make::choice<std::optional<relay::ProxyVersion>>(
      {.name = "send-proxy",
       .group = group,
       .placeholder = "off|v1|v2",
       .help = "upstreams are told who the client is, by a header of the PROXY protocol"},
      {{.name = "off", .value = std::nullopt},
       {.name = "v1", .value = relay::ProxyVersion::V1},
       {.name = "v2", .value = relay::ProxyVersion::V2}},
      [](auto& r) -> auto& { return r.send_proxy; }));
}

void add_checks(std::vector<RouteOption>& table) {
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "check",
       .group = group,
       .placeholder = "",
       .help = "connect to each upstream now and then; one that cannot be reached gets no clients"},
      [](auto& r) -> auto& { return r.check; }));
  table.push_back(Make::duration(
      {.name = "check-interval",
       .group = group,
       .placeholder = "TIME",
       .help = "between two checks of one address"},
      not_zero, [](auto& r) -> auto& { return r.check_interval_ms; }));
  table.push_back(Make::duration(
      {.name = "check-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "of one check; at most the interval"},
      not_zero, [](auto& r) -> auto& { return r.check_timeout_ms; }));
  table.push_back(Make::number(
      {.name = "rise",
       .group = group,
       .placeholder = "N",
       .help = "checks in a row that must pass until one that is down is up"},
      {.least = 1, .most = 100}, [](auto& r) -> auto& { return r.rise; }));
  table.push_back(Make::number(
      {.name = "fall",
       .group = group,
       .placeholder = "N",
       .help = "checks in a row that must fail until one that is up is down; the very first check "
               "counts alone"},
      {.least = 1, .most = 100}, [](auto& r) -> auto& { return r.fall; }));
}

void add_names(std::vector<RouteOption>& table) {
  table.push_back(Make::duration(
      {.name = "resolve-interval",
       .group = group,
       .placeholder = "TIME",
       .help = "names in --to are looked up again so often, and keep their addresses when that "
               "fails; 0 is only at start"},
      {.least_ms = 0}, [](auto& r) -> auto& { return r.resolve_interval_ms; }));
  table.push_back(Make::duration(
      {.name = "resolve-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "for the first look-up; without any address by then the relay does not start"},
      not_zero, [](auto& r) -> auto& { return r.resolve_timeout_ms; }));
}

}  // namespace

void add_upstream_options(std::vector<RouteOption>& table) {
  add_checks(table);
  add_names(table);
  add_proxy_protocol(table);
}

}  // namespace pagewire::cli
