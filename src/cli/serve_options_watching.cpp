// Logs, admin listener, status line; the configuration file.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/serve_option_groups.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

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
  table.push_back(Shared::access_log(
      "one line a request, to FILE or standard output (-); SIGHUP opens FILE anew. Times are in "
      "UTC",
      [](auto& s) -> auto& { return s.server.access_log.file; }));
  table.push_back(Shared::log_format(
      "combined: as nginx and Apache, then time taken, path and reason",
      [](auto& s) -> auto& { return s.server.access_log.format; }));
  table.push_back(
      Shared::log_queue([](auto& s) -> auto& { return s.server.access_log.queue_lines; }));
  table.push_back(Shared::admin(
      "an address with a port, such as 127.0.0.1:9180, or off",
      [](auto& s) -> auto& { return s.server.admin_enabled; },
      [](auto& s) -> auto& { return s.server.admin; }));
  table.push_back(doctor_report_option());
  table.push_back(Shared::status(
      "a line with connections, Gbit/s, requests/s and CPU, once a second; auto: when standard "
      "output is a terminal",
      [](auto& s) -> auto& { return s.status; }));
}

void add_configuration(std::vector<ServeOption>& table) {
  table.push_back(Shared::config(
      "a TOML file whose keys are the flags without their dashes "
      "(workers = 4, listen = [\":80\"], cors = true); flags win",
      [](auto& s) -> auto& { return s.config_file; }));
  table.push_back(Shared::check_config([](auto& s) -> auto& { return s.check_config; }));
  add_explaining(table);
}

}  // namespace pagewire::cli
