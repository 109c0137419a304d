// Logs, admin listener, status line; the configuration file.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/serve_option_groups.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

ServeOption admin_option() {
  ServeOption option = Make::described(
      Kind::Text,
      {.name = "admin",
       .group = "Logging and watching",
       .placeholder = "ADDR:PORT|off",
       .help = "serve a status page, /healthz and /metrics (Prometheus text) here; keep it away "
               "from the public"},
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

ServeOption doctor_report_option() {
  ServeOption option = Make::described(
      Kind::Text,
      {.name = "doctor-report",
       .group = "Logging and watching",
       .placeholder = "FILE|off",
       .help = "what `pagewire doctor --json > FILE` found, for the status page; read each time"},
      "a file name, or off");
  option.set = [](std::string_view value, ServeSettings& settings) {
    if (value.empty() || value.find('\0') != std::string_view::npos) return false;
    settings.server.doctor_report = value == "off" ? "" : value;
    return true;
  };
  option.show = [](const ServeSettings& settings) {
    const std::string& file = settings.server.doctor_report;
    return std::vector<std::string>{file.empty() ? "off" : file};
  };
  return option;
}

ServeOption access_log_option() {
  ServeOption option =
      Make::described(Kind::Text,
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

void add_explaining(std::vector<ServeOption>& table) {
  ServeOption explain = Make::text(
      Kind::Text,
      {.name = "explain",
       .group = "Configuration",
       .placeholder = "NAME",
       .help =
           "print by which path a GET of the file NAME beneath ROOT (/some/file) would be sent, "
           "and why; end",
       .default_text = "none"},
      "the name of a file beneath ROOT", [](auto& s) -> auto& { return s.explain; });
  // Without a name it serves: there is no default that could be given.
  explain.show = [](const ServeSettings&) { return std::vector<std::string>{}; };
  explain.in_file = false;
  table.push_back(explain);
  ServeOption range = Make::described(Kind::Text,
                                      {.name = "explain-range",
                                       .group = "Configuration",
                                       .placeholder = "RANGE",
                                       .help = "of which that GET asks a part: bytes=0-99",
                                       .default_text = "none"},
                                      "the value of a Range field, such as bytes=0-99");
  range.set = [](std::string_view value, ServeSettings& settings) {
    // It goes into a request head: a control byte could end the field.
    for (const char c : value) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    settings.explain_range = value;
    return value.starts_with("bytes=");
  };
  range.show = explain.show;
  range.in_file = false;
  table.push_back(std::move(range));
}

}  // namespace

void add_watching(std::vector<ServeOption>& table) {
  constexpr std::string_view group = "Logging and watching";
  table.push_back(access_log_option());
  table.push_back(Make::choice<log::Format>(
      {.name = "log-format",
       .group = group,
       .placeholder = "combined|json",
       .help = "combined: as nginx and Apache, then time taken, path and reason"},
      {{.name = "combined", .value = log::Format::Combined},
       {.name = "json", .value = log::Format::Json}},
      [](auto& s) -> auto& { return s.server.access_log.format; }));
  table.push_back(Make::number(
      {.name = "log-queue",
       .group = group,
       .placeholder = "N",
       .help = "lines that may wait, per worker; above it they are dropped and "
               "counted"},
      {.least = 64, .most = 1'048'576},
      [](auto& s) -> auto& { return s.server.access_log.queue_lines; }));
  table.push_back(admin_option());
  table.push_back(doctor_report_option());
  table.push_back(Make::choice<StatusMode>(
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

void add_configuration(std::vector<ServeOption>& table) {
  constexpr std::string_view group = "Configuration";
  ServeOption config = Make::text(
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
  ServeOption check = Make::boolean(
      Kind::Switch,
      {.name = "check-config",
       .group = group,
       .placeholder = "",
       .help = "check flags and file, print the settings that would hold (as a TOML file), end"},
      [](auto& s) -> auto& { return s.check_config; });
  check.in_file = false;
  table.push_back(std::move(check));
  add_explaining(table);
}

}  // namespace pagewire::cli
