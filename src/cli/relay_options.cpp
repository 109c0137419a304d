// What the process of `pagewire relay` has, and the table of its flags.
#include "cli/relay_options.h"

#include <algorithm>

#include "cli/option_kinds.h"

namespace pagewire::cli {

namespace {

using Make = OptionKinds<RelaySettings>;
using Shared = ServiceOptions<RelaySettings>;
using Kind = OptionFacts::Kind;

/// A route's option as the flag of the one relay that flags describe.
RelayOption lifted(const RouteOption& option) {
  RelayOption flag;
  static_cast<OptionFacts&>(flag) = option;
  flag.set = [set = option.set](std::string_view value, RelaySettings& settings) {
    return set(value, settings.single);
  };
  if (option.clear) {
    flag.clear = [clear = option.clear](RelaySettings& settings) { clear(settings.single); };
  }
  flag.show = [show = option.show](const RelaySettings& settings) { return show(settings.single); };
  return flag;
}

bool takes_all(const RouteOption& option, std::string_view text, relay::Route& route) {
  if (option.kind != Kind::List) return option.set(text, route);
  option.clear(route);
  for (;;) {
    const std::size_t end = std::min(text.find(OptionFacts::list_separator), text.size());
    if (!option.set(text.substr(0, end), route)) return false;
    if (end == text.size()) return true;
    text.remove_prefix(end + 1);
  }
}

OptionFacts::Field field_of(const RouteOption& option) {
  return {.name = option.name,
          .required = option.name == "to" || option.name == "listen",
          .kind = option.kind,
          .takes = option.takes,
          .accepts = [&option](std::string_view text) {
            relay::Route scratch;
            return takes_all(option, text, scratch);
          }};
}

/// The texts of one table, with '\0' between them, to a route.
bool add_route(std::string_view value, RelaySettings& settings) {
  relay::Route route;
  for (const RouteOption& option : route_options()) {
    const std::size_t end = std::min(value.find('\0'), value.size());
    const std::string_view text = value.substr(0, end);
    if (!text.empty() && !takes_all(option, text, route)) return false;
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  settings.tables.push_back(std::move(route));
  return true;
}

std::string route_text(const relay::Route& route) {
  std::string text;
  for (const RouteOption& option : route_options()) {
    if (&option != &route_options().front()) text += '\0';
    const std::vector<std::string> values = option.show(route);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) text += OptionFacts::list_separator;
      text += values[i];
    }
  }
  return text;
}

RelayOption tables_option() {
  RelayOption option = Make::described(
      Kind::Tables,
      {.name = "relay",
       .group = "Configuration",
       .placeholder = "",
       .help =
           "in the file of --config alone, once for each further relay: its keys are the flags "
           "of Relaying, TLS, Upstreams, Mirror, and those limits and timeouts that are not of the "
           "whole process (--max-upstream-connections to --retries, --connect-timeout to "
           "--half-closed-timeout)",
       .default_text = "none"},
      "tables");
  for (const RouteOption& each : route_options()) option.fields.push_back(field_of(each));
  option.set = add_route;
  option.clear = [](RelaySettings& settings) { settings.tables.clear(); };
  option.show = [](const RelaySettings& settings) {
    std::vector<std::string> shown;
    for (const relay::Route& route : settings.tables) shown.push_back(route_text(route));
    return shown;
  };
  return option;
}

void add_process_limits(std::vector<RelayOption>& table) {
  constexpr std::string_view group = "Limits";
  table.push_back(Make::number(
      {.name = "max-connections",
       .group = group,
       .placeholder = "N",
       .help = "clients of all workers together; above it they are reset"},
      {.least = 1, .most = 10'000'000}, [](auto& s) -> auto& { return s.relay.connections; }));
  table.push_back(Make::number(
      {.name = "max-pipes",
       .group = group,
       .placeholder = "N",
       .help = "in use at once, of each worker; above it bytes are copied. 0: no splice"},
      {.least = 0, .most = 1'000'000}, [](auto& s) -> auto& { return s.relay.pipes; }));
  table.push_back(Make::number(
      {.name = "idle-pipes",
       .group = group,
       .placeholder = "N",
       .help = "empty ones that each worker keeps for the next bytes"},
      {.least = 1, .most = 65'536}, [](auto& s) -> auto& { return s.relay.pipe_pool.idle; }));
  table.push_back(Make::size(
      {.name = "pipe-size",
       .group = group,
       .placeholder = "SIZE",
       .help = "asked for each (fs.pipe-max-size is the most)"},
      {.least = 32 * kib, .most = 64 * mib},
      [](auto& s) -> auto& { return s.relay.pipe_pool.capacity; }));
  table.push_back(Make::number(
      {.name = "coalesce-us",
       .group = group,
       .placeholder = "N",
       .help = "a worker that has just moved bulk pauses so long, so that bytes gather: less CPU, "
               "and small messages beside it may wait as long; 0 is off"},
      {.least = 0, .most = 10'000}, [](auto& s) -> auto& { return s.relay.coalesce_us; }));
}

void add_process_timeouts(std::vector<RelayOption>& table) {
  constexpr std::string_view group = "Timeouts";
  table.push_back(Make::duration(
      {.name = "user-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "a peer that acknowledges nothing, or has no room for so long (it does not read), "
               "ends its connection (TCP_USER_TIMEOUT); 0 is the kernel's own time"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.relay.user_timeout_ms; }));
  table.push_back(Make::number(
      {.name = "keepalive",
       .group = group,
       .placeholder = "SECONDS",
       .help = "without a byte for so many seconds (a number, no unit), peers are asked whether "
               "they are still there; 0 is off"},
      {.least = 0, .most = 32'767}, [](auto& s) -> auto& { return s.keep_alive_s; }));
  // All other times have a unit, so who writes 60s is told that this one has none.
  table.back().takes = "seconds, a number from 0 to 32767 without a unit";
  table.push_back(Make::duration(
      {.name = "drain-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "after SIGTERM or SIGINT: for connections to end"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.relay.drain_timeout_ms; }));
}

void add_watching_and_file(std::vector<RelayOption>& table) {
  table.push_back(Shared::access_log(
      "one line a connection, to FILE or standard output (-); SIGHUP opens FILE anew. Times are in "
      "UTC",
      [](auto& s) -> auto& { return s.relay.access_log.file; }));
  table.push_back(Shared::log_format(
      "json: an object a line", [](auto& s) -> auto& { return s.relay.access_log.format; }));
  table.push_back(
      Shared::log_queue([](auto& s) -> auto& { return s.relay.access_log.queue_lines; }));
  table.push_back(Shared::admin(
      "an address with a port, such as 127.0.0.1:9181, or off",
      [](auto& s) -> auto& { return s.relay.admin_enabled; },
      [](auto& s) -> auto& { return s.relay.admin; }));
  table.push_back(Shared::status(
      "a line with connections, Gbit/s, new connections/s and CPU, once a second; "
      "auto: when standard output is a terminal",
      [](auto& s) -> auto& { return s.status; }));
  table.push_back(Shared::config(
      "a TOML file whose keys are the flags without their dashes "
      "(workers = 4, to = [\"10.0.0.7:5432\"]); flags win",
      [](auto& s) -> auto& { return s.config_file; }));
  table.push_back(Shared::check_config([](auto& s) -> auto& { return s.check_config; }));
  table.push_back(tables_option());
}

std::vector<RelayOption> make_table() {
  std::vector<RelayOption> table;
  const auto add_routes = [&table](std::string_view group) {
    for (const RouteOption& option : route_options()) {
      if (option.group == group) table.push_back(lifted(option));
    }
  };
  add_routes("Relaying");
  table.push_back(Shared::workers(
      "threads that relay, each with its own listeners, loop and pipes",
      [](auto& s) -> auto& { return s.workers; }));
  table.push_back(Shared::pin(
      [](auto& s) -> auto& { return s.pin_mode; }, [](auto& s) -> auto& { return s.pin_list; }));
  add_routes("TLS");
  add_routes("Upstreams");
  add_routes("Mirror");
  add_routes("Limits");
  add_process_limits(table);
  add_routes("Timeouts");
  add_process_timeouts(table);
  add_watching_and_file(table);
  return table;
}

}  // namespace

const std::vector<RelayOption>& relay_options() {
  static const std::vector<RelayOption> table = make_table();
  return table;
}

CommandTable relay_command() {
  return command_table("pagewire relay", relay_options());
}

RelaySettings default_relay_settings() {
  RelaySettings settings;
  settings.relay.admin = sys::Address::parse("127.0.0.1:9181").value();
  return settings;
}

}  // namespace pagewire::cli
