// Who is who among the connections of iperf3's clients.
//
// Invariants: one test at a time; a connection belongs to it only by its cookie; everybody else is
// told AccessDenied, as by iperf3's own server, and lingered over so that no RST overtakes it.
#include "bench/iperf3_server.h"

#include "bench/iperf3_peer.h"
#include "bench/iperf3_protocol.h"
#include "bench/iperf3_test.h"

namespace pagewire::bench::iperf3 {

Server::Server(const Parts& parts, const Limits& limits)
    : source_(parts.source),
      loop_(parts.loop),
      limits_(limits),
      accept_failures_(parts.source, parts.listener_fd) {}

Server::~Server() = default;

void Server::accepted(sys::Accepted connection) {
  accept_failures_.over();
  // Closes it.
  if (closing_ms_ != 0 || newcomers_ == limits_.newcomers) return;
  auto owned = std::make_unique<Peer>(*this, std::move(connection), ++accepted_);
  Peer& peer = *owned;
  if (Result<void> attached = loop_.attach(std::move(owned)); !attached) {
    return source_.complain("cannot take a connection: " + describe(attached.error()));
  }
  ++newcomers_;
  peer.set_timeout(limits_.cookie_ms);
}

void Server::greet(Peer& peer, const std::string& cookie) {
  newcomer_gone();
  if (!is_cookie(cookie)) {
    source_.complain(peer.name() + ": not iperf3: it sent no cookie");
    return peer.leave({});
  }
  if (test_ == nullptr && closing_ms_ == 0) {
    test_ = std::make_unique<Test>(*this, peer, cookie);
    return test_->start();
  }
  if (test_ != nullptr && test_->takes_stream(cookie)) return test_->add_stream(peer);
  const bool waiting = test_ != nullptr && test_->waits_for_streams();
  source_.complain(peer.name() + (waiting ? ": refused: not the cookie of the test that waits for "
                                            "its streams"
                                          : ": refused: another test is running"));
  peer.leave(message_bytes(Message::AccessDenied));
}

void Server::test_over() {
  previous_ = std::move(test_);
  ++tests_over_;
  if (tests_over_ == limits_.tests) closing_ms_ = loop_.now_ms();
}

void Server::tick() {
  if (test_ != nullptr) test_->tick();
  if (closing_ms_ == 0) return;
  // What was said last has arrived once its connection has gone.
  const bool waited = loop_.now_ms() >= closing_ms_ + limits_.farewell_ms;
  if (waited || loop_.stream_count() == 0) loop_.stop();
}

void Server::cut_off() {
  if (test_ != nullptr) test_->stop();
}

}  // namespace pagewire::bench::iperf3
