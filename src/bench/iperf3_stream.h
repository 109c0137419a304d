// StreamSender: one data connection of a test, sending the file again and again.
#pragma once

#include <cstdint>
#include <optional>

#include "bench/send_source.h"

namespace pagewire::bench::iperf3 {

class Peer;

/// What all streams of a test share.
struct Ration {
  std::optional<std::uint64_t> left_bytes;  ///< of -n or -k, not granted to a stream yet
  std::uint64_t block_bytes = 1;            ///< grants are multiples of it
  std::uint64_t rate_bits_per_s = 0;        ///< of each stream; 0: none
};

/// Must not move: its transfer points to it.
class StreamSender {
 public:
  StreamSender(SendSource& source, Peer& peer);

  enum class After : std::uint8_t {
    Yield,           ///< the turn is over, there is more to send
    AwaitWritable,   ///< the socket is full
    AwaitOperation,  ///< Peer::take_turn() comes
    Wait,            ///< ahead of the rate: look again at the next tick
    Spent,           ///< nothing is left to send
    Ended,           ///< see `ended_by`
  };
  struct Turn {
    After after = After::Ended;
    egress::StepResult ended_by;
  };
  Turn turn(Ration& ration);
  /// Gives back what the path holds; no turn may follow.
  void stop() { pump_.stop(); }
  void take_completions() { pump_.take_completions(); }

  /// From here on counts what is reported, and the pace.
  void begin_counting();
  std::uint64_t counted_bytes() const { return pump_.sent_bytes() - base_bytes_; }
  /// TCP_INFO's, since begin_counting(); nullopt when the kernel does not tell, or when the
  /// connection has gone.
  std::optional<std::uint64_t> counted_retransmits() const;
  std::uint64_t acknowledged_bytes() const;

  Peer* peer() const { return peer_; }
  void peer_gone() { peer_ = nullptr; }
  bool waits_for_pace() const { return waits_; }
  const egress::Path& path_used() const { return pump_.path_used(); }

 private:
  static void woken(void* self);
  std::uint64_t grant(Ration& ration);
  std::uint64_t allowed_by_rate(const Ration& ration) const;
  std::optional<std::uint64_t> retransmits() const;

  Peer* peer_;
  FilePump pump_;
  std::uint64_t granted_bytes_ = 0;
  std::uint64_t base_bytes_ = 0;
  std::optional<std::uint64_t> base_retransmits_;
  std::int64_t counting_since_ns_ = 0;
  bool waits_ = false;
};

}  // namespace pagewire::bench::iperf3
