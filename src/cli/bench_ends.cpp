// `bench send` and `bench sink`: one end each.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "bench/bench.h"
#include "cli/bench_commands.h"
#include "cli/bench_help.h"
#include "cli/bench_output.h"
#include "cli/descriptor_limit.h"
#include "cli/stop_signals.h"

namespace pagewire::cli {

namespace {

int send(const bench::SendSettings& settings) {
  const std::string_view command = send_command().command;
  (void)raise_descriptor_limit();
  const StopSignals signals;
  const Result<sys::Fd> stop = signals.open_fd();
  if (!stop) {
    return bench_complain(fmt::format("{}: {}", command, describe(stop.error())), bench_failed);
  }
  const auto say = [command](const std::string& line) { (void)print(line + '\n', command); };
  const auto complain = [command](const std::string& line) {
    (void)bench_complain(fmt::format("{}: {}", command, line), bench_failed);
  };
  const auto done =
      bench::send_file(settings, {.say = say, .complain = complain, .stop_fd = stop->get()});
  if (!done) return bench_complain(fmt::format("{}: {}", command, done.error()), bench_failed);
  return bench_done;
}

/// "4096.0 MB in 3.20 s, 1280.0 MB/s (10.24 Gbit/s), CPU 31% of a core; 4 connections ended"
std::string text_of(const bench::SinkResult& result) {
  const double megabytes = static_cast<double>(result.received_bytes) / 1e6;
  std::string text = fmt::format("{:.1f} MB in {:.2f} s", megabytes, result.seconds);
  if (result.seconds > 0) {
    text += fmt::format(", {:.1f} MB/s ({:.2f} Gbit/s), CPU {:.0f}% of a core",
                        megabytes / result.seconds, megabytes * 8 / 1e3 / result.seconds,
                        result.cpu_seconds * 100 / result.seconds);
  }
  text += fmt::format("; {} connections finished", result.finished);
  if (result.broken > 0) text += fmt::format(", {} were reset", result.broken);
  return text + (result.interrupted ? "; interrupted\n" : "\n");
}

int sink(const bench::SinkSettings& given) {
  const std::string_view command = sink_command().command;
  bench::SinkSettings settings = given;
  // Before signals are blocked: a name server may keep us waiting, and Ctrl-C shall end that.
  auto addresses = bench::look_up(settings.server);
  if (!addresses) {
    return bench_complain(fmt::format("{}: {}", command, addresses.error()), bench_failed);
  }
  settings.addresses = std::move(*addresses);
  (void)raise_descriptor_limit();
  StopSignals signals;
  const Result<sys::Fd> stop = signals.open_fd();
  if (!stop) {
    return bench_complain(fmt::format("{}: {}", command, describe(stop.error())), bench_failed);
  }
  const auto result = bench::receive_and_discard(settings, stop->get());
  (void)signals.asked();  // which one it was
  signals.let_next_end();
  if (!result) return bench_complain(fmt::format("{}: {}", command, result.error()), bench_failed);
  const bool printed = print(text_of(*result), command);
  if (result->interrupted) return signals.exit_status().value_or(bench_failed);
  return printed && result->broken == 0 ? bench_done : bench_failed;
}

}  // namespace

int bench_send(std::span<const std::string> arguments) {
  const char* const zc_path = std::getenv("ZC_PATH");
  const std::optional<std::string> named =
      zc_path == nullptr ? std::nullopt : std::optional<std::string>(zc_path);
  return with_settings(
      send_command(), arguments, send_help_text,
      [&named](const Flags& flags) { return build_send(flags, named); }, send);
}

int bench_sink(std::span<const std::string> arguments) {
  return with_settings(sink_command(), arguments, sink_help_text, build_sink, sink);
}

}  // namespace pagewire::cli
