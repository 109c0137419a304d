// The states of a connection and what comes in. What goes out is in respond.cpp.
#include "server/connection.h"

#include <array>

#include "base/check.h"

namespace pagewire::server {

namespace {

// A pipelining client gets at most so many answers before the others have their turn.
constexpr std::uint32_t requests_per_turn = 64;

}  // namespace

Connection::Connection(Worker& worker, sys::Accepted accepted,
                       std::unique_ptr<tls::Session> session)
    : Stream(std::move(accepted.fd)),
      worker_(worker),
      peer_(accepted.peer),
      tls_(std::move(session)),
      state_(tls_ == nullptr ? State::ReadHead : State::Handshake),
      over_loopback_(accepted.peer.is_loopback()) {}

Connection::~Connection() {
  if (exchange_ != nullptr) close_exchange(false);
  if (state_ == State::Draining) worker_.metrics().connections_draining.subtract(1);
  if (tls_ != nullptr) worker_.metrics().tls.key_updates.add(tls_->key_updates());
  worker_.connection_closed();
}

void Connection::set_state(State next) {
  // Row: from; bits: the states that may follow.
  constexpr auto bit = [](State state) { return 1U << static_cast<unsigned>(state); };
  constexpr unsigned over = bit(State::Draining) | bit(State::Closed);
  constexpr std::array<unsigned, 9> edges = {
      /* ReadHead */ bit(State::Resolve) | bit(State::Respond) | bit(State::Linger) | over,
      /* Resolve  */ bit(State::ReadHead) | over,
      /* Respond  */ bit(State::ReadHead) | bit(State::Fetch) | bit(State::DropBody) |
          bit(State::Linger) | over,
      /* Fetch    */ bit(State::Respond) | over,
      /* DropBody */ bit(State::ReadHead) | bit(State::Linger) | over,
      /* Linger   */ over,
      /* Draining */ bit(State::Closed),
      /* Closed   */ 0,
      /* Handshake */ bit(State::ReadHead) | bit(State::Respond) | bit(State::Linger) | over,
  };
  PW_CHECK((edges[static_cast<std::size_t>(state_)] & bit(next)) != 0);
  state_ = next;
}

void Connection::start() {
  const bool in_handshake = state_ == State::Handshake;
  set_timeout(in_handshake ? worker_.settings().tls->handshake_timeout_ms
                           : worker_.settings().timeouts.idle_ms);
}

void Connection::set_timeout(std::int64_t from_now_ms) {
  worker_.loop().set_deadline(*this, worker_.loop().now_ms() + from_now_ms);
}

void Connection::received(std::span<const char> bytes) {
  begin_turn();
  answers_later_ = true;
  if (tls_ != nullptr) {
    take_records(bytes);
  } else {
    take({bytes.data(), bytes.size()});
  }
  answers_later_ = false;
  settle();
}

void Connection::take(std::string_view input) {
  if (pending_.empty()) {
    // The usual case: whole heads, parsed where they were received.
    const std::size_t used = consume(input);
    if (!is_over()) pending_.assign(input.substr(used));
  } else {
    pending_.append(input);
    consume_pending();
  }
}

void Connection::writable() {
  if (is_over()) return;
  begin_turn();
  if (fin_owed_) send_fin();
  if (state_ == State::Respond && !send_submitted_) run_transfer();
  if (state_ != State::Respond) consume_pending();
  settle();
}

void Connection::sent(Result<ByteCount> taken) {
  begin_turn();
  send_submitted_ = false;
  if (is_over()) {  // Draining: the answer's memory was waited for, too
    if (exchange_ != nullptr) close_exchange(false);
    return;
  }
  // After an error, and after a short send, the next step meets what stood in the way and tells it.
  if (taken) account(egress::after_send(exchange_->transfer, *taken));
  run_transfer();
  if (state_ != State::Respond) consume_pending();
  settle();
}

void Connection::ended() {
  // The client will send nothing more. A request it has sent is answered by now (reading is paused
  // until then), so what is left is at most a broken-off head or body.
  count_tls_end();
  if (fin_owed_) {  // what goes before our FIN has not all gone; then nothing is left to wait for
    linger_left_ = {};
    return;
  }
  close();
}

void Connection::failed(Error error) {
  if (state_ == State::Draining) return notified();  // the peer has gone, too
  if (state_ == State::Handshake) count_handshake(tls::Outcome::PeerGone);
  peer_gone_ = true;
  count_end(error.errno_value == ECONNRESET ? metrics::ConnectionEnd::PeerReset
                                            : metrics::ConnectionEnd::SocketError);
  close();
}

/// Completions of sends, in any state.
void Connection::notified() {
  take_completions();
  if (state_ == State::Draining && !socket_state_.busy()) bury();
}

void Connection::timed_out() {
  switch (state_) {
    case State::Handshake:
      count_handshake(tls::Outcome::Timeout);
      return close();
    case State::ReadHead:
      if (head_started_) {
        count_end(metrics::ConnectionEnd::HeadTimeout);
        refuse(http::Request{}, 408, "the request head took too long");
        return settle();
      }
      if (still_reading()) return;
      if (rate_watched_ && !draining_) {  // it has read the last response only just now
        rate_watched_ = false;
        return start();
      }
      if (!draining_) count_end(metrics::ConnectionEnd::IdleTimeout);
      return close();
    case State::Resolve:
      return give_name_up();
    case State::Fetch:  // the head has gone, or may have
      return break_off(metrics::ConnectionEnd::DiskTimeout);
    case State::Respond:
      // Not watched: the loop has the send only just now, and the deadline is the last state's.
      return rate_watched_ ? check_rate() : watch_rate();
    case State::DropBody:
      count_end(metrics::ConnectionEnd::HeadTimeout);
      return close();
    case State::Linger:
      if (fin_until_ms_ != 0 && fin_owed_) return send_fin();
      if (still_reading()) return;
      return close();
    case State::Draining:  // what the kernel still holds, it holds by references of its own
      return bury();
    case State::Closed:
      return;
  }
}

void Connection::drain() {
  draining_ = true;
  const bool idle = state_ == State::ReadHead && !head_started_ && pending_.empty();
  if (!idle && state_ != State::Handshake) return;
  // Idle, but a request may be on its way, or stand in the socket unread.
  constexpr std::int64_t grace_ms = 1'000;
  set_timeout(grace_ms);
}

bool Connection::cut_off() {
  if (state_ == State::Draining) {
    bury();
    return false;
  }
  if (exchange_ == nullptr) {
    close();
    return false;
  }
  break_off(metrics::ConnectionEnd::DrainTimeout);
  return true;
}

void Connection::begin_turn() {
  turn_bytes_ = {};
  turn_requests_ = 0;
  turn_given_up_ = false;
}

bool Connection::turn_is_over() const {
  return turn_bytes_ >= worker_.settings().limits.quantum || turn_requests_ >= requests_per_turn;
}

/// After any turn: reading goes on unless a response is under way or the turn was given up.
void Connection::settle() {
  if (is_over()) return;
  // Of a response only its transfer sends, because it counts what has gone.
  const bool mid_response = state_ == State::Respond || state_ == State::Fetch;
  if (tls_ != nullptr && !mid_response && tls_->wants_flush()) flush_tls();
  if (is_over()) return;
  if (peer_is_done()) return close();
  if (pending_.empty() && pending_.capacity() > 0) std::string().swap(pending_);
  const bool pause = exchange_ != nullptr || turn_given_up_;
  if (pause == paused_) return;
  paused_ = pause;
  if (pause) {
    worker_.loop().pause_reading(*this);
  } else {
    worker_.loop().resume_reading(*this);
  }
}

void Connection::consume_pending() {
  if (is_over()) return;
  const std::size_t used = consume(pending_);
  if (!is_over()) pending_.erase(0, used);
}

/// Takes as many bytes as the states want; returns how many.
std::size_t Connection::consume(std::string_view input) {
  std::size_t used = 0;
  while (used < input.size()) {
    const std::string_view rest = input.substr(used);
    switch (state_) {
      case State::ReadHead: {
        if (turn_is_over()) {
          turn_given_up_ = true;
          worker_.loop().yield(*this);
          return used;
        }
        const std::size_t taken = read_head(rest);
        if (taken == 0) return used;
        used += taken;
        break;
      }
      case State::DropBody:
        used += drop_body(rest);
        break;
      case State::Linger:
        used += linger_over(rest);
        break;
      case State::Resolve:
      case State::Respond:
      case State::Fetch:
      case State::Draining:
      case State::Closed:
      case State::Handshake:
        return used;
    }
  }
  return used;
}

/// One head, if it is complete: parses it and starts the response. 0 when more bytes are needed, or
/// when it has to be read again once the disk has said what its name leads to.
std::size_t Connection::read_head(std::string_view input) {
  const http::HeadLimits& limits = worker_.settings().limits.head;
  const http::HeadScan scan = http::scan_head(input, scan_resume_, limits);
  if (scan.state == http::HeadScan::State::Incomplete) {
    scan_resume_ = scan.resume;
    if (!head_started_) {
      head_started_ = true;
      set_timeout(worker_.settings().timeouts.head_ms);
    }
    return 0;
  }
  scan_resume_ = 0;
  head_started_ = false;
  if (scan.state != http::HeadScan::State::Complete) return refuse_scan(scan.state, input);

  http::Request request;
  const std::string_view head = input.substr(scan.leading, scan.end - scan.leading);
  const http::HeadFault fault = http::parse_head(head, limits, request);
  if (fault.status != 0) {
    refuse(request, fault.status, fault.why);
    return input.size();
  }
  return respond_to(request) ? scan.end : 0;
}

/// No head can be made out, nor where the next one would start: everything that came is dropped.
std::size_t Connection::refuse_scan(http::HeadScan::State found, std::string_view input) {
  switch (found) {
    case http::HeadScan::State::Malformed:
      refuse(http::Request{}, 400, "the request head is malformed");
      break;
    case http::HeadScan::State::TargetTooLong:
      refuse(http::Request{}, 414, "the request target is too long");
      break;
    case http::HeadScan::State::TooLarge:
      refuse(http::Request{}, 431, "the request head is too large");
      break;
    case http::HeadScan::State::Incomplete:
    case http::HeadScan::State::Complete:
      PW_CHECK(false);
  }
  return input.size();
}

std::size_t Connection::drop_body(std::string_view input) {
  const ByteCount dropped = std::min(unread_body_, ByteCount{input.size()});
  unread_body_ -= dropped;
  if (unread_body_.value > 0) return dropped.value;
  if (draining_) {
    begin_linger();
  } else {
    set_state(State::ReadHead);
    start();
  }
  return dropped.value;
}

std::size_t Connection::linger_over(std::string_view input) {
  if (input.size() >= linger_left_.value) {
    close();
  } else {
    linger_left_ -= ByteCount{input.size()};
  }
  return input.size();
}

}  // namespace pagewire::server
