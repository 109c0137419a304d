#include "sys/kernel_tls.h"

#include <endian.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "sys/kernel_config.h"
#include "sys/socket.h"
#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

// Newer than glibc 2.36.
constexpr int ulp_option = 31;  // TCP_ULP of linux/tcp.h
constexpr int tls_level = 282;  // SOL_TLS

void put_u64(unsigned char* into, std::uint64_t value) {
  const std::uint64_t big_endian = ::htobe64(value);
  std::memcpy(into, &big_endian, sizeof big_endian);
}

/// The kernel's structures of AES-GCM differ in the size of their key only.
template <class Info>
Info gcm_info(const TlsKeys& keys, std::uint16_t cipher) {
  Info info{};
  info.info.version = keys.tls13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
  info.info.cipher_type = cipher;
  std::copy_n(keys.key.data(), sizeof info.key, info.key);
  std::copy_n(keys.iv.data(), sizeof info.salt, info.salt);
  if (keys.tls13) {
    std::copy_n(keys.iv.data() + sizeof info.salt, sizeof info.iv, info.iv);
  } else {
    put_u64(info.iv, keys.sequence);  // the explicit nonce: counted up from here
  }
  put_u64(info.rec_seq, keys.sequence);
  return info;
}

template <class Info>
Result<std::uint64_t> get_sequence(int fd) {
  Info info{};
  socklen_t size = sizeof info;
  const int got = ::getsockopt(fd, tls_level, TLS_TX, &info, &size);
  const int errno_value = errno;
  std::uint64_t sequence = 0;
  std::memcpy(&sequence, info.rec_seq, sizeof info.rec_seq);
  ::explicit_bzero(&info, sizeof info);
  if (got != 0) return failure("getsockopt(TLS_TX)", errno_value);
  return ::be64toh(sequence);
}

/// TLS_TX or TLS_RX.
struct Direction {
  int option;
  const char* operation;
};

template <class Info>
Result<void> set_keys(int fd, Direction direction, Info info) {
  const int set = ::setsockopt(fd, tls_level, direction.option, &info, sizeof info);
  const int errno_value = errno;
  ::explicit_bzero(&info, sizeof info);
  if (set != 0) return failure(direction.operation, errno_value);
  return {};
}

Result<void> start(int fd, Direction direction, const TlsKeys& keys) {
  switch (keys.cipher) {
    case TlsCipher::Aes128Gcm:
      return set_keys(fd, direction,
                      gcm_info<tls12_crypto_info_aes_gcm_128>(keys, TLS_CIPHER_AES_GCM_128));
    case TlsCipher::Aes256Gcm:
      return set_keys(fd, direction,
                      gcm_info<tls12_crypto_info_aes_gcm_256>(keys, TLS_CIPHER_AES_GCM_256));
    case TlsCipher::ChaCha20Poly1305:
      break;
  }
  tls12_crypto_info_chacha20_poly1305 info{};
  info.info.version = keys.tls13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
  info.info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
  std::copy_n(keys.key.data(), sizeof info.key, info.key);
  std::copy_n(keys.iv.data(), sizeof info.iv, info.iv);
  put_u64(info.rec_seq, keys.sequence);
  return set_keys(fd, direction, info);
}

}  // namespace

Result<void> start_tls_transmit(int fd, const TlsKeys& keys) {
  return start(fd, {.option = TLS_TX, .operation = "setsockopt(TLS_TX)"}, keys);
}

Result<void> start_tls_receive(int fd, const TlsKeys& keys) {
  return start(fd, {.option = TLS_RX, .operation = "setsockopt(TLS_RX)"}, keys);
}

Result<std::uint64_t> next_tls_sequence(int fd, TlsCipher cipher) {
  switch (cipher) {
    case TlsCipher::Aes128Gcm:
      return get_sequence<tls12_crypto_info_aes_gcm_128>(fd);
    case TlsCipher::Aes256Gcm:
      return get_sequence<tls12_crypto_info_aes_gcm_256>(fd);
    case TlsCipher::ChaCha20Poly1305:
      return get_sequence<tls12_crypto_info_chacha20_poly1305>(fd);
  }
  return failure("getsockopt(TLS_TX)", EINVAL);
}

Result<void> allow_tls_zero_copy(int fd) {
  const unsigned on = 1;
  if (::setsockopt(fd, tls_level, TLS_TX_ZEROCOPY_RO, &on, sizeof on) != 0) {
    return last_error("setsockopt(TLS_TX_ZEROCOPY_RO)");
  }
  return {};
}

Result<void> attach_tls(int fd) {
  if (::setsockopt(fd, IPPROTO_TCP, ulp_option, "tls", sizeof "tls") != 0) {
    return last_error("setsockopt(TCP_ULP)");
  }
  return {};
}

Result<void> send_tls_record(int fd, std::uint8_t type, std::span<const unsigned char> bytes) {
  iovec piece{const_cast<unsigned char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof type)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = tls_level;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(sizeof type);
  *CMSG_DATA(header) = type;
  for (;;) {
    const ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return {};  // a control record goes whole or not at all
    if (errno != EINTR) return last_error("sendmsg(TLS record)");  // EINTR: nothing went
  }
}

Result<TlsReceived> receive_tls(int fd, std::span<char> into) {
  iovec piece{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint8_t))> control;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = ::syscall(SYS_recvmsg, fd, &message, MSG_DONTWAIT);  // as in plain_calls.h
  if (n < 0) return last_error("recvmsg(TLS record)");
  TlsReceived received{.count = static_cast<std::size_t>(n)};
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == tls_level &&
      header->cmsg_type == TLS_GET_RECORD_TYPE) {
    received.type = *CMSG_DATA(header);
  }
  return received;
}

namespace {

/// Of a socket that nothing is sent on.
bool takes_second_key(int fd) {
  const std::array<unsigned char, 16> key{};
  const TlsKeys keys{
      .tls13 = true, .cipher = TlsCipher::Aes128Gcm, .key = key, .iv = {}, .sequence = 0};
  return start_tls_transmit(fd, keys).has_value() && start_tls_transmit(fd, keys).has_value();
}

}  // namespace

KernelTls probe_kernel_tls() {
  const Result<SocketPair> pair = tcp_pair_over_loopback();
  if (!pair) return {};  // no loopback, no descriptors: then nobody can say
  const int fd = pair->sender.get();
  if (attach_tls(fd)) return {.available = true, .rekeys = takes_second_key(fd), .reason = {}};
  const std::optional<KernelConfig> config = KernelConfig::load();
  const bool is_module = config && config->value_of("TLS") == "m";
  return {.available = false,
          .rekeys = false,
          .reason = is_module ? "module-not-loaded" : "no-kernel-tls"};
}

std::uint64_t device_tls_connections() {
  std::array<char, 4096> buffer;
  const Result<std::string_view> text = read_text("/proc/net/tls_stat", buffer);
  if (!text) return 0;  // ENOENT: a kernel without TLS, or before 5.5
  constexpr std::string_view name = "TlsTxDevice";
  const std::size_t at = text->find(name);
  if (at == std::string_view::npos) return 0;
  const std::size_t digits = text->find_first_of("0123456789", at);
  if (digits == std::string_view::npos) return 0;
  std::uint64_t value = 0;
  std::from_chars(text->data() + digits, text->data() + text->size(), value);
  return value;
}

}  // namespace pagewire::sys
