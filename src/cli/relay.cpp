// relay: settings -> relay -> wait for signals -> drain (steering.h).
#include "cli/relay.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/config_file.h"
#include "cli/descriptor_limit.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "cli/relay_settings.h"
#include "cli/steering.h"
#include "relay/relay.h"

namespace pagewire::cli {

namespace {

OrUsageError<RelaySettings> settings_from(const Flags& flags) {
  return read_config(relay_command(), flags.assignments)
      .and_then([&](const std::vector<Assignment>& file) {
        return build_relay_settings({.file = file, .flags = flags.assignments}, this_machine());
      });
}

int check_config(const RelaySettings& settings) {
  const std::string source = settings.config_file.empty() ? "flags" : settings.config_file;
  // A comment, so that what is printed is a file for --config.
  say(fmt::format("# {}: ok", source));
  (void)std::fputs(show_relay_settings(settings).c_str(), stdout);
  return exit_done;
}

/// Two a connection, and two a pipe.
void compare_descriptors(rlim_t allowed, const relay::Settings& settings) {
  const std::size_t wanted = 2 * settings.connections;
  if (allowed < wanted) {
    (void)complain(fmt::format("pagewire relay: note: this process may open {} files; "
                               "max-connections could need {}",
                               allowed, wanted),
                   exit_done);
  }
}

void announce(const relay::Relay& relay, const RelaySettings& settings) {
  const std::vector<std::vector<sys::Address>> addresses = relay.addresses();
  const std::vector<std::string> mirrors = relay.mirrors();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const relay::Route& route = settings.relay.routes[i];
    for (const sys::Address& address : addresses[i]) {
      say(fmt::format("pagewire " PAGEWIRE_VERSION " relaying {} to {} ({}, path {}{})",
                      address.to_string(), fmt::join(route.to, ", "), relay::name(route.balance),
                      relay::name(route.path), route.has_tls() ? ", TLS in front" : ""));
    }
    if (!mirrors[i].empty()) say(fmt::format("mirror of {}: {}", route.name, mirrors[i]));
  }
  if (settings.relay.admin_enabled) {
    say(fmt::format("status page on http://{0}/, admin on http://{0}/metrics and /healthz",
                    relay.admin_address().to_string()));
  }
  if (const std::string note = relay.splice_note(); !note.empty()) {
    (void)complain("pagewire relay: note: everything is copied: " + note, exit_done);
  }
  const std::string& log_file = settings.relay.access_log.file;
  say(fmt::format("{} worker{}, access log {}; Ctrl-C ends it", settings.workers,
                  settings.workers == 1 ? "" : "s",
                  log_file.empty()  ? "off"
                  : log_file == "-" ? "on standard output"
                                    : log_file));
}

void reopen(relay::Relay& relay) {
  relay.reopen_logs();
  if (!relay.has_tls()) return;
  if (const auto reloaded = relay.reload_certificates(); !reloaded) {
    (void)complain("pagewire relay: the certificates stay as they were: " + reloaded.error().text,
                   exit_done);
    return;
  }
  say("certificates read anew");
}

Steered steered(relay::Relay& relay, const RelaySettings& settings) {
  return {.reopen = [&relay] { reopen(relay); },
          .totals = [&relay] { return relay.totals(); },
          .begin_drain = [&relay] { relay.begin_drain(); },
          .drained = [&relay] { return relay.drained(); },
          .end = [&relay] { return relay.drain(); },
          .drain_timeout_ms = settings.relay.drain_timeout_ms,
          .unfinished = "connections",
          .resets_at_once = true};
}

}  // namespace

int relay(std::span<const std::string> arguments) {
  const OrUsageError<Flags> flags = parse_flags(relay_command(), arguments);
  if (!flags) return complain(flags.error().text, exit_usage);
  if (flags->help) {
    (void)std::fputs(relay_help_text().c_str(), stdout);
    return exit_done;
  }
  const OrUsageError<RelaySettings> settings = settings_from(*flags);
  if (!settings) return complain(settings.error().text, exit_usage);
  if (settings->check_config) return check_config(*settings);

  const sigset_t signals = block_signals();
  const rlim_t descriptors = raise_descriptor_limit();
  relay::Relay relay;
  relay::Settings running = settings->relay;
  running.tell = [](const std::string& line) { (void)complain("pagewire relay: " + line, 0); };
  if (const auto started = relay.start(running); !started) {
    return complain("pagewire relay: " + started.error().text, exit_failed);
  }
  compare_descriptors(descriptors, settings->relay);
  announce(relay, *settings);
  StatusLine status(
      {.mode = settings->status, .log_file = settings->relay.access_log.file, .counted = "new"});
  run_until_stopped(steered(relay, *settings), status, signals);
  return exit_done;
}

}  // namespace pagewire::cli
