// Kernel TLS (tls.rst of the kernel's networking documentation): the kernel makes the records of
// what is sent on a TCP socket, sendfile included, and opens those that come, for splice as well.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace pagewire::sys {

enum class TlsCipher : std::uint8_t { Aes128Gcm, Aes256Gcm, ChaCha20Poly1305 };

/// Of one direction.
struct TlsKeys {
  bool tls13 = true;
  TlsCipher cipher = TlsCipher::Aes128Gcm;
  std::span<const unsigned char> key;
  /// The IV; for GCM under TLS 1.2 the salt in its first 4 bytes.
  std::array<unsigned char, 12> iv{};
  std::uint64_t sequence = 0;  ///< of the next record
};

/// Of the connected socket, whose send queue holds only whole records, all but sealed ones: from
/// the next send on the kernel encrypts. Needs attach_tls() before. Errors: ENOENT, EINVAL,
/// EOPNOTSUPP (this kernel lacks the cipher, or has it not for this version of TLS; a second key,
/// and a card encrypts), ENOMEM, EBUSY (a second key before Linux 6.14, or under TLS 1.2).
Result<void> start_tls_transmit(int fd, const TlsKeys& keys);

/// Of the connected socket, whose receive queue begins with a record: from the next receive on the
/// kernel decrypts. Needs attach_tls() before. A second time, once a KeyUpdate has been received:
/// with the key that follows. Errors: as start_tls_transmit().
Result<void> start_tls_receive(int fd, const TlsKeys& keys);

struct TlsReceived {
  std::size_t count = 0;
  /// Of the records that it is from: 23 application data, 21 alert, 22 handshake; 0: FIN.
  std::uint8_t type = 0;
};
/// What the kernel has opened: of records of application data as much as there is room for, of one
/// of another type all. Errors: EAGAIN; EBADMSG (a record does not decrypt), EMSGSIZE (it is longer
/// than any may be), EINVAL (what came is no record): each stands in SO_ERROR as well, is told to
/// whoever sends, too, and ends the receiving for good; ENOMEM, ECONNRESET ...
Result<TlsReceived> receive_tls(int fd, std::span<char> into);

/// TLS_TX_ZEROCOPY_RO: a network card that encrypts reads sendfile's pages without a copy. Errors:
/// EINVAL (the kernel encrypts, not a card), ENOPROTOOPT (before Linux 5.19).
Result<void> allow_tls_zero_copy(int fd);

/// Makes the socket one that start_tls_transmit() may be called for; nothing else changes for it.
/// Errors: ENOENT (this kernel has no TLS, or its module is not loaded and this process may not
/// load it), ENOTCONN (reset already), EEXIST (done already).
Result<void> attach_tls(int fd);

/// One record of another type than application data: 21 alert, 22 handshake. Errors: as send(2).
Result<void> send_tls_record(int fd, std::uint8_t type, std::span<const unsigned char> bytes);

/// The sequence number of the next record that the kernel makes on this socket. Errors: EINVAL
/// (kernels that do not tell it of this cipher), EBUSY.
Result<std::uint64_t> next_tls_sequence(int fd, TlsCipher cipher);

/// What this kernel can do, found by trying it on a connection over loopback.
struct KernelTls {
  bool available = false;
  bool rekeys = false;  ///< takes a second key, for KeyUpdate (Linux 6.14)
  /// Why not: "no-kernel-tls" or "module-not-loaded" (it is a module, and CAP_NET_ADMIN would be
  /// needed to load it).
  std::string_view reason = "no-kernel-tls";
};
KernelTls probe_kernel_tls();

/// Connections whose records a network card has ever encrypted (TlsTxDevice of
/// /proc/net/tls_stat); 0 where the kernel does not count them.
std::uint64_t device_tls_connections();

}  // namespace pagewire::sys
