// Test: the state machine of one iperf3 test, on the server's side.
//
//   Parameters -> Streams -> Running -> Results -> Done -> Over
//       |            |          |          |         |
//       +------------+----------+----------+---------+--> Over, with a complaint
//
//   Parameters  waits for the client's JSON
//   Streams     waits for as many data connections as it said
//   Running     sends, until the client's TestEnd
//   Results     waits for the client's results; then says its own
//   Done        waits for IperfDone
// A timeout belongs to every state. When it is cut short, its data connections are reset. However
// it ends, its control connection is left or dropped; then Server::test_over() is called, once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/iperf3_protocol.h"
#include "bench/iperf3_server.h"
#include "bench/iperf3_stream.h"

namespace pagewire::bench::iperf3 {

class Test {
 public:
  Test(Server& server, Peer& control, std::string cookie);
  ~Test();
  void start();

  // From the server:
  bool waits_for_streams() const { return state_ == State::Streams; }
  bool takes_stream(const std::string& cookie) const {
    return waits_for_streams() && cookie == cookie_;
  }
  void add_stream(Peer& peer);
  void tick();
  void stop();

  // From its control connection: takes what it understands from the front of `input`.
  void control_received(std::string& input);
  void control_gone(const std::string& why);
  void control_timed_out();

  // From its data connections:
  void stream_turn(StreamSender& sender);
  void stream_gone(StreamSender& sender);

 private:
  enum class State : std::uint8_t { Parameters, Streams, Running, Results, Done, Over };
  struct CpuTime {
    double user_s = 0;
    double system_s = 0;
  };

  bool take_json(std::string& input);
  bool take_message(std::string& input);
  void begin_streams(std::string_view json);
  std::optional<Refusal> tune(int fd);
  std::optional<Refusal> set_congestion(int fd) const;
  void begin_running();
  void watch_running();
  void begin_counting();
  void end_running();
  void exchange_results(std::string_view json);
  std::string said(const std::string& received) const;
  void stream_ended(const egress::StepResult& result);
  void fail(const Refusal& refusal);
  void complain(const std::string& what);
  void end();

  double counted_seconds() const;
  std::uint64_t counted_bytes() const;
  std::uint64_t acknowledged_bytes() const;
  static CpuTime cpu_time();

  Server& server_;
  Peer* control_;
  std::string cookie_;
  State state_ = State::Parameters;
  Parameters parameters_;
  Ration ration_;
  std::vector<std::unique_ptr<StreamSender>> senders_;  // while Streams: as they said their cookie
  std::int64_t running_since_ns_ = 0;
  std::int64_t counting_since_ns_ = 0;
  std::int64_t ended_ns_ = 0;
  bool omitting_ = false;
  CpuTime cpu_before_;
  std::uint64_t acknowledged_before_ = 0;  // at the last look for a stall
  bool stream_lost_ = false;
  Results results_;
};

}  // namespace pagewire::bench::iperf3
