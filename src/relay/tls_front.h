// TlsFront: TLS on the client's side of a tunnel, as its two pumps and its handshake need it.
//
// What clients send is opened here, and what they are sent is sealed here, or by the kernel where
// it has taken the keys, for each direction by itself: then the pump moves plain bytes as on any
// socket, and only alerts and KeyUpdates are dealt with here.
//
// Memory: sealed bytes that the socket has not taken, at most one SendBuffer (tls/outlet.h), since
// nothing more is sealed before they have gone. The worker's thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "sys/kernel_tls.h"
#include "tls/tls.h"

namespace pagewire::relay {

/// What the fronts of a worker share.
struct TlsRoom {
  const loop::Loop& loop;
  metrics::TlsMetrics& metrics;
  std::array<metrics::Counter, tls::kernel_reasons>& receive;  ///< connections; None: by the kernel
  tls::SendBuffers send_buffers{};
  tls::CardWatch card_watch{};
  std::vector<char> plain{};  ///< what one pump has opened and not passed on; empty: no TLS here
};

class TlsFront {
 public:
  /// What one receive can open to, with a record that came in part before: `received` bytes and
  /// one record more, and room for a whole one behind them, so that a read takes all there is.
  static constexpr std::size_t plain_bytes(std::size_t received) {
    return received + 2 * tls::most_plain_bytes;
  }

  TlsFront(std::unique_ptr<tls::Session> session, const tls::SessionFacts& facts, TlsRoom& room);
  ~TlsFront();

  // The handshake:
  enum class Step : std::uint8_t { Done, WantRead, Failed };
  /// Reads what the client sent for it, and not a byte more. `buffer` is scratch. Whatever it says,
  /// push() sends the answer. Done: counted, and the kernel has the keys where it takes them.
  Step shake_hands(int fd, std::span<char> buffer);
  /// The handshake ends here, before it was complete.
  void give_up(tls::Outcome outcome);

  // For the pump up:
  struct Opened {
    std::span<const char> plain;  ///< until the next call of any front of the worker
    bool closed = false;          ///< close_notify came behind them
    bool failed = false;          ///< and nothing of this may be passed on
  };
  Opened open(std::span<const char> records);

  // For the pump up, where the kernel opens:
  bool opened_by_kernel() const { return session_->kernel_receives(); }
  enum class Got : std::uint8_t {
    Bytes,
    Nothing,       ///< for now
    Other,         ///< a record without bytes for the stream; acted on
    Closed,        ///< close_notify
    Truncated,     ///< FIN without it
    Failed,        ///< not TLS, or an alert ...; counted
    SocketFailed,  ///< `error`: ECONNRESET, ETIMEDOUT ...
  };
  struct Taken {
    Got got;
    std::size_t count = 0;
    int error = 0;
  };
  /// Bytes of the stream, or one record of another kind. `error`: what splice(2) has said just
  /// before instead of moving bytes; EINVAL means such a record or what is none.
  Taken take(int fd, std::span<char> into, int error);
  /// Behind close_notify: reads and drops.
  Got drop(int fd, std::span<char> buffer);
  /// A send failed with that errno: whether for what has come from the client, which the kernel
  /// tells to whoever asks the socket for something first.
  enum class Blame : std::uint8_t { Send, Failed, PassOver };
  Blame blame(int fd, int errno_value);

  // For the pump down:
  bool by_kernel() const { return session_->kernel() != tls::Kernel::None; }
  /// A SendBuffer has room for so many, also in the smallest records that a client may ask for.
  static constexpr std::size_t most_sealed = tls::SendBuffer::most_records * 512;
  /// At most so many bytes, and only while nothing waits.
  void seal(std::span<const char> plain);
  bool waits() const { return session_->wants_flush(); }
  /// Sends of what waits; returns how many plain bytes of the stream went. Errors: as send(2).
  Result<ByteCount> push(int fd);
  /// Whether its key has encrypted all that it may, and there is no other (RFC 8446 5.5).
  bool key_is_worn(ByteCount sent) const;
  enum class Finish : std::uint8_t { Done, WantWrite, WantKernel, Failed };
  /// close_notify, once. WantKernel: not before the kernel has passed on what it holds may the FIN
  /// follow (Session::kernel_holds), and where closing resets, not before the client has it.
  /// `sent`: plain bytes of the stream.
  Finish finish(int fd, ByteCount sent);

  bool established() const { return session_->established(); }
  log::TlsRecord log_record() const;
  /// The alert, if there is one and room for it: the connection ends.
  void say_why(int fd);
  void count_truncation() { room_.metrics.truncations.add(1); }

 private:
  void begin(int fd);
  Taken act_on(int fd, const sys::TlsReceived& record, std::span<const char> bytes);
  Taken refuse(int fd, int errno_value);
  bool pass_over_error(int fd);

  std::unique_ptr<tls::Session> session_;
  const tls::SessionFacts& facts_;
  TlsRoom& room_;
  bool handshake_counted_ = false;
  /// What came behind close_notify is no record, and nobody can read it any more: close(2) will
  /// reset, and drop what the client has not acknowledged.
  bool keeps_bytes_ = false;
};

}  // namespace pagewire::relay
