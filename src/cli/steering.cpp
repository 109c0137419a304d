#include "cli/steering.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "cli/stop_signals.h"
#include "cli/values.h"
#include "sys/socket.h"

namespace pagewire::cli {

namespace {

constexpr std::int64_t status_period_ms = 1'000;
constexpr std::int64_t drain_poll_ms = 50;

/// One of `signals`, or 0 when none came within `timeout_ms` (none: wait for ever).
int next_signal(const sigset_t& signals, std::optional<std::int64_t> timeout_ms) {
  if (!timeout_ms) return std::max(0, ::sigwaitinfo(&signals, nullptr));
  const timespec timeout{.tv_sec = *timeout_ms / 1'000, .tv_nsec = *timeout_ms % 1'000 * 1'000'000};
  // EAGAIN: the time is over; EINTR: a debugger attached, or SIGCONT: the caller comes round again.
  return std::max(0, ::sigtimedwait(&signals, nullptr, &timeout));
}

void wait_for_stop(const Steered& steered, StatusLine& status, const sigset_t& signals) {
  const std::optional<std::int64_t> period =
      status.enabled() ? std::optional(status_period_ms) : std::nullopt;
  for (;;) {
    switch (next_signal(signals, period)) {
      case SIGHUP:
        status.clear();
        steered.reopen();
        break;
      case SIGINT:
      case SIGTERM:
        return;
      default:
        if (status.enabled()) status.update(steered.totals());
    }
  }
}

void end_now(int) {
  ::_exit(exit_failed);
}

/// A handler makes system calls alone. It does not know the descriptors, so all that there may be
/// are asked (a million in less than a second); those that are no sockets say ENOTSOCK or EBADF.
void reset_and_end_now(int) {
  constexpr rlim_t most = 1U << 20U;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t count = std::min(limit.rlim_cur, most);
  for (rlim_t fd = 0; fd < count; ++fd) sys::abort_on_close(static_cast<int>(fd));
  ::_exit(exit_failed);
}

/// From now on SIGINT and SIGTERM end the process at once, whatever it waits for.
void end_at_next_signal(bool resets) {
  struct sigaction end {};
  end.sa_handler = resets ? reset_and_end_now : end_now;
  sigset_t enders;
  ::sigemptyset(&enders);
  for (const int signal : {SIGINT, SIGTERM}) {
    ::sigaction(signal, &end, nullptr);
    ::sigaddset(&enders, signal);
  }
  ::pthread_sigmask(SIG_UNBLOCK, &enders, nullptr);
}

void drain(const Steered& steered) {
  const std::uint64_t open = steered.totals().connections_open;
  say(fmt::format("draining {} connection{}, at most {}; again to stop at once", open,
                  open == 1 ? "" : "s", show_duration(steered.drain_timeout_ms)));
  sigset_t hangup;  // alone: waiting for SIGINT or SIGTERM would take them from their handler
  ::sigemptyset(&hangup);
  ::sigaddset(&hangup, SIGHUP);
  while (!steered.drained()) {
    if (next_signal(hangup, drain_poll_ms) == SIGHUP) steered.reopen();
  }
  if (!steered.end()) {
    say(fmt::format("the drain timeout was over: {} were cut off", steered.unfinished));
  }
}

}  // namespace

void say(const std::string& line) {
  (void)std::fprintf(stdout, "%s\n", line.c_str());
  (void)std::fflush(stdout);
}

int complain(const std::string& line, int status) {
  (void)std::fprintf(stderr, "%s\n", line.c_str());
  return status;
}

sigset_t block_signals() {
  ignore_write_signals();
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void run_until_stopped(const Steered& steered, StatusLine& status, const sigset_t& signals) {
  wait_for_stop(steered, status, signals);
  // Before anything is written: a standard output that nobody reads must not hold up the end.
  steered.begin_drain();
  end_at_next_signal(steered.resets_at_once);
  status.clear();
  drain(steered);
}

}  // namespace pagewire::cli
