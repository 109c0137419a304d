// serve: settings -> server -> wait for signals -> drain (steering.h).
#include "cli/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "cli/config_file.h"
#include "cli/descriptor_limit.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "cli/machine.h"
#include "cli/serve_calibration.h"
#include "cli/serve_explain.h"
#include "cli/serve_paths.h"
#include "cli/serve_settings.h"
#include "cli/status_line.h"
#include "cli/steering.h"
#include "cli/values.h"
#include "server/server.h"
#include "sys/text_file.h"

namespace pagewire::cli {

namespace {

OrUsageError<ServeSettings> settings_from(const Flags& flags);
int check_config(const ServeSettings& settings);
int look_at_paths(ServeSettings& settings);
void take_descriptors(const ServeSettings& settings);
void look_for_doctor_report(const std::string& file);
void announce(const server::Server& server, const ServeSettings& settings);
Steered steered(server::Server& server, const ServeSettings& settings);

}  // namespace

int serve(std::span<const std::string> arguments) {
  const OrUsageError<Flags> flags = parse_flags(serve_command(), arguments);
  if (!flags) return complain(flags.error().text, exit_usage);
  if (flags->help) {
    (void)std::fputs(serve_help_text().c_str(), stdout);
    return exit_done;
  }
  OrUsageError<ServeSettings> settings = settings_from(*flags);
  if (!settings) return complain(settings.error().text, exit_usage);
  if (settings->check_config) return check_config(*settings);

  const sigset_t signals = block_signals();
  if (const int refused = look_at_paths(*settings); refused != exit_done) return refused;
  if (!settings->explain.empty()) return explain(*settings);
  take_descriptors(*settings);
  look_for_doctor_report(settings->server.doctor_report);
  server::Server server;
  if (const auto started = server.start(settings->server); !started) {
    return complain("pagewire serve: " + started.error().text, exit_failed);
  }
  announce(server, *settings);
  StatusLine status({.mode = settings->status,
                     .log_file = settings->server.access_log.file,
                     .counted = "requests"});
  run_until_stopped(steered(server, *settings), status, signals);
  return exit_done;
}

namespace {

// ---------------------------------------------------------------- settings

OrUsageError<ServeSettings> calibrated(ServeSettings settings) {
  if (settings.calibration_file.empty()) return settings;
  return load_calibration(settings).map([&](const std::vector<std::string>& warnings) {
    for (const std::string& warning : warnings) {
      (void)complain(fmt::format("pagewire serve: warning: calibration {}: {}",
                                 settings.calibration_file, warning),
                     exit_done);
    }
    return settings;
  });
}

OrUsageError<ServeSettings> settings_from(const Flags& flags) {
  return read_config(serve_command(), flags.assignments)
      .and_then([&](const std::vector<Assignment>& file) {
        return build_settings({.file = file, .flags = flags.assignments}, this_machine());
      })
      .and_then(calibrated);
}

int check_config(const ServeSettings& settings) {
  const std::string source = settings.config_file.empty() ? "flags" : settings.config_file;
  // A comment, so that what is printed is a file for --config.
  say(fmt::format("# {}: ok", source));
  (void)std::fputs(show_settings(settings).c_str(), stdout);
  return exit_done;
}

// ---------------------------------------------------------------- the process

/// Tests the paths, says what failed, and refuses to start with a pin that cannot be used.
int look_at_paths(ServeSettings& settings) {
  test_paths(settings);
  const std::string refused = why_pin_is_refused(settings);
  if (!refused.empty()) return complain("pagewire serve: " + refused, exit_failed);
  for (const std::string& line : quarantine_lines(settings.server.paths)) {
    (void)complain("pagewire serve: " + line, exit_done);
  }
  return exit_done;
}

void take_descriptors(const ServeSettings& settings) {
  const rlim_t allowed = raise_descriptor_limit();
  const std::size_t wanted =
      settings.server.limits.connections + settings.workers * settings.server.site.open_files;
  if (allowed < wanted) {
    (void)complain(fmt::format("pagewire serve: note: this process may open {} files; "
                               "max-connections and open-files could need {}",
                               allowed, wanted),
                   exit_done);
  }
}

/// It is read each time it is asked for, so it may come later; a name that is wrong never does.
void look_for_doctor_report(const std::string& file) {
  if (file.empty()) return;
  if (const Result<std::string> report = sys::read_text(file); !report) {
    (void)complain(fmt::format("pagewire serve: note: no report of doctor in {} now: {}", file,
                               std::strerror(report.error().errno_value)),
                   exit_done);
  }
}

// ---------------------------------------------------------------- what the user sees

/// How to reach an address from this machine: nobody can browse to [::].
std::string url_of(std::string_view scheme, const sys::Address& address) {
  std::array<char, 64> buffer;
  const std::string_view host = address.host(buffer);
  const std::string url = fmt::format("{}://{}/", scheme, address.to_string());
  if (host != "::" && host != "0.0.0.0") return url;
  return fmt::format("{}://127.0.0.1:{}/ (every interface: {})", scheme, address.port(),
                     address.to_string());
}

void announce(const server::Server& server, const ServeSettings& settings) {
  const auto name = [&](std::string_view scheme, const sys::Address& address) {
    say(fmt::format("pagewire " PAGEWIRE_VERSION " serving {} on {}", settings.server.site.root,
                    url_of(scheme, address)));
  };
  for (const sys::Address& address : server.addresses()) name("http", address);
  for (const sys::Address& address : server.tls_addresses()) name("https", address);
  if (settings.server.admin_enabled) {
    say(fmt::format("status page on http://{0}/, admin on http://{0}/metrics and /healthz",
                    server.admin_address().to_string()));
  }
  if (const std::string note = server.engine_note(); !note.empty()) {
    (void)complain("pagewire serve: note: " + note, exit_done);
  }
  const egress::Path* const pinned = settings.server.chooser.pinned;
  const std::string& log_file = settings.server.access_log.file;
  say(fmt::format("{} worker{}, engine {}, path {}, access log {}; Ctrl-C ends it",
                  settings.workers, settings.workers == 1 ? "" : "s", loop::name(server.engine()),
                  pinned == nullptr ? "auto" : pinned->name,
                  log_file.empty()  ? "off"
                  : log_file == "-" ? "on standard output"
                                    : log_file));
  if (!settings.calibration_note.empty()) {
    say(fmt::format("calibration {}: {}", settings.calibration_file, settings.calibration_note));
  }
}

// ---------------------------------------------------------------- until it ends

/// After a SIGHUP: log files that were renamed, certificates that were renewed.
void reopen(server::Server& server) {
  server.reopen_logs();
  if (server.tls_addresses().empty()) return;
  if (const auto reloaded = server.reload_certificates(); !reloaded) {
    (void)complain(fmt::format("pagewire serve: the certificates stay as they were: {}",
                               reloaded.error().text),
                   exit_done);
    return;
  }
  say("certificates read anew");
}

Steered steered(server::Server& server, const ServeSettings& settings) {
  return {.reopen = [&server] { reopen(server); },
          .totals = [&server] { return server.totals(); },
          .begin_drain = [&server] { server.begin_drain(); },
          .drained = [&server] { return server.drained(); },
          .end = [&server] { return server.drain(); },
          .drain_timeout_ms = settings.server.drain_timeout_ms,
          .unfinished = "unfinished responses"};
}

}  // namespace

}  // namespace pagewire::cli
