// Session: one TLS connection on the server's side.
//
// OpenSSL does the handshake, and the reading for the whole life of the connection, unless the
// kernel is handed that (begin_receiving). What OpenSSL writes during the handshake goes into the
// outlet; once the handshake is complete, writing is ours: by the kernel (kernel TLS), or by the
// outlet. All get their keys from the key schedule, which works with an OpenSSL that was built
// without kernel TLS, too (docs/adr/0009, 0010). What OpenSSL would write then (alerts, the answer
// to a KeyUpdate) is seen by its message callback and sent by us.
//
// Nothing here waits or touches the loop: the owner offers what came, asks for plain bytes, and
// flushes. The worker's thread; OpenSSL's error queue of that thread is empty between the calls.
//
// Rests on SSL_set_msg_callback(3), BIO_meth_new(3); RFC 8446 4.6.3
// (KeyUpdate), 6.1 (close_notify), RFC 5246 7.2.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "tls/outlet.h"

namespace pagewire::tls {

/// What became of a connection's TLS. Up to Internal: of its handshake; the tokens stand in metrics
/// and log.
enum class Outcome : std::uint8_t {
  Ok,
  PlainHttp,      ///< "plain-http"
  Garbage,        ///< "garbage": no TLS record at its beginning
  Oversized,      ///< "oversized": a record that is longer than any may be
  NothingShared,  ///< "nothing-shared": no common version, cipher, group or signature
  Certificate,    ///< "client-certificate": missing, or not to be trusted
  PeerAlert,      ///< "peer-alert": the peer gave up, and said why
  BadRecord,      ///< "bad-record": what came does not decrypt
  Protocol,       ///< "protocol": anything else that TLS forbids
  Renegotiation,  ///< "renegotiation": asked for, and refused
  KeyUpdates,     ///< "key-updates": more of them than a connection may have
  CannotRekey,    ///< "cannot-rekey": a KeyUpdate, and this kernel takes no second key
  PeerGone,       ///< "peer-gone": FIN or reset in the middle of the handshake
  Timeout,        ///< "timeout"
  OverLimit,      ///< "over-limit": too many handshakes a second
  Internal,       ///< "internal": out of memory and the like
};
inline constexpr std::size_t outcome_count = 16;
std::string_view token(Outcome outcome);

/// Who encrypts what is sent.
enum class Kernel : std::uint8_t {
  None,
  Software,
  Nic,  ///< or a network card: this machine has one that does, see Card
};
std::string_view token(Kernel kernel);  ///< "none", "kernel", "kernel-nic"
inline constexpr std::size_t kernel_states = 3;

/// Why the kernel does not; of receiving as well.
enum class KernelReason : std::uint8_t {
  None,             ///< "": it does
  Off,              ///< "off": switched off
  NoKernelTls,      ///< "no-kernel-tls"
  ModuleNotLoaded,  ///< "module-not-loaded"
  Cipher,           ///< "cipher": this kernel has not the cipher
  Version,          ///< "version": it has not this version of TLS
  SocketState,      ///< "socket-state": full, half-closed, or memory short, as the handshake ended
  RecordSize,       ///< "record-size": the client takes smaller records only than the kernel makes
  Buffered,         ///< "buffered": OpenSSL has bytes of records behind the handshake's
  Card,             ///< "card": a network card would open the records (why_not_received)
  OldKernel,        ///< "old-kernel": what it opens cannot be spliced (why_not_received)
};
inline constexpr std::size_t kernel_reasons = 11;
std::string_view token(KernelReason reason);
/// For the log, to follow "kernel TLS is not used: ".
std::string_view describe(KernelReason reason);

/// The tokens of each, by their numbers: the words of metrics.
template <std::size_t N>
using Tokens = std::array<std::string_view, N>;
Tokens<outcome_count> outcome_tokens();
Tokens<kernel_states> kernel_tokens();
Tokens<kernel_reasons> kernel_reason_tokens();

/// What holds for all sessions of a run.
struct SessionFacts {
  /// None: the kernel is asked for each connection; else why it is not.
  KernelReason no_kernel = KernelReason::Off;
  KernelReason no_kernel_receive = KernelReason::Off;  ///< the same of what the peer sends
  bool kernel_rekeys = false;                          ///< it takes a second key (Linux 6.14)
  std::uint32_t key_updates = 32;                      ///< of the peer, on one connection
  bool zero_copy_ro = false;  ///< Nic: the card reads the file's pages themselves
};
struct KernelWishes {
  bool transmit = true;
  bool receive = false;
  bool zero_copy_ro = false;
};
/// Why receiving is not left to a kernel of that release ("6.1.0-18-amd64"); None: it is. Before
/// 6.1 splice(2) reorders or drops records. Those that a network card opens come in as many pieces
/// as packets, and splice(2) drops what finds no place in the pipe: `card_opens`, and where that
/// cannot be told.
KernelReason why_not_received(std::string_view release, const Result<bool>& card_opens);

/// Asks the kernel, once, at start.
SessionFacts probe_session_facts(const KernelWishes& wishes);

/// Whether a network card of this machine encrypts TLS, as far as the kernel tells: it counts such
/// connections, and does not say which they are.
enum class Card : std::uint8_t { None, Encrypts };

/// Looks for one, at most once a second, until it has found one. One worker's.
class CardWatch {
 public:
  Card look(const SessionFacts& facts, std::int64_t now_ms);

