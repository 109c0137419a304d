// Peer: one connection of an iperf3 client.
//
//   Newcomer -> Control | Data | Leaving -> Gone        (any state -> Gone)
#pragma once

#include <string>
#include <string_view>

#include "bench/iperf3_server.h"

namespace pagewire::bench::iperf3 {

class StreamSender;

class Peer final : public loop::Stream {
 public:
  /// `number`: in the order of acceptance.
  Peer(Server& server, sys::Accepted accepted, std::uint64_t number)
      : Stream(std::move(accepted.fd)),
        server_(server),
        name_(accepted.peer.to_string()),
        number_(number) {}

  const std::string& name() const { return name_; }  ///< "127.0.0.1:40312"
  std::uint64_t number() const { return number_; }

  void become_control(Test& test);
  void become_data(Test& test, StreamSender& sender);
  /// Now or when there is room.
  void send(std::string_view bytes);
  /// Says that, and FIN, and waits a while for the client to close.
  void leave(std::string_view last_words);
  /// Ends the connection: what is queued still goes out, then FIN.
  void close() { retire(); }
  /// Resets the connection, which drops what is queued.
  void drop();
  void set_timeout(std::int64_t ms);
  /// Data: its stream has something to do again, in the next round of the loop.
  void take_turn() { server_.loop().yield(*this); }

 private:
  enum class Role : std::uint8_t { Newcomer, Control, Data, Leaving, Gone };

  void received(std::span<const char> bytes) override;
  void ended() override { gone("closed the connection"); }
  void writable() override;
  void timed_out() override;
  void failed(Error error) override;
  void notified() override;

  void take_last_words();
  void gone(const std::string& why);
  void flush();
  void retire();

  Server& server_;
  std::string name_;
  std::uint64_t number_;
  Role role_ = Role::Newcomer;
  Test* test_ = nullptr;            // Control, Data
  StreamSender* sender_ = nullptr;  // Data
  std::string input_;               // Newcomer, Control: not understood yet
  std::string output_;              // not sent yet
  std::uint64_t dropped_bytes_ = 0;
};

}  // namespace pagewire::bench::iperf3
