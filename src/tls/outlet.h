// Outlet: what of a TLS connection waits for its socket, and the records that are made of plain
// bytes, in user space.
//
// OpenSSL's handshake writes its records into it; once the handshake is over the outlet has the
// write keys and seals by itself, straight from where the plain bytes stand into the buffer that
// send(2) reads (docs/adr/0009). Everything leaves in the order in which it was put in.
//
// Owns at most one SendBuffer, and none while nothing waits. The worker's thread.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "tls/keys.h"

namespace pagewire::tls {

/// Of RFC 8446 5.1.
enum class RecordType : std::uint8_t { Alert = 21, Handshake = 22, ApplicationData = 23 };

/// KeyUpdate, update_not_requested (RFC 8446 4.6.3).
inline constexpr std::array<unsigned char, 5> key_update_message = {24, 0, 0, 1, 0};

inline constexpr std::size_t record_header_bytes = 5;
inline constexpr std::size_t most_plain_bytes = 16 * 1024;  ///< of one record

/// How much one key may encrypt, in full records: RFC 8446 5.5 allows 2^24.5 of AES-GCM's. A
/// response that goes on over this stays below that up to 100 GiB more.
inline constexpr std::uint64_t records_per_key = std::uint64_t{1} << 24U;

/// Ciphertext of about eight full records. Sealed and sent while it is in the CPU's cache.
struct SendBuffer {
  /// What a record of application data leaves free, for alerts and KeyUpdates behind it.
  static constexpr std::size_t control_bytes = 512;
  static constexpr std::size_t size = 8 * (most_plain_bytes + 64) + control_bytes;
  static constexpr std::size_t most_records = 128;
  static constexpr std::size_t first_fill = 2 * most_plain_bytes;
  struct Record {
    std::uint32_t plain_at;  ///< where its plain bytes stand, encrypted
    std::uint32_t plain_bytes;
    std::uint32_t end;
  };

  std::uint32_t begin = 0;  ///< the socket has what is before
  std::uint32_t end = 0;
  std::uint32_t record = 0;   ///< the first whose plain bytes have not all gone
  std::uint32_t counted = 0;  ///< plain bytes of it that have
  std::uint32_t records = 0;
  std::array<Record, most_records> record_at;  // of application data
  std::array<unsigned char, size> bytes;
};

/// A worker's buffers, the last used one first: it is the one in the cache.
class SendBuffers {
 public:
  std::unique_ptr<SendBuffer> take();
  void give_back(std::unique_ptr<SendBuffer> buffer);
  void count_sent(std::size_t bytes) { sent_bytes_ += bytes; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }  ///< of records made in user space

 private:
  std::uint64_t sent_bytes_ = 0;
  std::vector<std::unique_ptr<SendBuffer>> idle_;
};

class Outlet {
 public:
  explicit Outlet(SendBuffers& buffers) : buffers_(buffers) {}
  ~Outlet();
  Outlet(const Outlet&) = delete;
  Outlet& operator=(const Outlet&) = delete;

  /// Bytes that are records already, or no TLS at all; returns how many had room.
  std::size_t append(std::string_view bytes);

  /// From now on it seals, `sequence` being the number of the next record. False: out of memory.
  bool install(const WriteKeys& keys, std::uint64_t sequence);
  bool seals() const { return context_ != nullptr; }
  /// The peer takes no larger records (RFC 6066 4); control records are smaller than any limit.
  void limit_records(std::size_t plain_bytes) { most_plain_ = plain_bytes; }
  bool records_limited() const { return most_plain_ < most_plain_bytes; }
  /// Records written under the present keys, and so how near their limit is (RFC 8446 5.5).
  std::uint64_t sequence() const { return sequence_; }
  /// What a record costs on the wire beside its plain bytes.
  std::size_t record_overhead() const;
  const WriteKeys& keys() const { return keys_; }
  /// Somebody else seals from now on: wipes the keys, of which only version and cipher stay, and,
  /// if there may be a next key, the secret that it comes from.
  enum class Forget : std::uint8_t { RecordKey, All };
  void forget_keys(Forget what);

  bool empty() const { return buffer_ == nullptr; }
  /// Plain bytes that are sealed and that the socket has not taken yet.
  ByteCount held() const { return held_; }

  /// How many plain bytes the next record should take, of `left` in the response; 0: no room, send
  /// first. After an idle time records begin small, so that a client need not wait for 16 KiB to
  /// decrypt the first byte, except that a response which fits into one record is one.
  std::size_t next_record(ByteCount left) const;
  /// How much more should be sealed before the next send: no more than the socket is likely to
  /// take, because a reader who stops leaves the rest waiting here.
  std::size_t fill_left() const { return fill_ - std::min(fill_, waiting().size()); }
  /// A response begins: `now_ms` tells whether the connection was idle. Changes the keys when they
  /// have sealed enough.
  void begin_response(std::int64_t now_ms, ByteCount size);
  /// Seals one record of application data out of `pieces`; at most what next_record() said.
  void seal(std::span<const iovec> pieces);
  /// An alert or a handshake message, at most 64 bytes. False: no room for it, which takes more of
  /// them than a connection may have.
  bool seal_control(RecordType type, std::span<const unsigned char> message);
  /// KeyUpdate (RFC 8446 4.6.3), and the next keys. False: no room.
  bool update_keys();

  /// What waits, for a loop that sends itself; taken() tells what came of it.
  std::string_view waiting() const;
  /// The socket took so many bytes of it; returns how many plain ones those held.
  ByteCount taken(std::size_t count);
  struct Sent {
    ByteCount bytes;  ///< that the socket took
    ByteCount plain;  ///< of the application, in them
  };
  /// One send(2) of all that waits; nothing waiting: 0. Errors: as send(2).
  Result<Sent> send(int fd, bool more);

 private:
  SendBuffer& buffer();
  unsigned char* begin_record(RecordType type, std::size_t plain_bytes);
  void learn_fill(std::size_t taken, std::size_t offered);
  void encrypt(std::span<const iovec> pieces, RecordType type, unsigned char* out);

  SendBuffers& buffers_;
  std::unique_ptr<SendBuffer> buffer_;
  EVP_CIPHER_CTX* context_ = nullptr;
  WriteKeys keys_;
  std::uint64_t sequence_ = 0;
  ByteCount held_;
  std::size_t most_plain_ = most_plain_bytes;
  ByteCount small_left_;                       // to go out in small records
  bool whole_ = false;                         // this response fits into one record
  std::int64_t busy_at_ms_ = 0;                // when the last response began
  std::size_t fill_ = SendBuffer::first_fill;  // what is sealed at once; doubles up to all
};

}  // namespace pagewire::tls
