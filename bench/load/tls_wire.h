// One connection of the load client over TLS 1.3, by OpenSSL, or blind: requests are encrypted, and
// of the answers only the record headers are read.
//
// To decrypt costs the client as much as it costs the server to encrypt, and the client would be
// the bottleneck. A record of TLS 1.3 carries its length minus 17 (RFC 8446, section 5.2: a byte of
// type and the tag of 16), as long as nobody pads, which no server here does. Tickets are records
// too; they come before the first answer, and a wire goes blind behind that one.
#pragma once

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

#include "load/plain_wire.h"
#include "load/tls_context.h"

namespace pagewire::bench {

/// Counts what records carry. Fed with the stream as it came, payloads also by their length alone.
class RecordCounter {
 public:
  /// Bytes of the record under way that are still to come; 0: a header comes next.
  std::size_t payload_left() const { return payload_left_; }
  /// What the records that are whole by now carried, since the last call.
  std::size_t take() { return std::exchange(carried_, 0); }
  void skip(std::size_t count) {
    payload_left_ -= count;
    if (payload_left_ == 0) carried_ += carries_;
  }
  /// False for what is no record of application data: the framing is lost.
  bool feed(std::span<const char> bytes) {
    while (!bytes.empty()) {
      if (payload_left_ > 0) {
        const std::size_t count = std::min(payload_left_, bytes.size());
        skip(count);
        bytes = bytes.subspan(count);
        continue;
      }
      const std::size_t count = std::min(header_.size() - header_bytes_, bytes.size());
      std::memcpy(header_.data() + header_bytes_, bytes.data(), count);
      header_bytes_ += count;
      bytes = bytes.subspan(count);
      if (header_bytes_ == header_.size() && !read_header()) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t overhead_bytes = 17;
  static constexpr std::size_t max_record_bytes = (1 << 14) + 256;

  bool read_header() {
    header_bytes_ = 0;
    payload_left_ = static_cast<std::size_t>(header_[3] << 8 | header_[4]);
    if (header_[0] != SSL3_RT_APPLICATION_DATA || header_[1] != 3 || header_[2] != 3 ||
        payload_left_ < overhead_bytes || payload_left_ > max_record_bytes) {
      return false;
    }
    carries_ = payload_left_ - overhead_bytes;
    return true;
  }

  std::array<unsigned char, 5> header_{};
  std::size_t header_bytes_ = 0;
  std::size_t payload_left_ = 0;
  std::size_t carries_ = 0;  // the record under way
  std::size_t carried_ = 0;
};

class TlsWire {
 public:
  using Context = TlsContext;

  /// Blocking until the handshake is made.
  bool connect(Context& context, const sys::Address& address) {
    close();
    context_ = &context;
    fd_ = sys::Fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    if (!fd_.is_open() || ::connect(fd_.get(), address.raw(), address.raw_size()) != 0 ||
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        !sys::set_no_delay(fd_.get())) {
      return false;
    }
    ssl_ = context.session_on(fd_.get());
    if (!ssl_ || SSL_connect(ssl_.get()) != 1) {
      complain_of_tls("no handshake");
      return errno = EPROTO, false;
    }
    return ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK) == 0;
  }
  int fd() const { return fd_.get(); }
  bool is_open() const { return fd_.is_open(); }
  void close() {
    ssl_.reset();
    fd_.close();
    blind_ = false;
    records_ = {};
  }

  bool send(std::string_view bytes) {
    std::size_t sent = 0;  // all or nothing: partial writes are off by default
    const bool good = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &sent) == 1;
    ERR_clear_error();
    return good;
  }
  Got read(std::span<char> into) {
    std::size_t got = 0;
    errno = 0;
    if (SSL_read_ex(ssl_.get(), into.data(), into.size(), &got) == 1) {
      return {.kind = Got::Kind::Bytes, .bytes = got};
    }
    const int why = SSL_get_error(ssl_.get(), 0);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ) return {};
    return {.kind = why == SSL_ERROR_ZERO_RETURN ? Got::Kind::Closed : Got::Kind::Failed};
  }
  Got skip(std::size_t at_most) {
    if (blind_) return count();
    const std::span<char> scratch(context_->scratch);
    return read(scratch.first(std::min(at_most, scratch.size())));
  }

  bool is_blind() const { return blind_; }
  /// From now on nothing is decrypted. False when OpenSSL holds bytes that it has not given out.
  bool go_blind() { return blind_ = SSL_has_pending(ssl_.get()) == 0; }

 private:
  // Holds a small answer whole, so that it costs one recv; of a large record little is copied.
  static constexpr std::size_t look_bytes = 2048;

  /// The rest of a record is thrown away in the kernel, which also finds out where the next starts.
  Got count() {
    const bool throw_away = records_.payload_left() > look_bytes;
    const std::size_t wanted = throw_away ? records_.payload_left() : look_bytes;
    Got got = received(::recv(fd_.get(), throw_away ? nullptr : context_->scratch.data(), wanted,
                              throw_away ? MSG_TRUNC : 0),
                       wanted);
    if (got.kind != Got::Kind::Bytes) return got;
    if (throw_away) {
      records_.skip(got.bytes);
    } else if (!records_.feed({context_->scratch.data(), got.bytes})) {
      return {.kind = Got::Kind::Failed};
    }
    got.bytes = records_.take();
    return got;
  }

  Context* context_ = nullptr;
  sys::Fd fd_;
  Ssl ssl_;  // behind fd_, which it only borrows
  bool blind_ = false;
  RecordCounter records_;
};

}  // namespace pagewire::bench
