// bench_load: an HTTP/1.1 keep-alive load client that costs as little as it can.
//
// One thread, N connections, closed loop: a connection asks again as soon as it has its answer, so
// latency here says how long an answer takes at saturation, not at a rate of arrival. With -r each
// connection asks at fixed moments, and latency counts from them, whether or not the answer before
// was late: a server that stands still is charged for all who would have asked meanwhile. The head
// of every response is read and checked; the body is thrown away in the kernel (recv with
// MSG_TRUNC, tcp(7)), so that the server stays the bottleneck. With --verify it is read and every
// byte is checked.
//
// Prints "begin" when the measured window opens and one line of JSON when it closes, before any
// connection is closed: whoever samples the server's CPU does it on these two lines.
//
// Invariant: a connection has at most one request outstanding, so bytes beyond Content-Length are
// an error. Edge-triggered epoll is safe because a recv(2) that returns less than asked has emptied
// the queue (epoll(7), question 9).
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "bench/histogram.h"
#include "load/options.h"
#include "load/position_code.h"
#include "load/response_head.h"
#include "sys/clock.h"
#include "sys/fd.h"

namespace pagewire::bench {
namespace {

// The head and a small body in one recv; of a large body little is copied.
constexpr std::size_t first_read_bytes = 2048;
constexpr std::size_t max_head_bytes = 16 * 1024;
constexpr std::size_t verify_read_bytes = 256 * 1024;
constexpr std::uint64_t max_errors = 100;
constexpr std::int64_t stall_limit_ms = 10'000;
constexpr std::int64_t late_ns = 10'000'000;  // an answer that took longer is counted as late

enum class Fault { Status, Length, Head, Content, Closed, Socket, Stalled };
constexpr std::array<const char*, 7> fault_names = {"status", "length", "head",   "content",
                                                    "closed", "socket", "stalled"};

struct Connection {
  sys::Fd fd;
  const Target* target = nullptr;
  bool waiting = false;         // for the answer to a request
  std::uint64_t body_left = 0;  // 0: the head comes next
  std::int64_t asked_at_ns = 0;
  std::int64_t due_at_ns = 0;  // -r: of the request that is under way, or comes next
  std::string partial_head;
};

std::int64_t own_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// What is counted between the opening and the closing of the window.
struct Window {
  std::int64_t opened_at_ns = sys::monotonic_ns();
  std::int64_t cpu_at_open_ns = own_cpu_ns();
  std::uint64_t body_bytes = 0;
  std::uint64_t late = 0;
  Histogram latency_ns;
};

class LoadClient {
 public:
  explicit LoadClient(const Options& options)
      : options_(options),
        size_bytes_(options.size_bytes),
        connections_(options.connections),
        buffer_(options.verify ? verify_read_bytes : first_read_bytes) {}

  /// False when it could not even connect; a line on stderr then says why.
  bool run();
  /// The JSON line; the second value is the number of errors.
  std::pair<std::string, std::uint64_t> report() const;

 private:
  enum class Next { Read, Wait };

  bool connect(Connection& connection);
  void begin();
  std::int64_t ask_those_due(std::int64_t now_ns);
  void ask(Connection& connection, std::int64_t now_ns);
  void receive(Connection& connection);
  Next read_head(Connection& connection);
  Next read_body(Connection& connection);
  bool take_body(Connection& connection, std::span<const char> bytes);
  Next receive_failed(Connection& connection);
  void answered(Connection& connection);
  void fail(Connection& connection, Fault fault);
  bool finished(std::int64_t now_ns) const;
  std::uint64_t errors() const;

  std::int64_t oldest_unanswered_ns() const;

