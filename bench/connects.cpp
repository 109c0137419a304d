// bench_connects: connect, one request, its answer, close, and again, on N connections at once.
// What a proxy pays for a connection.
//
// One counts when its answer is whole: the client then closes first. Prints "begin" and one line of
// JSON as LoadClient does. Takes bench_load's flags.
#include <sys/epoll.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "load/options.h"
#include "load/plain_wire.h"
#include "load/response_head.h"
#include "load/window.h"
#include "sys/clock.h"

namespace pagewire::bench {

namespace {

enum class ConnectFault { Connect, Answer, Closed, Stalled };
constexpr std::array<const char*, 4> connect_fault_names = {"connect", "answer", "closed",
                                                            "stalled"};

class ConnectClient {
 public:
  explicit ConnectClient(const Options& options)
      : options_(options), attempts_(options.connections) {}
  /// The exit status: 1 when there were errors.
  int run();

 private:
  struct Attempt {
    sys::Fd fd;
    bool asked = false;
    std::uint64_t received = 0;
    std::int64_t began_at_ns = 0;
  };

  void start(Attempt& attempt);
  void go_on(Attempt& attempt);
  void fail(Attempt& attempt, ConnectFault fault);
  bool finished() const;
  std::uint64_t errors() const;
  void report() const;

  const Options& options_;
  sys::Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::vector<Attempt> attempts_;
  Window window_;
  std::uint64_t answer_bytes_ = 0;  ///< head and body, as the first one has them
  std::array<char, 64 * 1024> buffer_;
  std::array<std::uint64_t, connect_fault_names.size()> faults_{};
};

int ConnectClient::run() {
  for (Attempt& attempt : attempts_) start(attempt);
  const auto warm_up_ns = static_cast<std::int64_t>(options_.warm_up_seconds * 1e9);
  const std::int64_t warm_at_ns = sys::monotonic_ns() + warm_up_ns;
  bool warm = false;
  std::int64_t last_event_ns = sys::monotonic_ns();
  std::array<epoll_event, 64> events;
  while (!warm || !finished()) {
    const std::int64_t now_ns = sys::monotonic_ns();
    if (!warm && now_ns >= warm_at_ns) {
      warm = true;
      window_ = Window();
      std::puts("begin");
      std::fflush(stdout);
    }
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 50);
    if (count > 0) last_event_ns = now_ns;
    if (now_ns - last_event_ns > stall_limit_ms * 1'000'000) {
      ++faults_[static_cast<std::size_t>(ConnectFault::Stalled)];
      break;
    }
    for (int i = 0; i < count; ++i) go_on(*static_cast<Attempt*>(events[i].data.ptr));
  }
  report();
  return errors() == 0 ? 0 : 1;
}

void ConnectClient::start(Attempt& attempt) {
  const sys::Address& address = options_.targets.front().address;
  attempt = {.fd = sys::Fd(
                 ::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
             .began_at_ns = sys::monotonic_ns()};
  const int fd = attempt.fd.get();
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &attempt}};
  // EADDRNOTAVAIL: every port is in TIME_WAIT.
  if (fd < 0 || !sys::set_no_delay(fd) ||
      (::connect(fd, address.raw(), address.raw_size()) != 0 && errno != EINPROGRESS) ||
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    fail(attempt, ConnectFault::Connect);
  }
}

void ConnectClient::go_on(Attempt& attempt) {
  if (!attempt.fd.is_open()) return;  // given up
  if (!attempt.asked) {
    const std::string& request = options_.targets.front().request;
    const ssize_t sent = ::send(attempt.fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;  // not connected yet
    if (sent != static_cast<ssize_t>(request.size())) return fail(attempt, ConnectFault::Connect);
    attempt.asked = true;
  }
  const Got got =
      received(::recv(attempt.fd.get(), buffer_.data(), buffer_.size(), 0), buffer_.size());
  if (got.kind == Got::Kind::Nothing) return;
  if (got.kind != Got::Kind::Bytes) return fail(attempt, ConnectFault::Closed);
  if (answer_bytes_ == 0) {
    const ResponseHead head = read_response_head({buffer_.data(), got.bytes});
    if (head.state != HeadState::Good) return fail(attempt, ConnectFault::Answer);
    answer_bytes_ = head.size_bytes + head.content_length;
  }
  attempt.received += got.bytes;
  if (attempt.received > answer_bytes_) return fail(attempt, ConnectFault::Answer);
  if (attempt.received < answer_bytes_) return;
  const std::int64_t took_ns = sys::monotonic_ns() - attempt.began_at_ns;
  window_.latency_ns.record(static_cast<std::uint64_t>(took_ns));
  start(attempt);
}

void ConnectClient::fail(Attempt& attempt, ConnectFault fault) {
  ++faults_[static_cast<std::size_t>(fault)];
  attempt.fd.close();
  if (errors() <= max_errors) start(attempt);
}

bool ConnectClient::finished() const {
  if (errors() > max_errors) return true;
  if (options_.requests > 0) return window_.latency_ns.count() >= options_.requests;
  const std::int64_t open_ns = sys::monotonic_ns() - window_.opened_at_ns;
  return static_cast<double>(open_ns) >= options_.seconds * 1e9;
}

std::uint64_t ConnectClient::errors() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : faults_) sum += count;
  return sum;
}

void ConnectClient::report() const {
  const std::int64_t cpu_ns = own_cpu_ns() - window_.cpu_at_open_ns;
  const double seconds = static_cast<double>(sys::monotonic_ns() - window_.opened_at_ns) / 1e9;
  const std::uint64_t count = window_.latency_ns.count();
  fmt::print(
      "{{\"connections\":{},\"connects\":{},\"seconds\":{:.6f},\"connects_per_s\":{:.1f},"
      "\"latency_us_closed_loop\":{},\"client_cpu_ns\":{},\"errors\":{},\"errors_by_kind\":{}}}\n",
      attempts_.size(), count, seconds, static_cast<double>(count) / seconds,
      latency_json(window_.latency_ns), cpu_ns, errors(),
      counts_json(connect_fault_names, faults_));
  std::fflush(stdout);
}

}  // namespace

}  // namespace pagewire::bench

int main(int argc, char** argv) {
  using namespace pagewire::bench;
  const std::optional<Options> options = parse_options(argc, argv, Scheme::Http);
  if (!options) return 2;
  return ConnectClient(*options).run();
}
