// Connection: one client, from its first byte to its last.
//
//      Handshake (https only)
//         |
//         v
//      ReadHead <--------------------+  <---> Resolve: only the disk knows what the name leads to;
//         | head complete            |        a helper asks it, then the head is read again
//         v                          | keep-alive
//      Respond ----------------------+  <---> Fetch: the next pages are on the disk; a helper reads
//         |                                   them
//         |  \-- the request had a body --> DropBody --+ (back to ReadHead, or Linger)
//         |
//         | the last answer
//         v
//      Linger (answer and FIN sent; reading on, so that no RST overtakes the answer)
//         |
//         v                       any state -> Draining (the kernel still reads memory of ours)
//      Closed                     any state -> Closed
//
// Draining keeps the socket for the completions of MSG_ZEROCOPY, in a connection that is over for
// the peer: it has been reset, or everything and the FIN are queued. It ends in Closed when the
// last one has come, or after Timeouts::release_ms. Closing then is safe: the memory is pages of
// files, to which the kernel has references of its own (egress/zero_copy_sends.h).
//
// Owns the socket (through Stream) and what sends leave on it, the bytes received and not yet
// parsed, and, while a response is under way, an Exchange. An idle connection holds neither buffer
// nor Exchange. Invariant: reading is paused exactly while a response is under way, the disk is
// waited for, or a turn was given up, so what is held of pipelined requests is bounded: by a
// receive buffer on epoll, by what the completions of one pass hold on io_uring
// (loop/uring_loop.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "loop/loop.h"
#include "server/disk.h"
#include "server/worker.h"
#include "tls/tls.h"

namespace pagewire::server {

class Connection final : public loop::Stream, private DiskWaiter {
 public:
  /// `session`: of https, else nullptr.
  Connection(Worker& worker, sys::Accepted accepted, std::unique_ptr<tls::Session> session);
  ~Connection() override;

  /// Once attached: starts the clock of the state.
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
  void notified() override;

 private:
  enum class State : std::uint8_t {
    ReadHead,
    Resolve,
    Respond,
    Fetch,
    DropBody,
    Linger,
    Draining,
    Closed,
    Handshake,
  };
  void set_state(State next);
  bool is_over() const { return state_ == State::Draining || state_ == State::Closed; }

  // Input (connection.cpp)
  void take(std::string_view input);
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

  // TLS (secure.cpp)
  void take_records(std::span<const char> bytes);
  bool shake_hands();
  void established();
  void refuse_plain_http();
  void tls_failed();
  void count_handshake(tls::Outcome outcome);
  void count_tls_end();
  bool flush_tls();
  bool say_goodbye();
  bool wait_for_kernel();
  void send_fin();
  bool peer_is_done() const;
  bool key_is_worn() const;
  egress::Transport transport();

  // Waiting for the disk (wait_for_disk.cpp)
  void pages_fetched(ByteRange range, const Result<ByteCount>& read) override;
  void name_resolved(const content::FoundName& found) override;
  void wait_for_name();
  void give_name_up();
  void wait_for_pages(const egress::WantedPages& pages);
  void begin_ahead();
  void read_ahead();
  bool disk_is_read() const;
  void wait_for_disk_on(bool moved);

  // Output (respond.cpp)
  bool respond_to(const http::Request& request);
  void refuse(const http::Request& request, int status, const char* why);
  void take_exchange(const http::Request& request);
  void start_transfer();
  bool submit_transfer();
  void run_transfer();
  static void woken(void* self);
  void account(const egress::StepResult& result);
  void wait_for_room();
  void finish_response();
  void close_exchange(bool complete);
  void give_back_exchange();
  void write_log(bool complete, std::int64_t duration_ns);
  void after_response();
  void limit_unsent();
  std::uint64_t acknowledged_now() const;
  void watch_rate();
  void check_rate();
  bool still_reading();
  void break_off(metrics::ConnectionEnd why);
  void begin_linger();
  /// How the peer learns that the connection is over.
  enum class Farewell : std::uint8_t { Fin, Reset };
  void close(Farewell farewell = Farewell::Fin);
  void ask_tcp();
  void begin_draining(Farewell farewell);
  void take_completions();
  void bury();
  void count_end(metrics::ConnectionEnd why);

  Worker& worker_;
  sys::Address peer_;
  egress::SocketState socket_state_;
  std::unique_ptr<tls::Session> tls_;  // https
  std::string pending_;                // received, not parsed; no heap memory while empty
  std::size_t scan_resume_ = 0;        // how far the current head has been scanned for its end
  Exchange* exchange_ = nullptr;       // in Resolve, Respond and Fetch, and on the way between them
  ByteCount unread_body_;              // of the request, still to be dropped
  ByteCount linger_left_;
  std::uint64_t sent_bytes_ = 0;    // on this connection, heads included
  std::uint64_t acknowledged_ = 0;  // of them, when the rate window began
  std::uint64_t requests_ = 0;
  ByteCount turn_bytes_;  // sent since this turn began
  std::uint32_t turn_requests_ = 0;
  State state_;
  bool head_started_ = false;    // ReadHead: its first byte is here
  bool send_submitted_ = false;  // Respond: the loop has the response, the Exchange must stay
  bool close_after_ = false;     // this response is the last
  bool linger_after_ = false;    // and the client may still be sending
  bool draining_ = false;
  bool rate_watched_ = false;    // the rate window is open
  bool unsent_limited_ = false;  // TCP_NOTSENT_LOWAT is set
  bool turn_given_up_ = false;
  bool paused_ = false;  // reading; writable() will come
  // In received(): the answer waits until the requests of all connections that have one in this
  // round are read, so that the answers leave one right behind the other. A client that is still
  // busy with the first ones then needs no waking for the next, and waking it is a tenth of what a
  // small response costs.
  bool answers_later_ = false;
  bool over_loopback_ = false;
  bool busy_ = false;              // Handshake: the answer will be 503
  bool peer_gone_ = false;         // there is nobody to say close_notify to
  bool fin_owed_ = false;          // Linger: close_notify waits for room, and the FIN for it
  std::int64_t fin_until_ms_ = 0;  // Linger: when the kernel is not waited for any more
};

}  // namespace pagewire::server