  const Options& options_;
  std::int64_t interval_ns_ = 0;  // -r: between two requests of one connection
  std::optional<std::uint64_t> size_bytes_;
  sys::Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::vector<Connection> connections_;
  std::vector<char> buffer_;
  std::unique_ptr<Window> window_ = std::make_unique<Window>();
  std::array<std::uint64_t, fault_names.size()> faults_{};
  std::uint64_t asked_ = 0;
  std::uint64_t settled_ = 0;  // requests that were answered or have failed
  std::uint64_t verified_bytes_ = 0;
  std::int64_t closed_at_ns_ = 0;
  std::int64_t cpu_at_close_ns_ = 0;
};

bool LoadClient::run() {
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    connections_[i].target = &options_.targets[i % options_.targets.size()];
    if (!connect(connections_[i])) {
      std::perror("bench_load: connect");
      return false;
    }
  }
  begin();
  const auto warm_up_ns = static_cast<std::int64_t>(options_.warm_up_seconds * 1e9);
  const std::int64_t warm_at_ns = sys::monotonic_ns() + warm_up_ns;
  bool warm = false;
  std::int64_t last_event_ns = sys::monotonic_ns();
  std::array<epoll_event, 256> events;
  for (;;) {
    const std::int64_t now_ns = sys::monotonic_ns();
    if (!warm && now_ns >= warm_at_ns) {
      warm = true;
      window_ = std::make_unique<Window>();
      std::puts("begin");
      std::fflush(stdout);
    }
    if (warm && finished(now_ns)) break;
    const std::int64_t wait_ns = ask_those_due(now_ns);
    const timespec wait{.tv_sec = 0, .tv_nsec = wait_ns};
    const int count = ::epoll_pwait2(epoll_.get(), events.data(), events.size(), &wait, nullptr);
    if (count > 0) last_event_ns = now_ns;
    if (now_ns - last_event_ns > stall_limit_ms * 1'000'000) {
      ++faults_[static_cast<std::size_t>(Fault::Stalled)];
      break;
    }
    for (int i = 0; i < count; ++i) receive(*static_cast<Connection*>(events[i].data.ptr));
  }
  closed_at_ns_ = sys::monotonic_ns();
  cpu_at_close_ns_ = own_cpu_ns();
  return true;
}

bool LoadClient::connect(Connection& connection) {
  const sys::Address& address = connection.target->address;
  connection.fd = sys::Fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  connection.body_left = 0;
  connection.partial_head.clear();
  const int fd = connection.fd.get();
  // Blocking until it is connected: a full accept queue is then the kernel's to retry.
  if (fd < 0 || ::connect(fd, address.raw(), address.raw_size()) != 0) return false;
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || !sys::set_no_delay(fd)) return false;
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data = {.ptr = &connection}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void LoadClient::begin() {
  const std::int64_t now_ns = sys::monotonic_ns();
  if (options_.rate == 0) {
    for (Connection& connection : connections_) ask(connection, now_ns);
    return;
  }
  const auto count = static_cast<double>(connections_.size());
  interval_ns_ = static_cast<std::int64_t>(count * 1e9 / options_.rate);
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    const double turn = static_cast<double>(i) / options_.rate;
    connections_[i].due_at_ns = now_ns + static_cast<std::int64_t>(turn * 1e9);
  }
}

/// Returns for how long nothing is due, at most 50 ms.
std::int64_t LoadClient::ask_those_due(std::int64_t now_ns) {
  std::int64_t wait_ns = 50'000'000;
  if (interval_ns_ == 0) return wait_ns;
  for (Connection& connection : connections_) {
    if (connection.waiting || !connection.fd.is_open()) continue;
    if (connection.due_at_ns <= now_ns) {
      ask(connection, connection.due_at_ns);
    } else {
      wait_ns = std::min(wait_ns, connection.due_at_ns - now_ns);
    }
  }
  return wait_ns;
}

