// The client of a round: asks, and drops the answers inside the kernel.
//
// Without a rate it is a closed loop: one ask on each connection, and the next when its answer is
// complete (stream mode: a single ask without end). With a rate, ask k is due at k x interval after
// the start, on connection k mod connections, whatever has become of the asks before it; latency
// counts from that time, so that a server that stalls is charged for all whom it kept waiting (no
// coordinated omission). At most max_pipelined asks are out on a connection; what is due beyond
// them goes out as answers come in, and is counted as late.
//
// Invariant: all answers of a round have the same size, so counting bytes is enough to know which
// ask they belong to.
// Rests on: MSG_TRUNC (tcp(7)), level-triggered epoll(7), timerfd_create(2).
#include "bench/client_loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>
#include <vector>

#include "bench/asks.h"
#include "bench/engine_messages.h"
#include "bench/histogram.h"
#include "sys/clock.h"
#include "sys/discard.h"
#include "sys/epoll.h"

namespace pagewire::bench {

namespace {

// One call may take so much; without a limit it would go on as long as the server sends, and
// neither the other connections nor the parent would be heard.
constexpr ByteCount discard_at_once{8 * mib};
// All connections together; shorter than the parent's patience, so that it hears why.
constexpr std::int64_t connect_limit_ms = 8'000;
// The timer is not set for less: what falls due meanwhile goes out together.
constexpr std::int64_t least_sleep_ns = 20'000;

struct Connection {
  sys::Fd fd;
  std::uint64_t offset = 0;  ///< of the next ask
  std::uint64_t asked = 0;
  std::uint64_t answered = 0;
  std::uint64_t received_of_answer = 0;
  std::int64_t asked_at_ns = 0;  ///< closed loop
};

/// When which ask is due. Ask k belongs to connection k mod connections.
struct Schedule {
  std::int64_t begin_ns = 0;
  double interval_ns = 0;  ///< 0: no schedule, a closed loop
  std::uint64_t next = 0;  ///< the first ask whose time has not come

  bool offered() const { return interval_ns > 0; }
  std::int64_t due_ns(std::uint64_t ask) const {
    return begin_ns + static_cast<std::int64_t>(static_cast<double>(ask) * interval_ns);
  }
  /// How many asks are due at `now_ns`: exactly those whose due_ns is not later.
  std::uint64_t due_by(std::int64_t now_ns) const {
    if (now_ns < begin_ns) return 0;
    const double passed_ns = static_cast<double>(now_ns - begin_ns) + 1;
    auto due = static_cast<std::uint64_t>(std::ceil(passed_ns / interval_ns));
    while (due > 0 && due_ns(due - 1) > now_ns) --due;  // rounding
    return due;
  }
};

class Client {
 public:
  Client(const ClientSettings& settings, sys::Fd control);

  Result<void> connect_all();
  /// Until the control socket ends.
  Result<void> run();

 private:
  Result<void> watch();
  void serve_event(const epoll_event& event);
  void answer_parent();
  ClientSample sample();

  void ask(std::size_t index);
  void ask_what_is_due(std::size_t index, std::int64_t now_ns);
  void keep_schedule();
  void set_timer(std::int64_t due_ns);

  void receive(std::size_t index);
  void take(std::size_t index, std::uint64_t bytes);
  void answered(std::size_t index, std::int64_t now_ns);
  void lose(std::size_t index, const std::string& why);
  std::uint64_t due_for_long(std::int64_t now_ns) const;
  std::uint64_t overdue(std::int64_t now_ns) const;

  // Event tags: a connection's index, or one of these.
  static constexpr std::uint64_t control_tag = ~std::uint64_t{0};
  static constexpr std::uint64_t timer_tag = control_tag - 1;

