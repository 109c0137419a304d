// LoadClient: an HTTP/1.1 keep-alive load client over any Wire (load/plain_wire.h).
//
// One thread, N connections, closed loop: a connection asks again as soon as it has its answer, so
// latency here says how long an answer takes at saturation, not at a rate of arrival. With -r each
// connection asks at fixed moments, and latency counts from them, whether or not the answer before
// was late: a server that stands still is charged for all who would have asked meanwhile. The head
// of every response is read and checked and the body is thrown away, so that the server stays the
// bottleneck. With --verify it is read and every byte is checked.
//
// A wire that has gone blind (TLS without decrypting) only counts: its answers have to be as long
// as its first one was, head and body together, to the byte.
//
// Prints "begin" when the measured window opens and one line of JSON when it closes, before any
// connection is closed: whoever samples the server's CPU does it on these two lines.
//
// Invariant: a connection has at most one request outstanding, so bytes beyond Content-Length are
// an error. Edge-triggered epoll is safe because a recv(2) that returns less than asked has emptied
// the queue (epoll(7), question 9).
#pragma once

#include <fmt/core.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "load/options.h"
#include "load/plain_wire.h"
#include "load/position_code.h"
#include "load/response_head.h"
#include "load/window.h"
#include "sys/clock.h"
#include "sys/fd.h"

namespace pagewire::bench {

// The head and a small body in one recv; of a large body little is copied.
inline constexpr std::size_t first_read_bytes = 2048;
inline constexpr std::size_t max_head_bytes = 16 * 1024;
inline constexpr std::size_t verify_read_bytes = 256 * 1024;
inline constexpr std::int64_t late_ns = 10'000'000;  // a slower answer is counted as late

enum class Fault { Status, Length, Head, Content, Closed, Socket, Stalled };
inline constexpr std::array<const char*, 7> fault_names = {"status", "length", "head",   "content",
                                                           "closed", "socket", "stalled"};

template <class Wire>
class LoadClient {
 public:
  LoadClient(const Options& options, typename Wire::Context& context)
      : options_(options),
        context_(context),
        size_bytes_(options.size_bytes),
        connections_(options.connections),
        buffer_(options.verify || options.sample ? verify_read_bytes : first_read_bytes) {}

  /// False when it could not even connect; a line on stderr then says why.
  bool run();
  /// The JSON line; the second value is the number of errors.
  std::pair<std::string, std::uint64_t> report() const;

 private:
  enum class Next { Read, Wait };

  struct Connection {
    Wire wire;
    const Target* target = nullptr;
    bool waiting = false;          // for the answer to a request
    bool verifies = false;         // the bytes of its bodies
    bool goes_blind = false;       // behind its first answer
    std::uint64_t head_bytes = 0;  // of the last answer whose head was read
    std::uint64_t head_left = 0;   // of a head that is only counted
    std::uint64_t body_left = 0;   // and no head left: the head comes next
    std::int64_t asked_at_ns = 0;
    std::int64_t due_at_ns = 0;  // -r: of the request that is under way, or comes next
    std::string partial_head;
  };

  bool connect(Connection& connection);
  void begin();
  std::int64_t ask_those_due(std::int64_t now_ns);
  void ask(Connection& connection, std::int64_t now_ns);
  void receive(Connection& connection);
  Next read_head(Connection& connection);
  Next read_body(Connection& connection);
  bool take_body(Connection& connection, std::string_view bytes, std::size_t count);
  Next ended(Connection& connection, Got::Kind kind);
  void answered(Connection& connection);
  void fail(Connection& connection, Fault fault);
  bool finished(std::int64_t now_ns) const;
  std::uint64_t errors() const;

  std::int64_t oldest_unanswered_ns() const;

