// The table of options, group by group.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/options.h"

#include <utility>

#include "cli/option_kinds.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = Option::Kind;

// ---------------------------------------------------------------- the entries with rules of their
// own

Option listen_option() {
  Option option = described(
      Kind::List,
      {.name = "listen",
       .group = "Listening",
       .placeholder = "ADDR:PORT",
       .help = "listen here; repeatable. IPv6 stands in brackets ([::1]:8080); without an address "
               "(:8080) it is every interface; port 0 lets the kernel choose",
       .default_text = ":8080"},
      "an address with a port, such as 127.0.0.1:8080, [::1]:8080 or :8080");
  option.set = [](std::string_view value, ServeSettings& settings) {
    const Result<sys::Address> address = sys::Address::parse(value);
    if (address) settings.server.listen.push_back(*address);
    return address.has_value();
  };
  option.clear = [](ServeSettings& settings) { settings.server.listen.clear(); };
  option.show = [](const ServeSettings& settings) {
    std::vector<std::string> shown;
    for (const sys::Address& address : settings.server.listen) shown.push_back(address.to_string());
    return shown;
  };
  return option;
}

Option admin_option() {
  Option option = described(
      Kind::Text,
      {.name = "admin",
       .group = "Logging and watching",
       .placeholder = "ADDR:PORT|off",
       .help = "serve /healthz and /metrics (Prometheus text) here; keep it away from the public"},
      "an address with a port, such as 127.0.0.1:9180, or off");
  option.set = [](std::string_view value, ServeSettings& settings) {
    settings.server.admin_enabled = value != "off";
    if (value == "off") return true;
    const Result<sys::Address> address = sys::Address::parse(value);
    if (address) settings.server.admin = *address;
    return address.has_value();
  };
  option.show = [](const ServeSettings& settings) {
    return std::vector<std::string>{
        settings.server.admin_enabled ? settings.server.admin.to_string() : "off"};
  };
  return option;
}

Option access_log_option() {
  Option option = described(Kind::Text,
                            {.name = "access-log",
                             .group = "Logging and watching",
                             .placeholder = "FILE|-|off",
                             .help = "one line a request, to FILE or standard output (-); SIGHUP "
                                     "opens FILE anew. Times are in UTC"},
                            "a file name, - or off");
  option.set = [](std::string_view value, ServeSettings& settings) {
    if (value.empty()) return false;
    settings.server.access_log.file = value == "off" ? "" : value;
    return true;
  };
  option.show = [](const ServeSettings& settings) {
    const std::string& file = settings.server.access_log.file;
    return std::vector<std::string>{file.empty() ? "off" : file};
  };
  return option;
}

Option workers_option() {
  constexpr std::uint64_t most = 256;
  Option option = number(
      {.name = "workers",
       .group = "Workers",
       .placeholder = "N",
       .help = "threads that serve, each with its own listeners, loop and caches",
       .default_text = "the CPUs this process may run on"},
      {.least = 1, .most = most}, [](auto& s) -> auto& { return s.workers; });
  return option;
}

Option pin_option() {
  Option option = described(
      Kind::Text,
      {.name = "pin",
       .group = "Workers",
       .placeholder = "LIST|auto|off",
       .help = "tie each worker to a CPU: a list such as 0,1 or 0-3 (one CPU a worker), or auto "
               "for the CPUs this process may run on, in turn"},
      "a list of CPUs such as 0,1 or 0-3, auto or off");
  option.set = [](std::string_view value, ServeSettings& settings) {
    settings.pin_list.clear();
    settings.pin_mode = value == "auto" ? PinMode::Auto : PinMode::Off;
    if (value == "auto" || value == "off") return true;
    const std::optional<std::vector<int>> cpus = parse_cpu_list(value);
    if (!cpus) return false;
    settings.pin_mode = PinMode::List;
    settings.pin_list = *cpus;
    return true;
  };
  option.show = [](const ServeSettings& settings) -> std::vector<std::string> {
    switch (settings.pin_mode) {
      case PinMode::Off:
        return {"off"};
      case PinMode::Auto:
        return {"auto"};
      case PinMode::List:
        return {show_cpu_list(settings.pin_list)};
    }
    return {};
  };
  return option;
}