  const ClientSettings& settings_;
  Ask ask_;                         // but for its offset
  std::uint64_t answer_bytes_ = 0;  // head and all; `endless` never comes
  sys::Fd control_;
  sys::Fd timer_;
  std::optional<sys::Epoll> epoll_;
  std::vector<Connection> connections_;
  Schedule schedule_;
  Histogram latency_ns_;
  std::uint64_t received_bytes_ = 0;
  std::uint64_t answers_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t late_reported_ = 0;
  bool ended_ = false;
  bool fault_told_ = false;
};

std::int64_t own_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

void run_client(const ClientSettings& settings, sys::Fd control) {
  const int control_fd = control.get();
  const auto client = std::make_unique<Client>(settings, std::move(control));
  if (Result<void> connected = client->connect_all(); !connected) {
    return send_fault(control_fd, "the client cannot connect to " + settings.server.to_string() +
                                      ": " + describe(connected.error()));
  }
  if (Result<void> ran = client->run(); !ran) {
    send_fault(control_fd, "the client: " + describe(ran.error()));
  }
}

Result<sys::Fd> connect_to(const sys::Address& server, std::int64_t deadline_ms) {
  const std::int64_t left_ms = deadline_ms - sys::monotonic_coarse_ms();
  if (left_ms <= 0) return failure("connect", ETIMEDOUT);
  sys::Fd fd(::socket(server.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return last_error("socket");  // EMFILE, ENFILE
  const timeval limit{.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), server.raw(), server.raw_size()) != 0) {
    if (errno == EINPROGRESS) return failure("connect", ETIMEDOUT);  // SO_SNDTIMEO (socket(7))
    // ECONNREFUSED; ENETUNREACH: no route; EADDRNOTAVAIL: out of ports.
    return last_error("connect");
  }
  if (Result<void> set = sys::set_no_delay(fd.get()); !set) return tl::unexpected(set.error());
  return fd;
}

namespace {

Client::Client(const ClientSettings& settings, sys::Fd control)
    : settings_(settings), control_(std::move(control)), connections_(settings.connections) {
  const bool request = settings.mode == Mode::Request;
  const bool offered = settings.rate_gbit_per_s.has_value();
  const std::uint64_t piece = std::min(stream_piece.value, settings.file_bytes);
  ask_.with_head = request ? 1 : 0;
  ask_.count = request ? settings.file_bytes : offered ? piece : endless;
  answer_bytes_ = request ? ask_.count + answer_head_bytes : ask_.count;
  // 1 Gbit/s is one bit in a nanosecond.
  if (offered) {
    schedule_.interval_ns = static_cast<double>(answer_bytes_) * 8 / *settings.rate_gbit_per_s;
  }
}

Result<void> Client::connect_all() {
  constexpr std::uint64_t page = 4 * kib;
  const std::size_t count = connections_.size();
  const std::int64_t deadline_ms = sys::monotonic_coarse_ms() + connect_limit_ms;
  for (std::size_t i = 0; i < count; ++i) {
    Result<sys::Fd> fd = connect_to(settings_.server, deadline_ms);
    if (!fd) return tl::unexpected(fd.error());
    connections_[i].fd = std::move(*fd);
    if (settings_.mode == Mode::Request) continue;
    // Streams that went through the file side by side would find it in the CPU's cache. A small
    // file is there anyway, and not every path can begin in the middle of one.
    const bool spread = settings_.file_bytes > stream_piece.value;
    connections_[i].offset = spread ? settings_.file_bytes / count * i / page * page : 0;
  }
  return {};
}

Result<void> Client::run() {
  if (Result<void> watching = watch(); !watching) return watching;
  schedule_.begin_ns = sys::monotonic_ns();
  if (schedule_.offered()) {
    keep_schedule();
  } else {
    for (std::size_t i = 0; i < connections_.size(); ++i) ask(i);
  }
  ChildReport ready;
  ready.kind = ReportKind::Ready;
  send_report(control_.get(), ready);
  std::array<epoll_event, 64> events;
  while (!ended_) {
    for (const epoll_event& event : epoll_->wait(events, -1)) serve_event(event);
  }
  return {};
}

Result<void> Client::watch() {
  Result<sys::Epoll> epoll = sys::Epoll::create();
  if (!epoll) return tl::unexpected(epoll.error());
  epoll_ = std::move(*epoll);
  Result<void> added = epoll_->add(control_.get(), EPOLLIN, control_tag);
  for (std::size_t i = 0; i < connections_.size() && added; ++i) {
    added = epoll_->add(connections_[i].fd.get(), EPOLLIN, i);
  }
  if (!added || !schedule_.offered()) return added;
  timer_ = sys::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.is_open()) return last_error("timerfd_create");  // EMFILE, ENFILE
  return epoll_->add(timer_.get(), EPOLLIN, timer_tag);
}

void Client::serve_event(const epoll_event& event) {
  switch (event.data.u64) {
    case control_tag:
      return answer_parent();
    case timer_tag:
      return keep_schedule();
    default:
      return receive(event.data.u64);
  }
}

void Client::answer_parent() {
  std::array<char, 64> requests;
  const ssize_t n = ::recv(control_.get(), requests.data(), requests.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // 0 or ECONNRESET: the parent has ended us, or itself.
  if (n <= 0) ended_ = true;
  for (ssize_t i = 0; i < n; ++i) {
    ChildReport report;
    report.kind = ReportKind::Sample;
    report.client = sample();
    send_report(control_.get(), report);
  }
}

ClientSample Client::sample() {
  ClientSample sample;
  sample.received_bytes = received_bytes_;
  sample.answers = answers_;
  if (settings_.mode == Mode::Request && latency_ns_.count() > 0) {
    constexpr std::array fractions = {0.5, 0.9, 0.99, 0.999};
    std::array<double, fractions.size()> latency_us;
    for (std::size_t i = 0; i < fractions.size(); ++i) {
      latency_us[i] = static_cast<double>(latency_ns_.percentile(fractions[i])) / 1e3;
    }
    sample.latency_us = latency_us;
  }
  latency_ns_ = Histogram();
  const std::int64_t now_ns = sys::monotonic_ns();
  // Never back: of two samples the difference is taken.
  late_reported_ = std::max(late_reported_, late_ + overdue(now_ns));
  sample.late_asks = late_reported_;
  sample.due_asks = due_for_long(now_ns);
  sample.cpu_ns = own_cpu_ns();
  sample.at_ns = now_ns;
  return sample;
}

/// Asks that would be late if they went out now.
std::uint64_t Client::due_for_long(std::int64_t now_ns) const {
  return schedule_.offered() ? schedule_.due_by(now_ns - late_after_ns - 1) : 0;
}

/// Asks that are late already and still have not gone out.
std::uint64_t Client::overdue(std::int64_t now_ns) const {
  const std::uint64_t due = due_for_long(now_ns);
  const std::size_t count = connections_.size();
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t due_here = (due + count - 1 - i) / count;
    sum += due_here - std::min(due_here, connections_[i].asked);
  }
  return sum;
}

// ---------------------------------------------------------------- asking

void Client::ask(std::size_t index) {
  Connection& connection = connections_[index];
  ask_.offset = connection.offset;
  if (settings_.mode == Mode::Stream && ask_.count != endless) {
    connection.offset = (connection.offset + ask_.count) % settings_.file_bytes;
  }
  ++connection.asked;
  connection.asked_at_ns = sys::monotonic_ns();
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  const ssize_t sent = ::send(connection.fd.get(), &ask_, sizeof ask_, flags);
  if (sent == sizeof ask_) return;
  // EPIPE, ECONNRESET. Never EAGAIN or a part: the few asks on their way fit any send buffer.
  lose(index, sent < 0 ? std::strerror(errno) : "it does not read");
}

/// All asks of this connection whose time has come, as far as they may be sent ahead.
void Client::ask_what_is_due(std::size_t index, std::int64_t now_ns) {
  Connection& connection = connections_[index];
  while (connection.fd.is_open() && connection.asked - connection.answered < max_pipelined) {
    const std::int64_t due_ns = schedule_.due_ns(connection.asked * connections_.size() + index);
    if (due_ns > now_ns) return;
    if (now_ns - due_ns > late_after_ns) ++late_;
    ask(index);
  }
}

void Client::keep_schedule() {
  const std::int64_t now_ns = sys::monotonic_ns();
  const std::uint64_t count = connections_.size();
  const std::uint64_t due = std::max(schedule_.due_by(now_ns), schedule_.next);
  // Each connection is looked at once, however many of its asks are due.
  for (std::uint64_t ask = schedule_.next; ask < std::min(due, schedule_.next + count); ++ask) {
    ask_what_is_due(ask % count, now_ns);
  }
  schedule_.next = due;
  set_timer(std::max(schedule_.due_ns(due), now_ns + least_sleep_ns));
}

void Client::set_timer(std::int64_t due_ns) {
  itimerspec timer{};
  timer.it_value.tv_sec = due_ns / 1'000'000'000;
  timer.it_value.tv_nsec = due_ns % 1'000'000'000;
  // Setting it anew also makes it unreadable, so that it need not be read.
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &timer, nullptr);
}

// ---------------------------------------------------------------- receiving

void Client::receive(std::size_t index) {
  const int fd = connections_[index].fd.get();
  if (fd < 0) return;  // lost earlier in this batch
  const Result<ByteCount> got = sys::discard_received(fd, discard_at_once);
  if (!got) {
    // EAGAIN: nothing is there, after all. Else ECONNRESET, ETIMEDOUT.
    if (got.error().errno_value != EAGAIN) lose(index, std::strerror(got.error().errno_value));
    return;
  }
  if (got->value == 0) return lose(index, "end of the stream");
  take(index, got->value);
}

void Client::take(std::size_t index, std::uint64_t bytes) {
  received_bytes_ += bytes;
  if (ask_.count == endless) return;
  Connection& connection = connections_[index];
  connection.received_of_answer += bytes;
  if (connection.received_of_answer < answer_bytes_) return;
  const std::int64_t now_ns = sys::monotonic_ns();
  while (connection.received_of_answer >= answer_bytes_) {
    connection.received_of_answer -= answer_bytes_;
    answered(index, now_ns);
  }
  const bool all_answered = connection.answered >= connection.asked;
  if (all_answered && connection.received_of_answer > 0) {
    return lose(index, "it sent more than was asked for");
  }
  if (schedule_.offered()) return ask_what_is_due(index, now_ns);
  ask(index);
}

void Client::answered(std::size_t index, std::int64_t now_ns) {
  Connection& connection = connections_[index];
  const std::int64_t since_ns =
      schedule_.offered() ? schedule_.due_ns(connection.answered * connections_.size() + index)
                          : connection.asked_at_ns;
  latency_ns_.record(static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns - since_ns, 0)));
  ++connection.answered;
  ++answers_;
}

void Client::lose(std::size_t index, const std::string& why) {
  connections_[index].fd.close();
  if (fault_told_) return;
  fault_told_ = true;
  send_fault(control_.get(), "the server closed a connection: " + why);
}

}  // namespace

}  // namespace pagewire::bench
