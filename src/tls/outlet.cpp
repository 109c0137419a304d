// Sealing and sending. See outlet.h.
//
// Rests on RFC 8446 5.2 and 5.3 (TLSInnerPlaintext, the header as additional data, the nonce), RFC
// 5246 6.2.3.3 with RFC 5288 3 (explicit nonce; here the sequence number, which never comes twice)
// and RFC 7905 2; EVP_EncryptInit(3): an AEAD cipher takes its plaintext in any number of pieces.
//
// Invariant: a sequence number is used once under one key. What was sealed is never sealed again:
// bytes that the socket did not take stay in the buffer until it does.
#include "tls/outlet.h"

#include <endian.h>
#include <openssl/evp.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "sys/plain_calls.h"

namespace pagewire::tls {

namespace {

constexpr std::size_t tag_bytes = 16;
constexpr std::size_t idle_buffers = 64;

/// What fits into one TCP segment of an Ethernet, with record header, tag and type.
constexpr std::size_t small_record = 1'400;
/// So much of a response goes out in them after an idle time: the congestion window has grown by
/// then.
constexpr ByteCount small_start{64 * kib};
constexpr std::int64_t idle_ms = 1'000;

void put_u64(unsigned char* into, std::uint64_t value) {
  const std::uint64_t big_endian = ::htobe64(value);
  std::memcpy(into, &big_endian, sizeof big_endian);
}

bool has_explicit_nonce(const WriteKeys& keys) {
  return keys.version == Version::Tls12 && keys.aead != Aead::ChaCha20Poly1305;
}

/// Header, explicit nonce or type byte, tag.
std::size_t overhead(const WriteKeys& keys) {
  const std::size_t inner = keys.version == Version::Tls13 ? 1 : has_explicit_nonce(keys) ? 8 : 0;
  return record_header_bytes + inner + tag_bytes;
}

}  // namespace

std::size_t Outlet::record_overhead() const {
  return overhead(keys_);
}

std::unique_ptr<SendBuffer> SendBuffers::take() {
  if (idle_.empty()) return std::unique_ptr<SendBuffer>(new SendBuffer);
  std::unique_ptr<SendBuffer> buffer = std::move(idle_.back());
  idle_.pop_back();
  return buffer;
}

void SendBuffers::give_back(std::unique_ptr<SendBuffer> buffer) {
  buffer->begin = buffer->end = buffer->record = buffer->counted = buffer->records = 0;
  if (idle_.size() < idle_buffers) idle_.push_back(std::move(buffer));
}

Outlet::~Outlet() {
  if (buffer_ != nullptr) buffers_.give_back(std::move(buffer_));
  ::EVP_CIPHER_CTX_free(context_);
}

SendBuffer& Outlet::buffer() {
  if (buffer_ == nullptr) buffer_ = buffers_.take();
  return *buffer_;
}

std::size_t Outlet::append(std::string_view bytes) {
  SendBuffer& into = buffer();
  const std::size_t size = std::min(bytes.size(), SendBuffer::size - into.end);
  std::memcpy(into.bytes.data() + into.end, bytes.data(), size);
  into.end += static_cast<std::uint32_t>(size);
  return size;
}

bool Outlet::install(const WriteKeys& keys, std::uint64_t sequence) {
  if (context_ == nullptr) context_ = ::EVP_CIPHER_CTX_new();
  if (context_ == nullptr) return false;
  keys_ = keys;
  sequence_ = sequence;
  return ::EVP_EncryptInit_ex(context_, evp_cipher(keys.aead), nullptr, keys.key.data(),
                              keys.iv.data()) == 1;
}

void Outlet::forget_keys(Forget what) {
  ::EVP_CIPHER_CTX_free(context_);  // wipes its own copy
  context_ = nullptr;
  what == Forget::All ? keys_.wipe() : keys_.wipe_record_key();
}

void Outlet::begin_response(std::int64_t now_ms, ByteCount size) {
  const bool worn = keys_.version == Version::Tls13 && sequence_ >= records_per_key;
  if (worn && held_.value == 0) static_cast<void>(update_keys());  // no room: the next time
  if (busy_at_ms_ == 0 || now_ms - busy_at_ms_ > idle_ms) small_left_ = small_start;
  busy_at_ms_ = now_ms;
  whole_ = size.value <= most_plain_;
}

std::size_t Outlet::next_record(ByteCount left) const {
  std::size_t room = SendBuffer::size - SendBuffer::control_bytes;
  if (buffer_ != nullptr) {
    if (buffer_->records == SendBuffer::most_records || buffer_->end > room) return 0;
    room -= buffer_->end;
  }
  const bool small = small_left_.value > 0 && !whole_;
  const std::uint64_t most = small ? std::min(small_record, most_plain_) : most_plain_;
  const auto wanted = static_cast<std::size_t>(std::min(left.value, most));
  return wanted + overhead(keys_) <= room ? wanted : 0;
}

void Outlet::seal(std::span<const iovec> pieces) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  PW_CHECK(size > 0 && size <= most_plain_);
  unsigned char* const out = begin_record(RecordType::ApplicationData, size);
  SendBuffer& into = *buffer_;
  into.record_at[into.records++] = {.plain_at = static_cast<std::uint32_t>(out - into.bytes.data()),
                                    .plain_bytes = static_cast<std::uint32_t>(size),
                                    .end = into.end};
  encrypt(pieces, RecordType::ApplicationData, out);
  held_ += ByteCount{size};
  small_left_ -= std::min(small_left_, ByteCount{size});
}

bool Outlet::seal_control(RecordType type, std::span<const unsigned char> message) {
  if (SendBuffer::size - buffer().end < message.size() + overhead(keys_)) return false;
  const iovec piece{const_cast<unsigned char*>(message.data()), message.size()};
  encrypt({&piece, 1}, type, begin_record(type, message.size()));
  return true;
}