  const Options& options_;
  typename Wire::Context& context_;
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

template <class Wire>
bool LoadClient<Wire>::run() {
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    connections_[i].target = &options_.targets[i % options_.targets.size()];
    if (!connect(connections_[i])) {
      std::perror("cannot connect");
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

template <class Wire>
bool LoadClient<Wire>::connect(Connection& connection) {
  const auto index = static_cast<std::size_t>(&connection - connections_.data());
  connection.goes_blind = options_.sample && index >= *options_.sample;
  connection.verifies = options_.verify || options_.sample;
  connection.head_left = connection.body_left = 0;
  connection.partial_head.clear();
  if (!connection.wire.connect(context_, connection.target->address)) return false;
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data = {.ptr = &connection}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.wire.fd(), &event) == 0;
}

template <class Wire>
void LoadClient<Wire>::begin() {
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
template <class Wire>
std::int64_t LoadClient<Wire>::ask_those_due(std::int64_t now_ns) {
  std::int64_t wait_ns = 50'000'000;
  if (interval_ns_ == 0) return wait_ns;
  for (Connection& connection : connections_) {
    if (connection.waiting || !connection.wire.is_open()) continue;
    if (connection.due_at_ns <= now_ns) {
      ask(connection, connection.due_at_ns);
    } else {
      wait_ns = std::min(wait_ns, connection.due_at_ns - now_ns);
    }
  }
  return wait_ns;
}

template <class Wire>
void LoadClient<Wire>::ask(Connection& connection, std::int64_t now_ns) {
  if (options_.requests > 0 && asked_ == options_.requests) return;
  ++asked_;
  connection.waiting = true;
  connection.asked_at_ns = now_ns;
  if (connection.wire.is_blind()) {
    connection.head_left = connection.head_bytes;
    connection.body_left = *size_bytes_;
  }
  if (!connection.wire.send(connection.target->request)) fail(connection, Fault::Socket);
}

template <class Wire>
void LoadClient<Wire>::receive(Connection& connection) {
  while (connection.wire.is_open()) {
    const bool in_body = connection.body_left > 0 || connection.wire.is_blind();
    const Next next = in_body ? read_body(connection) : read_head(connection);
    if (next == Next::Wait) return;
  }
}

template <class Wire>
auto LoadClient<Wire>::read_head(Connection& connection) -> Next {
  const Got got = connection.wire.read({buffer_.data(), first_read_bytes});
  if (got.kind != Got::Kind::Bytes) return ended(connection, got.kind);
  const Next next = got.drained ? Next::Wait : Next::Read;
  std::string_view bytes(buffer_.data(), got.bytes);
  if (bytes.empty()) return next;
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
  connection.head_bytes = head.size_bytes;
  connection.body_left = head.content_length;
  if (!take_body(connection, body, body.size())) return Next::Wait;
  partial.clear();
  return next;
}

template <class Wire>
auto LoadClient<Wire>::read_body(Connection& connection) -> Next {
  const std::uint64_t left = connection.head_left + connection.body_left;
  const std::size_t at_most = connection.verifies ? std::min(left, buffer_.size()) : left;
  const Got got = connection.verifies ? connection.wire.read({buffer_.data(), at_most})
                                      : connection.wire.skip(at_most);
  if (got.kind != Got::Kind::Bytes) return ended(connection, got.kind);
  // Bytes that nobody asked for; only a blind wire can take more than it was asked to.
  if (got.bytes > left) return fail(connection, Fault::Length), Next::Wait;
  const std::size_t of_head = std::min(got.bytes, connection.head_left);
  connection.head_left -= of_head;
  const std::string_view bytes(buffer_.data(), connection.verifies ? got.bytes : 0);
  if (!take_body(connection, bytes, got.bytes - of_head)) return Next::Wait;
  return got.drained ? Next::Wait : Next::Read;
}

/// `bytes` are the `count` ones of the body, where they are to be verified. False when they are
/// wrong and the connection has been given up.
template <class Wire>
bool LoadClient<Wire>::take_body(Connection& connection, std::string_view bytes,
                                 std::size_t count) {
  if (connection.verifies) {
    if (!is_position_coded(bytes, *size_bytes_ - connection.body_left)) {
      fail(connection, Fault::Content);
      return false;
    }
    verified_bytes_ += count;
  }
  window_->body_bytes += count;
  connection.body_left -= count;
  const bool whole = connection.body_left == 0 && connection.head_left == 0;
  if (whole && connection.waiting) answered(connection);
  return true;
}

template <class Wire>
auto LoadClient<Wire>::ended(Connection& connection, Got::Kind kind) -> Next {
  if (kind == Got::Kind::Closed) fail(connection, Fault::Closed);
  if (kind == Got::Kind::Failed) fail(connection, Fault::Socket);
  return Next::Wait;
}

template <class Wire>
void LoadClient<Wire>::answered(Connection& connection) {
  ++settled_;
  connection.waiting = false;
  const std::int64_t now_ns = sys::monotonic_ns();
  const std::int64_t took_ns = now_ns - connection.asked_at_ns;
  window_->latency_ns.record(static_cast<std::uint64_t>(took_ns));
  window_->late += took_ns > late_ns ? 1 : 0;
  connection.due_at_ns += interval_ns_;
  if (connection.goes_blind && !connection.wire.is_blind()) {
    // False: bytes behind the answer, which nobody asked for.
    if (!connection.wire.go_blind()) return fail(connection, Fault::Length);
    connection.verifies = false;
  }
  if (interval_ns_ == 0) ask(connection, now_ns);
}

/// Counts the fault and goes on with a new connection, as long as there are not too many.
template <class Wire>
void LoadClient<Wire>::fail(Connection& connection, Fault fault) {
  ++faults_[static_cast<std::size_t>(fault)];
  if (connection.waiting) ++settled_;
  connection.waiting = false;
  connection.wire.close();
  if (errors() > max_errors) return;
  if (connect(connection)) {
    ask(connection, sys::monotonic_ns());
  } else {
    ++faults_[static_cast<std::size_t>(Fault::Socket)];
    connection.wire.close();
  }
}

template <class Wire>
bool LoadClient<Wire>::finished(std::int64_t now_ns) const {
  if (errors() > max_errors) return true;
  if (options_.requests > 0) return settled_ >= options_.requests;
  return static_cast<double>(now_ns - window_->opened_at_ns) >= options_.seconds * 1e9;
}

template <class Wire>
std::uint64_t LoadClient<Wire>::errors() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : faults_) sum += count;
  return sum;
}

/// A request that never came back is in no percentile.
template <class Wire>
std::int64_t LoadClient<Wire>::oldest_unanswered_ns() const {
  std::int64_t oldest_ns = 0;
  for (const Connection& connection : connections_) {
    if (!connection.waiting) continue;
    oldest_ns = std::max(oldest_ns, closed_at_ns_ - connection.asked_at_ns);
  }
  return oldest_ns;
}

template <class Wire>
std::pair<std::string, std::uint64_t> LoadClient<Wire>::report() const {
  const double seconds = static_cast<double>(closed_at_ns_ - window_->opened_at_ns) / 1e9;
  const Histogram& latency = window_->latency_ns;
  return {fmt::format(
              "{{\"connections\":{},\"requests\":{},\"body_bytes\":{},\"verified_bytes\":{},"
              "\"seconds\":{:.6f},\"gbit_per_s\":{:.4f},\"requests_per_s\":{:.1f},"
              "\"latency_us_closed_loop\":{},\"late\":{},\"oldest_unanswered_us\":{},"
              "\"client_cpu_ns\":{},\"errors\":{},\"errors_by_kind\":{}}}",
              connections_.size(), latency.count(), window_->body_bytes, verified_bytes_, seconds,
              static_cast<double>(window_->body_bytes) * 8 / 1e9 / seconds,
              static_cast<double>(latency.count()) / seconds, latency_json(latency), window_->late,
              oldest_unanswered_ns() / 1000, cpu_at_close_ns_ - window_->cpu_at_open_ns, errors(),
              counts_json(fault_names, faults_)),
          errors()};
}

/// main of a load client: run, report, hold. The exit status.
template <class Wire>
int run_load(const Options& options, typename Wire::Context& context) {
  LoadClient<Wire> client(options, context);
  if (!client.run()) return 1;
  const auto [json, errors] = client.report();
  std::puts(json.c_str());
  std::fflush(stdout);
  if (options.hold) {
    while (std::getchar() != EOF) {
    }
  }
  return errors == 0 ? 0 : 1;
}

}  // namespace pagewire::bench
