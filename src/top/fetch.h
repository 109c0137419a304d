// Fetch: one GET of the metrics over a socket that never blocks, step by step. Private to this
// room.
//
// HTTP/1.0, so that no answer is chunked. Limits: `most_bytes` of an answer, and the deadline of
// whoever calls.
#pragma once

#include <poll.h>

#include <string>

#include "sys/fd.h"
#include "top/top.h"

namespace pagewire::top {

class Fetch {
 public:
  enum class State { Connecting, Sending, Receiving, Done, Failed };

  /// Begins; `target` must have been looked up, and must outlive this.
  explicit Fetch(const Target& target);

  /// What to wait for, before advance() is called again.
  pollfd wanted() const;
  /// Goes as far as it can without waiting.
  void advance();
  /// Ends it, from outside: the deadline is over.
  void give_up(std::string why);

  State state() const { return state_; }
  bool over() const { return state_ == State::Done || state_ == State::Failed; }
  /// Once Done: the body.
  const std::string& body() const { return text_; }
  /// Once Failed: what went wrong, in words that follow "cannot read URL: ".
  const std::string& error() const { return error_; }

 private:
  static constexpr std::size_t most_bytes = 16 * mib;
  void connect_next();
  void check_connected();
  void send_request();
  void receive();
  void finish();

  const Target& target_;
  State state_ = State::Connecting;
  sys::Fd socket_;
  std::size_t next_address_ = 0;
  std::string request_;
  std::size_t sent_ = 0;
  std::string text_;
  std::string error_;
};

}  // namespace pagewire::top
