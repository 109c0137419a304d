// Children: fork without exec, their surroundings, and the parent's side of the control socket.
//
// Invariants: a child outlives its parent by no more than the delivery of a signal; it holds no
// descriptor but those it was given, so no listener, report or control socket of the parent's stays
// open in it; its parent's signal handlers never run in it. Waiting for a child ends after
// patience_ms at the latest.
// Rests on: fork(2) in a process of one thread, prctl(2) PR_SET_PDEATHSIG (sent when the thread
// that forked ends), close_range(2) (Linux 5.9), waitid(2) WNOWAIT.
#include "bench/child.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <limits>

#include "bench/engine_messages.h"
#include "sys/clock.h"
#include "sys/thread.h"

namespace pagewire::bench {

namespace {

constexpr int patience_ms = 10'000;
/// While it waits, a stop is asked for this often.
constexpr std::int64_t stop_poll_ms = 50;

[[noreturn]] void run_child(const ChildPlan& plan, pid_t parent, sys::Fd control,
                            const ChildBody& body);
void take_own_signals();
Result<void> take_own_place(const ChildPlan& plan);
void close_all_but(int one, int other);

Fault fault_of(const char* role, const Error& error) {
  return Fault{std::string("the ") + role + " process could not start: " + describe(error)};
}

}  // namespace

OrFault<Child> start_child(const ChildPlan& plan, const ChildBody& body) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return tl::unexpected(fault_of(plan.role, last_error("socketpair").value()));  // EMFILE, ENFILE
  }
  sys::Fd ours(ends[0]);
  sys::Fd theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {  // EAGAIN: RLIMIT_NPROC or a cgroup's limit; ENOMEM
    return tl::unexpected(fault_of(plan.role, last_error("fork").value()));
  }
  if (pid == 0) run_child(plan, parent, std::move(theirs), body);
  return Child(pid, std::move(ours), plan.role);
}

// ---------------------------------------------------------------- in the child

namespace {

void run_child(const ChildPlan& plan, pid_t parent, sys::Fd control, const ChildBody& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A parent that ended before the line above sends no signal any more.
  if (::getppid() != parent) ::_exit(1);
  take_own_signals();
  sys::name_this_thread((std::string("pw-bench-") + plan.role).c_str());
  const int control_fd = control.get();
  const Result<void> placed = take_own_place(plan);
  close_all_but(control_fd, plan.file_fd);
  if (placed) {
    body(std::move(control));
  } else {
    send_fault(control_fd, fault_of(plan.role, placed.error()).text);
  }
  // Not exit(): buffers and objects of the parent's, which fork copied, are not ours to flush.
  ::_exit(0);
}

/// The keys of the terminal reach the whole process group; what they mean is the parent's to say.
void take_own_signals() {
  for (const int number : {SIGINT, SIGQUIT, SIGPIPE, SIGXFSZ}) ::signal(number, SIG_IGN);
  for (const int number : {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

Result<void> take_own_place(const ChildPlan& plan) {
  if (plan.network_namespace != nullptr && plan.network_namespace->is_open()) {
    if (Result<void> entered = enter_namespace(*plan.network_namespace); !entered) return entered;
  }
  if (!plan.cpu) return {};
  return sys::pin_this_thread(*plan.cpu);
}

/// Standard input, output and error stay, too.
void close_all_but(int one, int other) {
  const auto close_between = [](int above, int below) {
    const int first = std::max(above + 1, STDERR_FILENO + 1);
    if (first >= below) return;
    const auto last = static_cast<unsigned>(below - 1);
    if (::close_range(static_cast<unsigned>(first), last, 0) == 0) return;
    // ENOSYS: a kernel before 5.9, or a seccomp filter that does not know the call.
    const int limit = std::min(below, static_cast<int>(::sysconf(_SC_OPEN_MAX)));
    for (int fd = first; fd < limit; ++fd) ::close(fd);
  };
  close_between(-1, std::min(one, other));
  close_between(std::min(one, other), std::max(one, other));
  close_between(std::max(one, other), std::numeric_limits<int>::max());
}

}  // namespace

void send_report(int control_fd, const ChildReport& report) {
  // Blocks only if the parent has left hundreds of reports unread, and it asks for each.
  static_cast<void>(::send(control_fd, &report, sizeof report, MSG_NOSIGNAL));
}

void send_fault(int control_fd, std::string_view text) {
  ChildReport report;
  report.kind = ReportKind::Fault;
  report.set_text(text);
  send_report(control_fd, report);
}

// ---------------------------------------------------------------- in the parent

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      control_(std::move(other.control_)),
      role_(other.role_),
      fault_(std::exchange(other.fault_, std::nullopt)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, -1);
    control_ = std::move(other.control_);
    role_ = other.role_;
    fault_ = std::exchange(other.fault_, std::nullopt);
  }
  return *this;
}

Child::~Child() {
  end();
}

void Child::end() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  control_.close();
}