 private:
  std::int64_t next_look_ms_ = 0;
  Card card_ = Card::None;
};

/// Records that the kernel has made of `sent` plain bytes in so many responses, or a few more: it
/// fills a record while it is given more, and a response ends one, as its head may.
std::uint64_t kernel_records(ByteCount sent, std::uint64_t responses);

class KeySchedule;

class Session {
 public:
  /// Of a server, by make_server_context(); no other thread may have sessions of `context`. `owner`
  /// keeps it alive.
  /// nullptr: out of memory.
  static std::unique_ptr<Session> make(SSL_CTX& context, std::shared_ptr<const void> owner,
                                       SendBuffers& buffers, const SessionFacts& facts);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// What the socket received, in place; to be used up by handshake() and read() before it goes.
  void offer(std::span<const char> bytes) { input_ = bytes; }
  bool input_left() const { return !input_.empty(); }
  /// Of what was offered: bytes that have not been taken. During the handshake a Session takes
  /// whole records or what there is of one, and none behind the handshake's last.
  std::size_t input_size() const { return input_.size(); }

  enum class Step : std::uint8_t { Done, WantInput, Failed };
  /// Goes on with the handshake. Whatever it says, the outlet may hold something to flush. Failed:
  /// outcome() says why, and the outlet has the alert for the peer.
  Step handshake();
  bool established() const { return established_; }
  /// No byte of the peer's has been taken yet.
  bool is_untouched() const { return !touched_; }
  /// Once the handshake is done: hands the sending to the kernel, where it can take it.
  void begin_sending(int fd, Card card);
  /// The same of receiving, while the socket has all that came behind the handshake. Where
  /// kernel_receives(), sys::receive_tls() and splice(2) get plain bytes, and read() is not called
  /// any more.
  void begin_receiving(int fd);

  struct Read {
    enum class Kind : std::uint8_t { Bytes, WantInput, Closed, Failed } kind;
    std::size_t count;
  };
  /// Decrypts what was offered, at most one record a call. Closed: close_notify came, nothing more
  /// will. Failed: outcome() says why; OpenSSL's alert, if any, waits to be flushed. Where
  /// may_still_send(), a response that is under way goes on, and close_notify() ends it.
  Read read(std::span<char> into);
  /// Where the kernel receives: a record of another type than application data. WantInput: it was
  /// acted on, and receiving goes on; Closed and Failed as above.
  Read take_record(int fd, std::uint8_t type, std::span<const unsigned char> message);
  /// Where the kernel receives: what came is no record (sys::receive_tls). Says why, to the peer
  /// as well.
  void refuse_record(int errno_value);

  /// The end of what we send. Once; flush() sends it.
  void close_notify();
  /// Sends what waits; not while the outlet holds bytes of a response. True: nothing does any more;
  /// false: the socket is full. Errors: as send(2); or the kernel has not taken the new key
  /// (ENOMEM): then outcome() is Internal, and nothing can be sent any more.
  Result<bool> flush(int fd);
  /// Whether the connection should end with its next response, because its key has encrypted enough
  /// (RFC 8446 5.5) and there is no other: under kernel TLS and in TLS 1.2. `sent`: plain bytes of
  /// its `responses`.
  bool key_is_worn(ByteCount sent, std::uint64_t responses) const;
  /// Under kernel TLS: how much of what was sent, `plain` bytes of responses since begin_sending(),
  /// is not in TCP's queue yet. Kernels (6.1, not 7.3) take more than fits there and drop the rest
  /// at shutdown(2) and close(2): neither while this is > 0. Two system calls.
  ByteCount kernel_holds(int fd, ByteCount plain) const;
  bool wants_flush() const { return !outlet_.empty() || control_waits_ > 0 || key_update_owed_; }
  /// Under kernel TLS: the peer has asked for a KeyUpdate, which goes before anything else
  /// (RFC 8446 4.6.3): flush() first.
  bool owes_key_update() const { return key_update_owed_; }

