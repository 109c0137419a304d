// serve: settings -> server -> wait for signals -> drain.
//
// Invariant: the signals that end or steer the server are blocked in every thread (the mask is set
// before any thread is started) and taken by this one with sigtimedwait(2). Only while it
// drains have SIGINT and SIGTERM a handler, which ends the process. Kernel facts: sendfile and
// write raise SIGPIPE and SIGXFSZ, which are ignored: the calls then return EPIPE and EFBIG.
#include "cli/serve.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
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
#include "cli/text_file.h"
#include "cli/values.h"
#include "server/server.h"

namespace pagewire::cli {

namespace {

constexpr int exit_done = 0;
constexpr int exit_failed = 1;
constexpr int exit_usage = 2;
constexpr std::int64_t status_period_ms = 1'000;
constexpr std::int64_t drain_poll_ms = 50;

void say(const std::string& line) {
  (void)std::fprintf(stdout, "%s\n", line.c_str());
  (void)std::fflush(stdout);
}

int complain(const std::string& line, int status) {
  (void)std::fprintf(stderr, "%s\n", line.c_str());
  return status;
}

OrUsageError<ServeSettings> settings_from(const Flags& flags);
int check_config(const ServeSettings& settings);
int look_at_paths(ServeSettings& settings);
void take_descriptors(const ServeSettings& settings);
sigset_t block_signals();
void announce(const server::Server& server, const ServeSettings& settings);
void wait_for_stop(server::Server& server, StatusLine& status, const sigset_t& signals);
void end_at_next_signal();
void drain(server::Server& server, std::int64_t timeout_ms);

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
  server::Server server;
  if (const auto started = server.start(settings->server); !started) {
    return complain("pagewire serve: " + started.error().text, exit_failed);
  }
  announce(server, *settings);
  StatusLine status(*settings);
  wait_for_stop(server, status, signals);
  // Before anything is written: a standard output that nobody reads must not hold up the end.
  server.begin_drain();
  end_at_next_signal();
  status.clear();
  drain(server, settings->server.drain_timeout_ms);
  return exit_done;
}

namespace {

// ---------------------------------------------------------------- settings

std::optional<std::string> config_name(const Flags& flags) {
  for (const Assignment& assignment : flags.assignments) {
    if (assignment.option->name == "config") return assignment.values.back().text;
  }
  return std::nullopt;
}

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
  std::vector<Assignment> from_file;
  if (const std::optional<std::string> name = config_name(flags)) {
    Result<std::string> text = read_whole(*name);
    if (!text) {
      return tl::unexpected(UsageError{
          fmt::format("pagewire serve: --config {}: {}", *name, describe(text.error()))});
    }
    OrUsageError<std::vector<Assignment>> parsed =
        parse_config(serve_command(), {.name = *name, .text = std::move(*text)});
    if (!parsed) return tl::unexpected(parsed.error());
    from_file = std::move(*parsed);
  }
  return build_settings({.file = from_file, .flags = flags.assignments}, this_machine())
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

sigset_t block_signals() {
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

/// One of `signals`, or 0 when none came within `timeout_ms` (none: wait for ever).
int next_signal(const sigset_t& signals, std::optional<std::int64_t> timeout_ms) {
  if (!timeout_ms) return std::max(0, ::sigwaitinfo(&signals, nullptr));
  const timespec timeout{.tv_sec = *timeout_ms / 1'000, .tv_nsec = *timeout_ms % 1'000 * 1'000'000};
  // EAGAIN: the time is over; EINTR: a debugger attached, or SIGCONT: the caller comes round again.
  return std::max(0, ::sigtimedwait(&signals, nullptr, &timeout));
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
    say(fmt::format("admin on http://{0}/metrics and http://{0}/healthz",
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

void wait_for_stop(server::Server& server, StatusLine& status, const sigset_t& signals) {
  const std::optional<std::int64_t> period =
      status.enabled() ? std::optional(status_period_ms) : std::nullopt;
  for (;;) {
    switch (next_signal(signals, period)) {
      case SIGHUP:
        status.clear();
        reopen(server);
        break;
      case SIGINT:
      case SIGTERM:
        return;
      default:
        if (status.enabled()) status.update(server.totals());
    }
  }
}

/// From now on SIGINT and SIGTERM end the process at once, whatever it waits for.
void end_at_next_signal() {
  struct sigaction end {};
  end.sa_handler = [](int) { ::_exit(exit_failed); };
  sigset_t enders;
  ::sigemptyset(&enders);
  for (const int signal : {SIGINT, SIGTERM}) {
    ::sigaction(signal, &end, nullptr);
    ::sigaddset(&enders, signal);
  }
  ::pthread_sigmask(SIG_UNBLOCK, &enders, nullptr);
}

void drain(server::Server& server, std::int64_t timeout_ms) {
  const std::uint64_t open = server.totals().connections_open;
  say(fmt::format("draining {} connection{}, at most {}; again to stop at once", open,
                  open == 1 ? "" : "s", show_duration(timeout_ms)));
  sigset_t hangup;  // alone: waiting for SIGINT or SIGTERM would take them from their handler
  ::sigemptyset(&hangup);
  ::sigaddset(&hangup, SIGHUP);
  while (!server.drained()) {
    if (next_signal(hangup, drain_poll_ms) == SIGHUP) reopen(server);
  }
  if (!server.drain()) say("the drain timeout was over: unfinished responses were cut off");
}

}  // namespace

}  // namespace pagewire::cli