OrFault<ChildReport> Child::sample(const StopAsked& stop_asked) {
  if (fault_) return tl::unexpected(*fault_);
  // EPIPE: the child has ended; what it said before, and its end, is found by reading.
  static_cast<void>(::send(control_.get(), &sample_request, 1, MSG_NOSIGNAL));
  OrFault<ChildReport> report = next_report(stop_asked);
  if (report && report->kind != ReportKind::Sample)
    return tl::unexpected(fail("spoke out of turn"));
  return report;
}

OrFault<ChildReport> Child::next_report(const StopAsked& stop_asked) {
  if (fault_) return tl::unexpected(*fault_);
  ChildReport report;
  char* const into = reinterpret_cast<char*>(&report);
  const std::int64_t deadline_ms = sys::monotonic_coarse_ms() + patience_ms;
  std::size_t got = 0;
  while (got < sizeof report) {
    const std::int64_t left_ms = deadline_ms - sys::monotonic_coarse_ms();
    if (left_ms <= 0) return tl::unexpected(fail("did not answer within 10 s"));
    const std::int64_t wait_ms = stop_asked ? std::min(left_ms, stop_poll_ms) : left_ms;
    if (!has_news(static_cast<int>(wait_ms))) {
      if (!stop_asked || !stop_asked()) continue;
      fault_ = Fault{"stopped"};  // half a report may have been read: there is no going on
      return tl::unexpected(*fault_);
    }
    const ssize_t n = ::recv(control_.get(), into + got, sizeof report - got, MSG_DONTWAIT);
    if (n > 0) {
      got += static_cast<std::size_t>(n);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      // ECONNRESET: it ended with a request of ours unread.
      return tl::unexpected(ended());
    }
  }
  if (report.kind != ReportKind::Fault) return report;
  fault_ = Fault{report.text.data()};
  return tl::unexpected(*fault_);
}

bool Child::has_news(int limit_ms) const {
  pollfd news{.fd = control_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&news, 1, limit_ms) > 0;  // EINTR: a signal; the caller looks at its clock again
}

std::optional<Fault> Child::fault() {
  if (!fault_ && has_news(0)) {
    // Nobody asked, so it can only be a fault or the end.
    if (next_report()) fail("spoke out of turn");
  }
  return fault_;
}

Fault Child::fail(std::string text) {
  fault_ = Fault{std::string("the ") + role_ + " process " + std::move(text)};
  return *fault_;
}

/// Its end of the control socket is closed, which only its end does. Not reaped here: the pid stays
/// ours until the destructor.
Fault Child::ended() {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0) {
    if (errno != EINTR) return fail("ended");  // ECHILD: somebody else has waited for it
  }
  if (info.si_code == CLD_EXITED) {
    return fail("ended with status " + std::to_string(info.si_status));
  }
  return fail(std::string("was ended by a signal: ") + ::strsignal(info.si_status));
}

}  // namespace pagewire::bench
