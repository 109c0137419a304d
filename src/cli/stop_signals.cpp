#include "cli/stop_signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace pagewire::cli {

namespace {

constexpr int shell_base = 128;  // sh(1): "128 plus the number of the signal"

}  // namespace

StopSignals::StopSignals() {
  ignore_write_signals();
  ::sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM}) ::sigaddset(&signals_, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

bool StopSignals::asked() {
  if (taken_ != 0) return true;
  const timespec at_once{};
  // EAGAIN: none is pending; EINTR: SIGCONT came, the caller asks again soon.
  const int signal = ::sigtimedwait(&signals_, nullptr, &at_once);
  if (signal < 0) return false;
  taken_ = signal;
  let_next_end();
  return true;
}

Result<sys::Fd> StopSignals::open_fd() const {
  sys::Fd fd(::signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.is_open()) return last_error("signalfd");
  return fd;
}

void StopSignals::let_next_end() {
  struct sigaction end {};
  end.sa_handler = [](int signal) { ::_exit(shell_base + signal); };
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &end, nullptr);
  ::pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
}

std::optional<int> StopSignals::exit_status() const {
  return taken_ == 0 ? std::nullopt : std::optional(shell_base + taken_);
}

void ignore_write_signals() {
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace pagewire::cli
