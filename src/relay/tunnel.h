// Tunnel: one client and its connection to an upstream.
//
//     Header -> Seek, Handshake    --accept-proxy: the client's PROXY header is there
//     Handshake -> Seek            --tls-cert: TLS is established
//     Seek -> Connect              an upstream has a place
//     Seek -> Queue -> Connect     all are full: in turn
//     Connect -> Seek              it could not be reached: another one
//     Seek -> Pause -> Seek        all have been tried: once more, a second later
//     Connect -> Open              bytes go both ways, each by a pump
//     any state -> Closed
//
// A timeout belongs to every state: Header and Handshake their own; Queue the queue's; Connect the
// connect timeout; Open the idle timeout, and the half-closed timeout once one side has sent its
// FIN. Nothing of the client's is read before an upstream is there (a PROXY header and a handshake
// apart), so another try loses nothing.
//
// Invariant: a stream that was cut short must not look complete. FIN is passed on behind the last
// byte; whatever else ends a tunnel (a reset, an error, a timeout, the end of a drain) is told to
// both sides as RST. With TLS the client's end is its close_notify; a FIN without it is one of
// these. SO_LINGER with 0 seconds is set on both sockets from their first moment and taken back
// only where a tunnel has ended in order, so that the kernel resets, too, when it closes them for a
// process that was killed. Both sockets are streams of the same loop; the client's is the tunnel
// itself and goes last.
//
// Kernel facts: after a reset recv(2) and splice(2) still give what was queued before it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/intrusive_list.h"
#include "loop/loop.h"
#include "relay/counters.h"
#include "relay/pump.h"
#include "relay/relay.h"
#include "relay/tls_front.h"
#include "relay/upstreams.h"

namespace pagewire::relay {

class Worker;
struct RouteParts;

struct TunnelNode : ListNode {};

enum class TunnelState : std::uint8_t {
  Header,
  Handshake,
  Seek,
  Queue,
  Pause,
  Connect,
  Open,
  Closed,
};

class Tunnel final : public loop::RawStream, private Attempt, private TunnelNode {
 public:
  /// `front`: null where the client speaks no TLS.
  Tunnel(Worker& worker, const RouteParts& route, sys::Accepted client,
         std::unique_ptr<TlsFront> front);
  ~Tunnel() override;

  /// Once it is attached to the loop, with reading paused.
  void start();
  /// Ends it now, with a reset of both sides. False: it had ended before.
  bool cut_off();

  void readable() override;
  void writable() override;
  void timed_out() override;
  void failed(Error error) override;
  void notified() override;

 private:
  template <class T, class Node>
  friend class ::pagewire::IntrusiveList;

  /// The upstream's socket.
  class Far final : public loop::RawStream {
   public:
    Far(Tunnel& tunnel, sys::Fd fd) : RawStream(std::move(fd)), tunnel_(tunnel) {}
    void readable() override { tunnel_.drive(down); }
    void writable() override { tunnel_.far_writable(); }
    /// The client's stream has the deadlines; this one's is for looking again (WantKernel).
    void timed_out() override { tunnel_.drive(down); }
    void failed(Error error) override { tunnel_.far_failed(error); }

   private:
    Tunnel& tunnel_;
  };

  /// Directions, as indexes.
  static constexpr std::size_t up = 0;    ///< client to upstream
  static constexpr std::size_t down = 1;  ///< upstream to client

  /// Of a client that came with a PROXY header.
  struct Proxied {
    sys::Address by;           ///< the connection's peer
    sys::Address destination;  ///< where the client had connected to
  };

  void granted(Slot slot) override;
  void read_header();
  void after_header();
  void shake_hands();
  bool flush_handshake();
  void refuse_handshake();
  void flush_front();
  void drop_input();
  void drop_records();
  void tls_failed();
  Result<void> send_header();
  void set_state(TunnelState next);
  void seek();
  void connect(Slot slot);
  void connect_failed(int errno_value);
  void pause();
  void open();
  void drive(std::size_t direction);
  PumpResult step(std::size_t direction, bool source_reset);
  void send_at_once();
  void pass_on_rest(std::size_t direction);
  void after_step(std::size_t direction, const PumpResult& result);
  void far_writable();
  void far_failed(Error error);
  std::int64_t timeout_ms() const;
  void touch();
  void settle();
  void close(End end);
  void write_log(End end);
  void begin_mirror();
  void end_mirror(std::size_t direction, StreamEnd how);

  Worker& worker_;
  const RouteParts& route_;
  Far* far_ = nullptr;
  Slot slot_;
  std::array<Pump, 2> pumps_;
  std::unique_ptr<MirrorTap> tap_;  ///< null: not mirrored
  sys::Address client_;             ///< who the PROXY header says that it is, where there is one
  std::unique_ptr<Proxied> proxied_;
  std::unique_ptr<TlsFront> front_;
  TunnelState state_;
  std::uint8_t tries_ = 0;
  bool settled_ = false;
  bool sends_at_once_ = false;
  bool low_water_ = false;  ///< the socket's is that of a PROXY header
  std::array<bool, 2> waits_for_sink_{};
  std::int64_t came_ns_;
  std::int64_t connected_ns_ = 0;
  std::int64_t queued_ns_ = 0;  ///< waited in the queue; while it does, less the time it began
};

}  // namespace pagewire::relay
