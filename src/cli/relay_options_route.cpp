// What each relay has. Every entry reads and shows one member of relay::Route; bounds are here, so
// that no other room has to doubt what it is given.
#include "cli/option_kinds.h"
#include "cli/relay_options.h"

namespace pagewire::cli {

namespace {

using Make = OptionKinds<relay::Route>;
using Kind = OptionFacts::Kind;

RouteOption listen_option() {
  RouteOption option = Make::described(
      Kind::List,
      {.name = "listen",
       .group = "Relaying",
       .placeholder = "ADDR:PORT",
       .help = "listen here; repeatable. IPv6 stands in brackets ([::1]:9000); without an address "
               "(:9000) it is every interface; port 0 lets the kernel choose",
       .default_text = ":9000"},
      "an address with a port, such as 127.0.0.1:9000, [::1]:9000 or :9000");
  option.set = [](std::string_view value, relay::Route& route) {
    const Result<sys::Address> address = sys::Address::parse(value);
    if (address) route.listen.push_back(*address);
    return address.has_value();
  };
  option.clear = [](relay::Route& route) { route.listen.clear(); };
  option.show = [](const relay::Route& route) {
    std::vector<std::string> shown;
    for (const sys::Address& address : route.listen) shown.push_back(address.to_string());
    return shown;
  };
  return option;
}

RouteOption to_option() {
  RouteOption option =
      Make::described(Kind::List,
                      {.name = "to",
                       .group = "Relaying",
                       .placeholder = "HOST:PORT",
                       .help = "an upstream to pass connections on to; repeatable. Each address "
                               "of a name counts as one",
                       .default_text = "none: it must be given"},
                      "a host with a port, such as db.example:5432, 10.0.0.7:5432, [fd00::7]:5432");
  option.set = [](std::string_view value, relay::Route& route) {
    const bool taken = relay::parse_upstream(value).has_value();
    if (taken) route.to.emplace_back(value);
    return taken;
  };
  option.clear = [](relay::Route& route) { route.to.clear(); };
  option.show = [](const relay::Route& route) { return route.to; };
  return option;
}

void add_relaying(std::vector<RouteOption>& table) {
  constexpr std::string_view group = "Relaying";
  table.push_back(Make::text(
      Kind::Text,
      {.name = "name",
       .group = group,
       .placeholder = "NAME",
       .help = "of this relay, in the access log and on the screen"},
      "a name", [](auto& r) -> auto& { return r.name; }));
  table.push_back(listen_option());
  table.push_back(to_option());
  table.push_back(Make::choice<relay::Balance>(
      {.name = "balance",
       .group = group,
       .placeholder = "roundrobin|leastconn|hash",
       .help = "which upstream is next: one after the other, the one with the fewest connections, "
               "or the same one for the same client address"},
      {{.name = "roundrobin", .value = relay::Balance::RoundRobin},
       {.name = "leastconn", .value = relay::Balance::LeastConn},
       {.name = "hash", .value = relay::Balance::Hash}},
      [](auto& r) -> auto& { return r.balance; }));
  table.push_back(Make::choice<relay::Path>(
      {.name = "path",
       .group = group,
       .placeholder = "auto|splice|copy",
       .help = "auto: small messages are copied, and a direction that shows bulk is spliced, "
               "without passing through the program; splice or copy: all of it"},
      {{.name = "auto", .value = relay::Path::Auto},
       {.name = "splice", .value = relay::Path::Splice},
       {.name = "copy", .value = relay::Path::Copy}},
      [](auto& r) -> auto& { return r.path; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "transparent",
       .group = group,
       .placeholder = "",
       .help = "upstreams see the client's address (IP_TRANSPARENT): needs CAP_NET_ADMIN, and "
               "routes that lead their answers back through this machine"},
      [](auto& r) -> auto& { return r.transparent; }));
}

void add_route_limits(std::vector<RouteOption>& table) {
  constexpr std::string_view limits = "Limits";
  constexpr std::string_view timeouts = "Timeouts";
  constexpr DurationBounds not_zero{.least_ms = 100};
  table.push_back(Make::number(
      {.name = "max-upstream-connections",
       .group = limits,
       .placeholder = "N",
       .help = "to each address of an upstream; above it clients wait; 0 is any number"},
      {.least = 0, .most = 1'000'000},
      [](auto& r) -> auto& { return r.max_upstream_connections; }));
  table.push_back(Make::number(
      {.name = "max-queue",
       .group = limits,
       .placeholder = "N",
       .help = "clients that may wait so; above it they are reset"},
      {.least = 0, .most = 1'000'000}, [](auto& r) -> auto& { return r.max_queue; }));
  table.push_back(Make::number(
      {.name = "retries",
       .group = limits,
       .placeholder = "N",
       .help = "further tries when an upstream cannot be reached: the others, then all again a "
               "second later"},
      {.least = 0, .most = relay::max_retries}, [](auto& r) -> auto& { return r.retries; }));
  table.push_back(Make::duration(
      {.name = "connect-timeout",
       .group = timeouts,
       .placeholder = "TIME",
       .help = "for one upstream to take the connection"},
      not_zero, [](auto& r) -> auto& { return r.connect_timeout_ms; }));
  table.push_back(Make::duration(
      {.name = "queue-timeout",
       .group = timeouts,
       .placeholder = "TIME",
       .help = "for a place on an upstream that is full"},
      not_zero, [](auto& r) -> auto& { return r.queue_timeout_ms; }));
  table.push_back(Make::duration(
      {.name = "idle-timeout",
       .group = timeouts,
       .placeholder = "TIME",
       .help = "without a byte in either direction: both are reset"},
      not_zero, [](auto& r) -> auto& { return r.idle_timeout_ms; }));
  table.push_back(Make::duration(
      {.name = "half-closed-timeout",
       .group = timeouts,
       .placeholder = "TIME",
       .help = "the same, once one side has said that it sends no more"},
      not_zero, [](auto& r) -> auto& { return r.half_closed_timeout_ms; }));
}

}  // namespace

const std::vector<RouteOption>& route_options() {
  static const std::vector<RouteOption> table = [] {
    std::vector<RouteOption> made;
    add_relaying(made);
    add_tls_options(made);
    add_upstream_options(made);
    add_mirror_options(made);
    add_route_limits(made);
    return made;
  }();
  return table;
}

}  // namespace pagewire::cli