Option path_option() {
  std::vector<Choice<const egress::Path*>> choices{{.name = "auto", .value = nullptr}};
  for (const egress::Path* const path : egress::paths()) {
    choices.push_back({.name = path->name, .value = path});
  }
  return choice<const egress::Path*>(
      {.name = "path",
       .group = "Sending",
       .placeholder = "NAME",
       .help = "how file bytes go to the socket. auto: small bodies are copied together with "
               "their head, larger ones go by sendfile; a name pins that path where it fits"},
      std::move(choices), [](auto& s) -> auto& { return s.server.chooser.pinned; });
}

Option cache_control_option() {
  Option option = described(
      Kind::List,
      {.name = "cache-control",
       .group = "Files",
       .placeholder = "GLOB=VALUE",
       .help = "Cache-Control: VALUE for files that match GLOB (on the whole path when it has a /, "
               "else on the name); repeatable, the first match decides, before the built-in rules. "
               "An empty VALUE sends none",
       .default_text = "playlists short, segments long"},
      "a pattern and its value, such as '*.ts=max-age=3600'");
  option.set = [](std::string_view value, ServeSettings& settings) {
    const std::size_t equals = value.find('=');
    if (equals == 0 || equals == std::string_view::npos) return false;
    // The value goes into a response head as it is: a control byte could end the field.
    for (const char c : value) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    settings.server.site.cache_rules.push_back(
        {.glob = std::string(value.substr(0, equals)),
         .cache_control = std::string(value.substr(equals + 1))});
    return true;
  };
  option.clear = [](ServeSettings& settings) { settings.server.site.cache_rules.clear(); };
  option.show = [](const ServeSettings& settings) {
    std::vector<std::string> shown;
    for (const content::CacheRule& rule : settings.server.site.cache_rules) {
      shown.push_back(rule.glob + "=" + rule.cache_control);
    }
    return shown;
  };
  return option;
}

Option min_rate_option() {
  Option option = size(
      {.name = "min-rate",
       .group = "Timeouts",
       .placeholder = "SIZE",
       .help = "bytes per second that a reader must take, looked at every "
               "--rate-window; slower ones are cut off. 0 is off"},
      {.least = 0, .most = gib}, [](auto& s) -> auto& { return s.server.limits.min_rate; });
  option.takes = "bytes per second, such as 500 or 16K, at most 1G; 0 is off";
  return option;
}

// ---------------------------------------------------------------- the table

void add_files(std::vector<Option>& table) {
  constexpr std::string_view group = "Files";
  table.push_back(text(
      Kind::Positional,
      {.name = "root",
       .group = group,
       .placeholder = "ROOT",
       .help = "the folder to serve; nothing outside of it is reachable",
       .default_text = "the current folder"},
      "the name of a folder", [](auto& s) -> auto& { return s.server.site.root; }));
  table.push_back(text(
      Kind::Text,
      {.name = "index",
       .group = group,
       .placeholder = "NAME",
       .help = "the file that stands for its folder"},
      "a file name", [](auto& s) -> auto& { return s.server.site.index; }));
  table.push_back(boolean(
      Kind::Switch,
      {.name = "listing",
       .group = group,
       .placeholder = "",
       .help = "list folders that have no index, instead of 404"},
      [](auto& s) -> auto& { return s.server.site.listing; }));
  table.push_back(boolean(
      Kind::Switch,
      {.name = "cors",
       .group = group,
       .placeholder = "",
       .help = "allow pages of any origin to fetch (players need it)"},
      [](auto& s) -> auto& { return s.server.site.cors; }));
  table.push_back(boolean(
      Kind::Switch,
      {.name = "precompressed",
       .group = group,
       .placeholder = "",
       .help = "do not answer with FILE.br, FILE.zst or FILE.gz to clients "
               "that accept them",
       .default_text = "such files are used"},
      [](auto& s) -> auto& { return s.server.site.precompressed; }));
  table.push_back(boolean(
      Kind::OnOff,
      {.name = "server-header",
       .group = group,
       .placeholder = "on|off",
       .help = "send the Server header"},
      [](auto& s) -> auto& { return s.server.site.server_header; }));
  table.push_back(cache_control_option());
}