void LoadClient::ask(Connection& connection, std::int64_t now_ns) {
  if (options_.requests > 0 && asked_ == options_.requests) return;
  ++asked_;
  connection.waiting = true;
  connection.asked_at_ns = now_ns;
  const std::string& request = connection.target->request;
  const ssize_t sent = ::send(connection.fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  // EPIPE or ECONNRESET: the server closed between two requests. A short count cannot be: the send
  // buffer is empty and the request is smaller than the smallest buffer.
  if (sent != static_cast<ssize_t>(request.size())) fail(connection, Fault::Socket);
}

void LoadClient::receive(Connection& connection) {
  while (connection.fd.is_open()) {
    const Next next = connection.body_left > 0 ? read_body(connection) : read_head(connection);
    if (next == Next::Wait) return;
  }
}

LoadClient::Next LoadClient::read_head(Connection& connection) {
  const ssize_t got = ::recv(connection.fd.get(), buffer_.data(), first_read_bytes, 0);
  if (got <= 0)
    return got == 0 ? fail(connection, Fault::Closed), Next::Wait : receive_failed(connection);
  const auto got_bytes = static_cast<std::size_t>(got);
  const Next next = got_bytes < first_read_bytes ? Next::Wait : Next::Read;
  std::string_view bytes(buffer_.data(), got_bytes);
  std::string& partial = connection.partial_head;
  if (!partial.empty()) bytes = partial.append(bytes);
  const ResponseHead head = read_response_head(bytes);
  switch (head.state) {
    case HeadState::Incomplete:
      if (bytes.size() > max_head_bytes) return fail(connection, Fault::Head), Next::Wait;
      if (partial.empty()) partial.assign(bytes);
      return next;
    case HeadState::BadStatus:
      return fail(connection, Fault::Status), Next::Wait;
    case HeadState::BadLength:
      return fail(connection, Fault::Length), Next::Wait;
    case HeadState::Good:
      break;
  }
  if (!size_bytes_) size_bytes_ = head.content_length;
  const std::string_view body = bytes.substr(head.size_bytes);
  // More than was promised, or bytes that nobody asked for: the framing is lost.
  if (head.content_length != *size_bytes_ || body.size() > *size_bytes_ || !connection.waiting) {
    return fail(connection, Fault::Length), Next::Wait;
  }
  connection.body_left = head.content_length;
  if (!take_body(connection, body)) return Next::Wait;
  partial.clear();
  return next;
}

LoadClient::Next LoadClient::read_body(Connection& connection) {
  const std::size_t wanted = options_.verify
                                 ? std::min<std::uint64_t>(connection.body_left, buffer_.size())
                                 : connection.body_left;
  const ssize_t got = options_.verify ? ::recv(connection.fd.get(), buffer_.data(), wanted, 0)
                                      : ::recv(connection.fd.get(), nullptr, wanted, MSG_TRUNC);
  if (got <= 0)
    return got == 0 ? fail(connection, Fault::Closed), Next::Wait : receive_failed(connection);
  const auto got_bytes = static_cast<std::size_t>(got);
  const std::span<const char> bytes(options_.verify ? buffer_.data() : nullptr, got_bytes);
  if (!take_body(connection, bytes)) return Next::Wait;
  return got_bytes < wanted ? Next::Wait : Next::Read;
}

/// False when the bytes are wrong and the connection has been given up.
bool LoadClient::take_body(Connection& connection, std::span<const char> bytes) {
  if (options_.verify) {
    if (!is_position_coded(bytes, *size_bytes_ - connection.body_left)) {
      fail(connection, Fault::Content);
      return false;
    }
    verified_bytes_ += bytes.size();
  }
  window_->body_bytes += bytes.size();
  connection.body_left -= bytes.size();
  if (connection.body_left == 0) answered(connection);
  return true;
}

LoadClient::Next LoadClient::receive_failed(Connection& connection) {
  // EAGAIN: an earlier recv of the same wake-up took what this event announced. EINTR: a signal
  // that stopped and continued us. Anything else (ECONNRESET) ends the connection.
  if (errno == EAGAIN) return Next::Wait;
  if (errno == EINTR) return Next::Read;
  fail(connection, Fault::Socket);
  return Next::Wait;
}

void LoadClient::answered(Connection& connection) {
  ++settled_;
  connection.waiting = false;
  const std::int64_t now_ns = sys::monotonic_ns();
  const std::int64_t took_ns = now_ns - connection.asked_at_ns;
  window_->latency_ns.record(static_cast<std::uint64_t>(took_ns));
  window_->late += took_ns > late_ns ? 1 : 0;
  connection.due_at_ns += interval_ns_;
  if (interval_ns_ == 0) ask(connection, now_ns);
}

/// Counts the fault and goes on with a new connection, as long as there are not too many.
void LoadClient::fail(Connection& connection, Fault fault) {
  ++faults_[static_cast<std::size_t>(fault)];
  if (connection.waiting) ++settled_;
  connection.waiting = false;
  connection.fd.close();
  if (errors() > max_errors) return;
  if (connect(connection)) {
    ask(connection, sys::monotonic_ns());
  } else {
    ++faults_[static_cast<std::size_t>(Fault::Socket)];
    connection.fd.close();
  }
}

bool LoadClient::finished(std::int64_t now_ns) const {
  if (errors() > max_errors) return true;
  if (options_.requests > 0) return settled_ >= options_.requests;
  return static_cast<double>(now_ns - window_->opened_at_ns) >= options_.seconds * 1e9;
}

std::uint64_t LoadClient::errors() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : faults_) sum += count;
  return sum;
}

