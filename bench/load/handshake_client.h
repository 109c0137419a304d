// HandshakeClient: connect, handshake, close, and again, on N connections at once. Full ones, or
// resumed by a ticket that was got before.
//
// One counts when the server has closed: after its Finished the client sends close_notify and a
// FIN, and waits for the server's, so that the server has done the whole handshake, tickets
// included, and has cleaned up. Latency is from connect to there.
//
// Prints "begin" and one line of JSON as LoadClient does.
#pragma once

#include <sys/epoll.h>

#include "load/options.h"
#include "load/tls_context.h"
#include "load/tls_wire.h"
#include "load/window.h"

namespace pagewire::bench {

enum class HandshakeFault { Connect, Handshake, Kind, Close, Stalled };
inline constexpr std::array<const char*, 5> handshake_fault_names = {"connect", "handshake", "kind",
                                                                     "close", "stalled"};

class HandshakeClient {
 public:
  HandshakeClient(const Options& options, TlsContext& context)
      : options_(options), context_(context), attempts_(options.connections) {}

  /// The exit status: 1 when nothing could be measured, or when there were errors.
  int run();

 private:
  struct Attempt {
    sys::Fd fd;
    Ssl ssl;  // null: the handshake is made, the server's FIN is waited for
    std::int64_t began_at_ns = 0;
  };

  bool get_ticket();
  void start(Attempt& attempt);
  void go_on(Attempt& attempt);
  bool shake_hands(Attempt& attempt);
  void finish(Attempt& attempt);
  void fail(Attempt& attempt, HandshakeFault fault);
  bool finished(std::int64_t now_ns) const;
  std::uint64_t errors() const;
  void report() const;

  bool resumes() const { return options_.handshakes == Handshakes::Resumed; }

  const Options& options_;
  TlsContext& context_;
  sys::Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::vector<Attempt> attempts_;
  Window window_;
  std::array<std::uint64_t, handshake_fault_names.size()> faults_{};
  std::uint64_t done_ = 0;
};

inline int HandshakeClient::run() {
  if (resumes() && !get_ticket()) return 1;
  for (Attempt& attempt : attempts_) start(attempt);
  const auto warm_up_ns = static_cast<std::int64_t>(options_.warm_up_seconds * 1e9);
  const std::int64_t warm_at_ns = sys::monotonic_ns() + warm_up_ns;
  bool warm = false;
  std::int64_t last_event_ns = sys::monotonic_ns();
  std::array<epoll_event, 64> events;
  for (;;) {
    const std::int64_t now_ns = sys::monotonic_ns();
    if (!warm && now_ns >= warm_at_ns) {
      warm = true;
      window_ = Window();
      std::puts("begin");
      std::fflush(stdout);
    }
    if (warm && finished(now_ns)) break;
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 50);
    if (count > 0) last_event_ns = now_ns;
    if (now_ns - last_event_ns > stall_limit_ms * 1'000'000) {
      ++faults_[static_cast<std::size_t>(HandshakeFault::Stalled)];
      break;
    }
    for (int i = 0; i < count; ++i) go_on(*static_cast<Attempt*>(events[i].data.ptr));
  }
  report();
  return errors() == 0 ? 0 : 1;
}

inline bool HandshakeClient::get_ticket() {
  const sys::Address& address = options_.targets.front().address;
  const sys::Fd fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), address.raw(), address.raw_size()) != 0) {
    std::perror("cannot connect");
    return false;
  }
  const Ssl ssl = context_.session_on(fd.get());
  if (!ssl || SSL_connect(ssl.get()) != 1 || ::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) {
    complain_of_tls("no handshake");
    return false;
  }
  const bool has_ticket = context_.wait_for_ticket(ssl.get());
  if (!has_ticket) std::fputs("bench_load_tls: the server gives no ticket\n", stderr);
  SSL_shutdown(ssl.get());
  return has_ticket;
}

