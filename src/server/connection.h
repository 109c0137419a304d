// Connection: one client, from its first byte to its last.
//
//      ReadHead <--------------------+
//         | head complete            |
//         v                          | keep-alive
//      Respond ----------------------+
//         |  \-- the request had a body --> DropBody --+ (back to ReadHead, or Linger)
//         |
//         | the last answer
//         v
//      Linger (answer and FIN sent; reading on, so that no RST overtakes the answer)
//         |
//         v                                  any state -> Closed
//      Closed
//
// Owns the socket (through Stream), the bytes received and not yet parsed, and, while a response is
// under way, an Exchange. An idle connection holds neither buffer nor Exchange. Invariant: reading
// is paused exactly while a response is under way or a turn was given up, so at most one receive
// buffer of pipelined requests is held.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "loop/loop.h"
#include "server/worker.h"

namespace pagewire::server {

class Connection final : public loop::Stream {
 public:
  Connection(Worker& worker, sys::Accepted accepted);
  ~Connection() override;

  /// Once attached: starts the idle clock.
  void start();
  /// Once attached, instead of start(): answers 503 before reading anything, and closes.
  void refuse_busy();
  /// The server is shutting down: an idle connection closes after a
  /// second of grace, others after their response.
  void drain();
  /// Time is up: closes whatever is under way. True when that cut a response off.
  bool cut_off();

  void received(std::span<const char> bytes) override;
  void ended() override;
  void writable() override;
  void sent(Result<ByteCount> taken) override;
  void timed_out() override;
  void failed(Error error) override;

 private:
  enum class State : std::uint8_t { ReadHead, Respond, DropBody, Linger, Closed };
  void set_state(State next);

  // Input (connection.cpp)
  void begin_turn();
  bool turn_is_over() const;
  void consume_pending();
  std::size_t consume(std::string_view input);
  std::size_t read_head(std::string_view input);
  std::size_t refuse_scan(http::HeadScan::State found, std::string_view input);
  std::size_t drop_body(std::string_view input);
  std::size_t linger_over(std::string_view input);
  void settle();
  void set_timeout(std::int64_t from_now_ms);

  // Output (respond.cpp)
  void respond_to(const http::Request& request);
  void refuse(const http::Request& request, int status, const char* why);
  void open_exchange(const http::Request& request);
  void start_transfer();
  bool submit_transfer();
  void run_transfer();
  void account(const egress::StepResult& result);
  void wait_for_room();
  void finish_response();
  void close_exchange(bool complete);
  void write_log(bool complete, std::int64_t duration_ns);
  void after_response();
  void limit_unsent();
  std::uint64_t acknowledged_now() const;
  void watch_rate();
  void check_rate();
  bool still_reading();
  void break_off(metrics::ConnectionEnd why);
  void begin_linger();
  void close();
  void count_end(metrics::ConnectionEnd why);

  Worker& worker_;
  sys::Address peer_;
  std::string pending_;           // received, not parsed; no heap memory while empty
  std::size_t scan_resume_ = 0;   // how far the current head has been scanned for its end
  Exchange* exchange_ = nullptr;  // in Respond only
  ByteCount unread_body_;         // of the request, still to be dropped
  ByteCount linger_left_;
  std::uint64_t sent_bytes_ = 0;    // on this connection, heads included
  std::uint64_t acknowledged_ = 0;  // of them, when the rate window began
  std::uint64_t requests_ = 0;
  ByteCount turn_bytes_;  // sent since this turn began
  std::uint32_t turn_requests_ = 0;
  State state_ = State::ReadHead;
  bool head_started_ = false;    // ReadHead: its first byte is here
  bool send_submitted_ = false;  // Respond: the loop has the response, the Exchange must stay
  bool close_after_ = false;     // this response is the last
  bool linger_after_ = false;    // and the client may still be sending
  bool draining_ = false;
  bool rate_watched_ = false;    // the rate window is open
  bool unsent_limited_ = false;  // TCP_NOTSENT_LOWAT is set
  bool turn_given_up_ = false;
  bool paused_ = false;  // reading; writable() will come
};

}  // namespace pagewire::server
