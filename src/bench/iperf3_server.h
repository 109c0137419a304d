// The iperf3 half of `bench send`: one test at a time, for unmodified iperf3 clients.
//
//   Server  takes connections, hears each one's cookie, and decides what it is
//   Peer    one connection: the control connection of a test, a data connection, or one to say no
//   to Test    the state machine of one test (iperf3_test.h)
//
// All on the loop's thread. A Test outlives its connections' calls; a connection that goes tells
// its test.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "bench/accept_failures.h"
#include "bench/send_source.h"
#include "loop/loop.h"

namespace pagewire::bench::iperf3 {

class Peer;
class Test;

struct Limits {
  std::size_t tests = 0;        ///< end after so many, done or not; 0: never
  std::size_t newcomers = 256;  ///< connections that have not said their cookie yet
  std::int64_t cookie_ms = 10'000;
  std::int64_t parameters_ms = 10'000;
  std::int64_t streams_ms = 20'000;     ///< until all data connections are there
  std::int64_t after_time_ms = 30'000;  ///< beyond -O and -t, until the client ends the test
  std::int64_t stall_ms = 60'000;       ///< nothing is acknowledged on any stream
  std::int64_t results_ms = 20'000;     ///< until the client's results, and until it is done
  std::int64_t farewell_ms = 5'000;     ///< until a client that was told no closes
};

class Server final : public loop::Acceptor {
 public:
  struct Parts {
    SendSource& source;
    loop::Loop& loop;
    int listener_fd;
  };
  Server(const Parts& parts, const Limits& limits);
  ~Server() override;

  void accepted(sys::Accepted connection) override;
  loop::AfterFailure accept_failed(Error error) override { return accept_failures_.meet(error); }
  void tick();     ///< about every 100 ms
  void cut_off();  ///< the command was stopped: ends the test that runs

  // For peers and tests:
  SendSource& source() { return source_; }
  loop::Loop& loop() { return loop_; }
  const Limits& limits() const { return limits_; }
  void greet(Peer& peer, const std::string& cookie);
  void newcomer_gone() { --newcomers_; }
  void test_over();

 private:
  SendSource& source_;
  loop::Loop& loop_;
  Limits limits_;
  std::unique_ptr<Test> test_;
  std::unique_ptr<Test> previous_;  // over, but perhaps still on the stack
  std::uint64_t accepted_ = 0;
  std::size_t newcomers_ = 0;
  std::size_t tests_over_ = 0;
  std::int64_t closing_ms_ = 0;  // when enough tests were over; 0: not yet
  AcceptFailures accept_failures_;
};

}  // namespace pagewire::bench::iperf3