void add_open_files(std::vector<Option>& table) {
  constexpr std::string_view group = "Files";
  table.push_back(number(
      {.name = "open-files",
       .group = group,
       .placeholder = "N",
       .help = "files that each worker keeps open"},
      {.least = 1, .most = 1'000'000}, [](auto& s) -> auto& { return s.server.site.open_files; }));
  table.push_back(duration(
      {.name = "open-file-validity",
       .group = group,
       .placeholder = "TIME",
       .help = "how long an open file is trusted before stat looks whether it "
               "was replaced"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.site.validity_ms; }));
  table.push_back(size(
      {.name = "memory-body",
       .group = group,
       .placeholder = "SIZE",
       .help = "files up to this stay in memory while they are open"},
      {.least = 0, .most = mib}, [](auto& s) -> auto& { return s.server.site.small_body; }));
  table.push_back(size(
      {.name = "memory-total",
       .group = group,
       .placeholder = "SIZE",
       .help = "memory for all of them, per worker"},
      {.least = 0, .most = 64 * gib},
      [](auto& s) -> auto& { return s.server.site.small_bodies_total; }));
}

void add_workers_and_sending(std::vector<Option>& table) {
  table.push_back(workers_option());
  table.push_back(pin_option());
  table.push_back(path_option());
  table.push_back(size(
      {.name = "small-body",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "auto: bodies up to this go in one send with their head"},
      {.least = 0, .most = 16 * mib},
      [](auto& s) -> auto& { return s.server.chooser.small_body; }));
  table.push_back(size(
      {.name = "quantum",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "about what one connection sends before others get their turn"},
      {.least = 4 * kib, .most = gib}, [](auto& s) -> auto& { return s.server.limits.quantum; }));
  table.push_back(size(
      {.name = "unsent-limit",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "unsent bytes that the kernel queues for one reader "
               "(TCP_NOTSENT_LOWAT); 0 leaves it to the kernel"},
      {.least = 0, .most = gib}, [](auto& s) -> auto& { return s.server.limits.unsent; }));
  table.push_back(size(
      {.name = "pipe-size",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "splice: asked of the kernel for each pipe"},
      {.least = 4 * kib, .most = 16 * mib},
      [](auto& s) -> auto& { return s.server.pipes.capacity; }));
  table.push_back(number(
      {.name = "idle-pipes",
       .group = "Sending",
       .placeholder = "N",
       .help = "splice: empty pipes that each worker keeps"},
      {.least = 0, .most = 65'536}, [](auto& s) -> auto& { return s.server.pipes.idle; }));
}

void add_limits(std::vector<Option>& table) {
  constexpr std::string_view group = "Limits";
  table.push_back(number(
      {.name = "max-connections",
       .group = group,
       .placeholder = "N",
       .help = "of all workers together; above it the answer is 503"},
      {.least = 1, .most = 10'000'000},
      [](auto& s) -> auto& { return s.server.limits.connections; }));
  table.push_back(number(
      {.name = "max-requests",
       .group = group,
       .placeholder = "N",
       .help = "on one connection; 0 is any number"},
      {.least = 0, .most = 1'000'000'000},
      [](auto& s) -> auto& { return s.server.limits.requests; }));
  table.push_back(size(
      {.name = "max-body",
       .group = group,
       .placeholder = "SIZE",
       .help = "of a request, read and dropped; above it 413"},
      {.least = 0, .most = gib}, [](auto& s) -> auto& { return s.server.limits.body; }));
  table.push_back(size(
      {.name = "max-head",
       .group = group,
       .placeholder = "SIZE",
       .help = "request line and fields; above it 431"},
      {.least = 512, .most = mib},
      [](auto& s) -> auto& { return s.server.limits.head.head_bytes; }));
  table.push_back(size(
      {.name = "max-target",
       .group = group,
       .placeholder = "SIZE",
       .help = "the request target; above it 414"},
      {.least = 64, .most = mib},
      [](auto& s) -> auto& { return s.server.limits.head.target_bytes; }));
  table.push_back(number(
      {.name = "max-fields",
       .group = group,
       .placeholder = "N",
       .help = "header fields of a request; above it 431"},
      {.least = 1, .most = 10'000}, [](auto& s) -> auto& { return s.server.limits.head.fields; }));
  table.push_back(number(
      {.name = "max-ranges",
       .group = group,
       .placeholder = "N",
       .help = "parts of one answer; above it the whole file is sent"},
      {.least = 1, .most = http::RangeSelection::max_parts},
      [](auto& s) -> auto& { return s.server.site.ranges.parts; }));
  table.push_back(number(
      {.name = "max-range-specs",
       .group = group,
       .placeholder = "N",
       .help = "ranges in one request; above it 416"},
      {.least = 1, .most = 1'000}, [](auto& s) -> auto& { return s.server.site.ranges.specs; }));
}

void add_timeouts(std::vector<Option>& table) {
  constexpr std::string_view group = "Timeouts";
  constexpr DurationBounds not_zero{.least_ms = 100};
  table.push_back(duration(
      {.name = "head-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "from a request head's first byte to its last"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.head_ms; }));
  table.push_back(duration(
      {.name = "idle-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "between two requests, and before the first"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.idle_ms; }));
  table.push_back(min_rate_option());
  table.push_back(duration(
      {.name = "rate-window",
       .group = group,
       .placeholder = "TIME",
       .help = "how often --min-rate is looked at"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.rate_window_ms; }));
  table.push_back(duration(
      {.name = "linger-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "after the last answer: for the client to close, too"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.timeouts.linger_ms; }));
  table.push_back(duration(
      {.name = "drain-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "after SIGTERM or SIGINT: for what is still being sent"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.drain_timeout_ms; }));
}

void add_watching(std::vector<Option>& table) {
  constexpr std::string_view group = "Logging and watching";
  table.push_back(access_log_option());
  table.push_back(choice<log::Format>(
      {.name = "log-format",
       .group = group,
       .placeholder = "combined|json",
       .help = "combined: as nginx and Apache, then time taken, path and reason"},
      {{.name = "combined", .value = log::Format::Combined},
       {.name = "json", .value = log::Format::Json}},
      [](auto& s) -> auto& { return s.server.access_log.format; }));
  table.push_back(number(
      {.name = "log-queue",
       .group = group,
       .placeholder = "N",
       .help = "lines that may wait, per worker; above it they are dropped and "
               "counted"},
      {.least = 64, .most = 1'048'576},
      [](auto& s) -> auto& { return s.server.access_log.queue_lines; }));
  table.push_back(admin_option());
  table.push_back(choice<StatusMode>(
      {.name = "status",
       .group = group,
       .placeholder = "auto|on|off",
       .help = "a line with connections, Gbit/s, requests/s and CPU, once a second; auto: when "
               "standard output is a terminal"},
      {{.name = "auto", .value = StatusMode::Auto},
       {.name = "on", .value = StatusMode::On},
       {.name = "off", .value = StatusMode::Off}},
      [](auto& s) -> auto& { return s.status; }));
}

void add_configuration(std::vector<Option>& table) {
  constexpr std::string_view group = "Configuration";
  Option config = text(
      Kind::Text,
      {.name = "config",
       .group = group,
       .placeholder = "FILE",
       .help = "a TOML file whose keys are the flags without their dashes "
               "(workers = 4, listen = [\":80\"], cors = true); flags win",
       .default_text = "none"},
      "a file name", [](auto& s) -> auto& { return s.config_file; });
  config.in_file = false;
  table.push_back(std::move(config));
  Option check = boolean(
      Kind::Switch,
      {.name = "check-config",
       .group = group,
       .placeholder = "",
       .help = "check flags and file, print the settings that would hold (as a TOML file), end"},
      [](auto& s) -> auto& { return s.check_config; });
  check.in_file = false;
  table.push_back(std::move(check));
}

std::vector<Option> make_table() {
  std::vector<Option> table;
  add_files(table);
  add_open_files(table);
  table.push_back(listen_option());
  add_workers_and_sending(table);
  add_limits(table);
  add_timeouts(table);
  add_watching(table);
  add_configuration(table);
  return table;
}

}  // namespace

const std::vector<Option>& serve_options() {
  static const std::vector<Option> table = make_table();
  return table;
}

const Option* find_option(std::string_view name) {
  for (const Option& option : serve_options()) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

ServeSettings default_settings() {
  ServeSettings settings;
  settings.server.site.root = ".";
  settings.server.listen.push_back(sys::Address::parse(":8080").value());
  settings.server.admin = sys::Address::parse("127.0.0.1:9180").value();
  return settings;
}

}  // namespace pagewire::cli