/// Writes the header and takes the room; returns where the encrypted bytes go.
unsigned char* Outlet::begin_record(RecordType type, std::size_t plain_bytes) {
  SendBuffer& into = buffer();
  const std::size_t size = plain_bytes + overhead(keys_);
  PW_CHECK(into.end + size <= SendBuffer::size);
  unsigned char* const header = into.bytes.data() + into.end;
  into.end += static_cast<std::uint32_t>(size);
  const bool tls13 = keys_.version == Version::Tls13;
  const std::size_t length = size - record_header_bytes;
  header[0] = static_cast<unsigned char>(tls13 ? RecordType::ApplicationData : type);
  header[1] = 3;
  header[2] = 3;  // legacy_record_version: TLS 1.2 in both
  header[3] = static_cast<unsigned char>(length >> 8U);
  header[4] = static_cast<unsigned char>(length & 0xffU);
  unsigned char* out = header + record_header_bytes;
  if (has_explicit_nonce(keys_)) {
    put_u64(out, sequence_);
    out += 8;
  }
  return out;
}

void Outlet::encrypt(std::span<const iovec> pieces, RecordType type, unsigned char* out) {
  const bool tls13 = keys_.version == Version::Tls13;
  std::array<unsigned char, 12> nonce = keys_.iv;
  std::array<unsigned char, 8> number;
  put_u64(number.data(), sequence_++);
  if (has_explicit_nonce(keys_)) {
    std::memcpy(nonce.data() + 4, number.data(), number.size());
  } else {
    for (std::size_t i = 0; i < number.size(); ++i) nonce[4 + i] ^= number[i];
  }
  int n = 0;
  bool good = ::EVP_EncryptInit_ex(context_, nullptr, nullptr, nullptr, nonce.data()) == 1;
  if (tls13) {
    good &= ::EVP_EncryptUpdate(context_, nullptr, &n, out - record_header_bytes,
                                record_header_bytes) == 1;
  } else {
    std::size_t size = 0;
    for (const iovec& piece : pieces) size += piece.iov_len;
    std::array<unsigned char, 13> data;
    std::memcpy(data.data(), number.data(), number.size());
    data[8] = static_cast<unsigned char>(type);
    data[9] = 3;
    data[10] = 3;
    data[11] = static_cast<unsigned char>(size >> 8U);
    data[12] = static_cast<unsigned char>(size & 0xffU);
    good &= ::EVP_EncryptUpdate(context_, nullptr, &n, data.data(), data.size()) == 1;
  }
  for (const iovec& piece : pieces) {
    good &= ::EVP_EncryptUpdate(context_, out, &n, static_cast<unsigned char*>(piece.iov_base),
                                static_cast<int>(piece.iov_len)) == 1;
    out += piece.iov_len;
  }
  if (tls13) {
    const auto inner_type = static_cast<unsigned char>(type);
    good &= ::EVP_EncryptUpdate(context_, out, &n, &inner_type, 1) == 1;
    ++out;
  }
  good &= ::EVP_EncryptFinal_ex(context_, out, &n) == 1;
  good &= ::EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, tag_bytes, out) == 1;
  PW_CHECK(good);  // nothing of this can fail with these sizes; what would go out is not a record
}

bool Outlet::update_keys() {
  if (!seal_control(RecordType::Handshake, key_update_message)) return false;
  return install(updated(keys_), 0);
}

std::string_view Outlet::waiting() const {
  if (buffer_ == nullptr) return {};
  return {reinterpret_cast<const char*>(buffer_->bytes.data()) + buffer_->begin,
          buffer_->end - buffer_->begin};
}

ByteCount Outlet::taken(std::size_t count) {
  if (count == 0) return {};
  buffers_.count_sent(count);
  SendBuffer& from = *buffer_;
  from.begin += static_cast<std::uint32_t>(count);
  PW_CHECK(from.begin <= from.end);
  ByteCount plain;
  while (from.record < from.records) {
    const SendBuffer::Record& record = from.record_at[from.record];
    if (from.begin <= record.plain_at) break;
    // The last byte counts with its tag, so that nothing held means nothing unsent.
    const bool whole = from.begin >= record.end;
    const std::uint32_t gone =
        whole ? record.plain_bytes : std::min(from.begin - record.plain_at, record.plain_bytes - 1);
    plain += ByteCount{gone - from.counted};
    from.counted = gone;
    if (!whole) break;
    from.counted = 0;
    ++from.record;
  }
  held_ -= plain;
  if (from.begin == from.end) buffers_.give_back(std::move(buffer_));
  return plain;
}

/// A reader who stops leaves a fill sealed, so it is as large as its socket takes.
void Outlet::learn_fill(std::size_t taken, std::size_t offered) {
  if (taken == offered && offered * 2 >= fill_) fill_ = std::min(fill_ * 2, SendBuffer::size);
  if (taken * 2 < offered) fill_ = std::max(fill_ / 2, SendBuffer::first_fill);
}

Result<Outlet::Sent> Outlet::send(int fd, bool more) {
  const std::string_view bytes = waiting();
  if (bytes.empty()) return Sent{};
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
  for (;;) {
    const ssize_t n = sys::plain_send(fd, bytes.data(), bytes.size(), flags);
    if (n >= 0) {
      const auto count = static_cast<std::size_t>(n);
      learn_fill(count, bytes.size());
      return Sent{.bytes = ByteCount{count}, .plain = taken(count)};
    }
    if (errno != EINTR) return failure("send", errno);  // EINTR: a signal before the first byte
  }
}

}  // namespace pagewire::tls