/// A request that never came back is in no percentile.
std::int64_t LoadClient::oldest_unanswered_ns() const {
  std::int64_t oldest_ns = 0;
  for (const Connection& connection : connections_) {
    if (!connection.waiting) continue;
    oldest_ns = std::max(oldest_ns, closed_at_ns_ - connection.asked_at_ns);
  }
  return oldest_ns;
}

std::pair<std::string, std::uint64_t> LoadClient::report() const {
  const double seconds = static_cast<double>(closed_at_ns_ - window_->opened_at_ns) / 1e9;
  const Histogram& latency = window_->latency_ns;
  const auto microseconds = [&](double fraction) {
    // No request was answered within the window (a body larger than the window is long).
    if (latency.count() == 0) return std::string("null");
    return fmt::format("{:.1f}", static_cast<double>(latency.percentile(fraction)) / 1e3);
  };
  std::string faults;
  for (std::size_t i = 0; i < faults_.size(); ++i) {
    faults += fmt::format("{}\"{}\":{}", i == 0 ? "" : ",", fault_names[i], faults_[i]);
  }
  return {
      fmt::format("{{\"connections\":{},\"requests\":{},\"body_bytes\":{},\"verified_bytes\":{},"
                  "\"seconds\":{:.6f},\"gbit_per_s\":{:.4f},\"requests_per_s\":{:.1f},"
                  "\"latency_us_closed_loop\":{{\"p50\":{},\"p90\":{},\"p99\":{},\"p99_9\":{},"
                  "\"max\":{}}},\"late\":{},\"oldest_unanswered_us\":{},"
                  "\"client_cpu_ns\":{},\"errors\":{},\"errors_by_kind\":{{{}}}}}",
                  connections_.size(), latency.count(), window_->body_bytes, verified_bytes_,
                  seconds, static_cast<double>(window_->body_bytes) * 8 / 1e9 / seconds,
                  static_cast<double>(latency.count()) / seconds, microseconds(0.5),
                  microseconds(0.9), microseconds(0.99), microseconds(0.999), microseconds(1),
                  window_->late, oldest_unanswered_ns() / 1000,
                  cpu_at_close_ns_ - window_->cpu_at_open_ns, errors(), faults),
      errors()};
}

void wait_for_end_of_input() {
  while (std::getchar() != EOF) {
  }
}

}  // namespace
}  // namespace pagewire::bench

int main(int argc, char** argv) {
  using namespace pagewire::bench;
  const std::optional<Options> options = parse_options(argc, argv);
  if (!options) return 2;
  LoadClient client(*options);
  if (!client.run()) return 1;
  const auto [json, errors] = client.report();
  std::puts(json.c_str());
  std::fflush(stdout);
  if (options->hold) wait_for_end_of_input();
  return errors == 0 ? 0 : 1;
}
