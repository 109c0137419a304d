// One connection of an iperf3 client: bytes in, bytes out, and whom they concern.
//
// Invariants: input_ is at most a JSON text and one receive, because a test either takes what comes
// or ends; a data connection has nothing to say in a reverse test, and what it says is dropped.
#include "bench/iperf3_peer.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/check.h"
#include "bench/iperf3_protocol.h"
#include "bench/iperf3_test.h"
#include "sys/plain_calls.h"
#include "sys/socket.h"

namespace pagewire::bench::iperf3 {

namespace {

// Of a client that was told no and goes on sending.
constexpr std::uint64_t most_dropped_bytes = 1 * mib;

}  // namespace

void Peer::become_control(Test& test) {
  role_ = Role::Control;
  test_ = &test;
}

void Peer::become_data(Test& test, StreamSender& sender) {
  role_ = Role::Data;
  test_ = &test;
  sender_ = &sender;
  input_.clear();
  server_.loop().set_deadline(*this, 0);
}

void Peer::received(std::span<const char> bytes) {
  switch (role_) {
    case Role::Newcomer: {
      input_.append(bytes.begin(), bytes.end());
      if (input_.size() < cookie_bytes) return;
      const std::string cookie = input_.substr(0, cookie_bytes);
      input_.erase(0, cookie_bytes);
      server_.greet(*this, cookie);
      // A client may send on without waiting for our word.
      if (role_ == Role::Control) test_->control_received(input_);
      return;
    }
    case Role::Control:
      input_.append(bytes.begin(), bytes.end());
      return test_->control_received(input_);
    case Role::Data:
      return;
    case Role::Leaving:
      dropped_bytes_ += bytes.size();
      if (dropped_bytes_ > most_dropped_bytes) drop();
      return;
    case Role::Gone:
      return;
  }
}

/// A client that is told to stop says so and exits: what it has not read makes the kernel send a
/// reset, of which the loop hears before it reads. What came before a reset can still be received.
void Peer::take_last_words() {
  std::array<char, 4'096> bytes;
  while (role_ == Role::Control) {
    const ssize_t n = sys::plain_recv(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n <= 0) return;  // 0: that was all; an error: the connection is broken, as is known
    received(std::span(bytes).first(static_cast<std::size_t>(n)));
  }
}

void Peer::failed(Error error) {
  take_last_words();
  // ECONNRESET, ETIMEDOUT, EHOSTUNREACH.
  gone(fmt::format("went away ({})", std::strerror(error.errno_value)));
}

void Peer::gone(const std::string& why) {
  switch (role_) {
    case Role::Newcomer:
      server_.source().complain(name_ + ": " + why + " before its cookie");
      server_.newcomer_gone();
      return retire();
    case Role::Control:
      return test_->control_gone(why);
    case Role::Data:
      test_->stream_gone(*sender_);
      return retire();
    case Role::Leaving:
      return retire();
    case Role::Gone:
      return;
  }
}

/// Completions of MSG_ZEROCOPY. The end of a stream does not wait for its last ones: the client's
/// clock runs, and what the kernel still holds is safe (egress/zero_copy_sends.h).
void Peer::notified() {
  if (role_ == Role::Data) sender_->take_completions();
}

void Peer::writable() {
  if (!output_.empty()) flush();
  if (role_ == Role::Data) test_->stream_turn(*sender_);
}

void Peer::timed_out() {
  switch (role_) {
    case Role::Newcomer:
      server_.source().complain(
          fmt::format("{}: no cookie for {} s", name_, server_.limits().cookie_ms / 1'000));
      server_.newcomer_gone();
      return leave({});
    case Role::Control:
      return test_->control_timed_out();
    case Role::Data:
      return test_->stream_turn(*sender_);  // the pace lets it go on
    case Role::Leaving:
      return drop();
    case Role::Gone:
      return;
  }
}

void Peer::send(std::string_view bytes) {
  output_.append(bytes);
  flush();
}

void Peer::flush() {
  const Result<ByteCount> sent = sys::send_some(fd(), output_);
  if (sent) output_.erase(0, sent->value);
  // EPIPE, ECONNRESET: the loop tells that by itself.
  if (!sent && sent.error().errno_value != EAGAIN) output_.clear();
  if (!output_.empty()) return server_.loop().await_writable(*this);
  if (role_ == Role::Leaving) sys::finish_sending(fd());
}

void Peer::leave(std::string_view last_words) {
  role_ = Role::Leaving;
  test_ = nullptr;
  input_ = {};
  set_timeout(server_.limits().farewell_ms);
  send(last_words);
}

void Peer::drop() {
  sys::abort_on_close(fd());
  retire();
}

void Peer::retire() {
  role_ = Role::Gone;
  server_.loop().retire(*this);
}

void Peer::set_timeout(std::int64_t ms) {
  server_.loop().set_deadline(*this, server_.loop().now_ms() + ms);
}

}  // namespace pagewire::bench::iperf3