  Outlet& outlet() { return outlet_; }
  Outcome outcome() const { return outcome_; }
  /// The connection ends for what the peer asked for, but what comes from it is whole so far.
  bool may_still_send() const;
  bool peer_closed() const { return peer_closed_; }
  Kernel kernel() const { return kernel_; }
  KernelReason kernel_reason() const { return kernel_reason_; }
  bool kernel_receives() const { return receive_reason_ == KernelReason::None; }
  KernelReason receive_reason() const { return receive_reason_; }
  std::uint32_t key_updates() const { return key_updates_; }
  bool resumed() const;
  bool is_tls13() const;
  std::string_view version() const;  ///< "TLSv1.3"
  std::string_view cipher() const;   ///< "TLS_AES_256_GCM_SHA384"; static

 private:
  friend struct SessionHooks;
  Session(std::shared_ptr<const void> owner, SendBuffers& buffers, const SessionFacts& facts);
  bool take_over();
  KernelReason attach(int fd);
  KernelReason hand_over(int fd, Card card);
  KernelReason hand_over_receiving(int fd);
  Read take_alert(std::span<const unsigned char> alert);
  Read take_key_update(int fd, std::span<const unsigned char> message);
  Read pass_over();
  Result<void> give_keys_to_kernel(int fd);
  Result<bool> update_kernel_keys(int fd);
  void queue_control(RecordType type, std::span<const unsigned char> message);
  Read after_read();
  Read fail(Outcome outcome);
  Read refuse(Outcome outcome, unsigned char alert);
  void note_failure();

  std::shared_ptr<const void> owner_;  ///< of the SSL_CTX; goes last
  SSL* ssl_ = nullptr;
  KeySchedule* schedule_ = nullptr;
  Outlet outlet_;
  const SessionFacts& facts_;
  std::span<const char> input_;
  Secret traffic_secret_;                 ///< until take_over()
  Secret client_secret_;                  ///< until begin_receiving()
  std::unique_ptr<WriteKeys> read_keys_;  ///< where the kernel receives, and takes a next key
  std::uint64_t records_written_ = 0;     ///< by OpenSSL, under the keys it has now
  std::uint32_t key_updates_ = 0;
  Outcome outcome_ = Outcome::Ok;
  Kernel kernel_ = Kernel::None;
  KernelReason kernel_reason_ = KernelReason::None;
  KernelReason receive_reason_ = KernelReason::Off;
  std::uint64_t records_read_ = 0;    ///< begun to be: their headers
  std::uint64_t records_opened_ = 0;  ///< of them, under the keys of TLS 1.2
  std::uint8_t passed_over_ = 0;      ///< warnings, where the kernel receives
  bool attached_ = false;             ///< the socket is one that may be given keys
  bool touched_ = false;              ///< a byte of the peer's has been taken
  bool established_ = false;
  bool ours_ = false;             ///< OpenSSL's writing is over
  bool answer_wanted_ = false;    ///< the peer asked for a KeyUpdate
  bool key_update_owed_ = false;  ///< and the kernel is to seal it
  bool renegotiation_ = false;    ///< the peer asked for one
  bool peer_closed_ = false;
  bool close_notify_sent_ = false;
  /// Under kernel TLS: an alert that the socket had no room for.
  std::array<unsigned char, 2> control_{};
  std::uint8_t control_waits_ = 0;
  std::uint64_t control_sent_ = 0;      ///< under kernel TLS: bytes of alerts and KeyUpdates
  std::uint64_t records_before_ = 0;    ///< under kernel TLS: made with keys before these
  std::uint64_t wire_at_handover_ = 0;  ///< bytes that TCP had been given before
};

}  // namespace pagewire::tls