inline void HandshakeClient::start(Attempt& attempt) {
  const sys::Address& address = options_.targets.front().address;
  attempt.began_at_ns = sys::monotonic_ns();
  attempt.fd =
      sys::Fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int fd = attempt.fd.get();
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &attempt}};
  // EADDRNOTAVAIL: every port is in TIME_WAIT.
  if (fd < 0 || !sys::set_no_delay(fd) ||
      (::connect(fd, address.raw(), address.raw_size()) != 0 && errno != EINPROGRESS) ||
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail(attempt, HandshakeFault::Connect);
  }
  attempt.ssl = context_.session_on(fd);
  if (resumes()) SSL_set_session(attempt.ssl.get(), context_.copy_of_ticket().get());
}

inline void HandshakeClient::go_on(Attempt& attempt) {
  if (!attempt.fd.is_open()) return;  // given up
  if (attempt.ssl && !shake_hands(attempt)) return;
  for (;;) {
    // Tickets and the server's close_notify: they are of no interest any more.
    const Got got = received(::recv(attempt.fd.get(), nullptr, 1 << 16, MSG_TRUNC), 1 << 16);
    if (got.kind == Got::Kind::Nothing) return;
    if (got.kind == Got::Kind::Closed) return finish(attempt);
    if (got.kind == Got::Kind::Failed) return fail(attempt, HandshakeFault::Close);
  }
}

/// True when it is made and the goodbye has been said.
inline bool HandshakeClient::shake_hands(Attempt& attempt) {
  SSL* ssl = attempt.ssl.get();
  const int result = SSL_do_handshake(ssl);
  if (result != 1) {
    const int why = SSL_get_error(ssl, result);
    ERR_clear_error();
    // WANT_WRITE: not connected yet.
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      fail(attempt, HandshakeFault::Handshake);
    }
    return false;
  }
  if ((SSL_session_reused(ssl) == 1) != resumes()) {
    fail(attempt, HandshakeFault::Kind);
    return false;
  }
  SSL_shutdown(ssl);
  attempt.ssl.reset();
  sys::finish_sending(attempt.fd.get());
  return true;
}

inline void HandshakeClient::finish(Attempt& attempt) {
  const std::int64_t took_ns = sys::monotonic_ns() - attempt.began_at_ns;
  window_.latency_ns.record(static_cast<std::uint64_t>(took_ns));
  ++done_;
  start(attempt);
}

inline void HandshakeClient::fail(Attempt& attempt, HandshakeFault fault) {
  ++faults_[static_cast<std::size_t>(fault)];
  attempt.ssl.reset();
  attempt.fd.close();
  if (errors() <= max_errors) start(attempt);
}

inline bool HandshakeClient::finished(std::int64_t now_ns) const {
  if (errors() > max_errors) return true;
  if (options_.requests > 0) return done_ >= options_.requests;
  return static_cast<double>(now_ns - window_.opened_at_ns) >= options_.seconds * 1e9;
}

inline std::uint64_t HandshakeClient::errors() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : faults_) sum += count;
  return sum;
}

inline void HandshakeClient::report() const {
  const std::int64_t cpu_ns = own_cpu_ns() - window_.cpu_at_open_ns;
  const double seconds = static_cast<double>(sys::monotonic_ns() - window_.opened_at_ns) / 1e9;
  const std::uint64_t count = window_.latency_ns.count();
  fmt::print(
      "{{\"connections\":{},\"handshakes\":{},\"seconds\":{:.6f},\"handshakes_per_s\":{:.1f},"
      "\"latency_us_closed_loop\":{},\"client_cpu_ns\":{},\"errors\":{},\"errors_by_kind\":{}}}\n",
      attempts_.size(), count, seconds, static_cast<double>(count) / seconds,
      latency_json(window_.latency_ns), cpu_ns, errors(),
      counts_json(handshake_fault_names, faults_));
  std::fflush(stdout);
}

}  // namespace pagewire::bench
