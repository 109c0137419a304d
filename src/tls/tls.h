// tls: certificates, contexts and ticket keys of HTTPS, on OpenSSL 3.0.
//
// A worker has a Context of its own: an SSL_CTX and a private key have locks and reference counts
// that every handshake writes. What workers share are the ticket keys, of which each keeps a copy.
// Nothing here touches a socket.
//
// RFC 8446 and 5246 (TLS), 6066 (SNI, OCSP stapling), 7301 (ALPN), 5077 (tickets), 9325
// (recommendations); the ciphers and groups are those of Mozilla's "intermediate".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tls/session.h"
#include "tls/version.h"

struct ssl_ctx_st;  // SSL_CTX of <openssl/ssl.h>, which is large

namespace pagewire::tls {

/// Names of files.
struct CertificateFiles {
  std::string chain;      ///< PEM: the server's certificate, then those between it and the root
  std::string key;        ///< PEM, not encrypted
  std::string ocsp = {};  ///< DER, stapled; "": none
};

enum class ClientCertificates : std::uint8_t {
  Optional,  ///< asked for; a handshake without one goes on, one with a wrong one fails
  Required,
};

struct Settings {
  /// The first one answers where SNI fits none or is missing.
  std::vector<CertificateFiles> certificates = {};
  Version min_version = Version::Tls12;
  std::string client_ca = {};  ///< PEM, the roots of client certificates; "": none is asked for
  ClientCertificates client_certificates = ClientCertificates::Required;
  bool kernel_tls = true;      ///< the kernel encrypts where it can
  bool kernel_receive = true;  ///< and decrypts; of a relay
  bool zero_copy_ro = false;   ///< TLS_TX_ZEROCOPY_RO: only for files that never change in place
  bool tickets = true;
  bool http_alpn = true;  ///< HTTP/1.1 is negotiated; else what clients offer is passed over
  std::int64_t handshake_timeout_ms = 10'000;  ///< from accept to the end of the handshake
  std::uint64_t handshakes_per_second = 0;     ///< of each worker; 0 is any number
};

/// A handshake costs as much as hundreds of small responses; those of one second have a limit. Of
/// one worker.
class HandshakeRate {
 public:
  /// One that counts, if true. `limit` 0: any number.
  bool may_begin(std::uint64_t limit, std::int64_t now_ms) {
    if (limit == 0) return true;
    if (now_ms / 1'000 != second_) {
      second_ = now_ms / 1'000;
      begun_ = 0;
    }
    return ++begun_ <= limit;
  }

 private:
  std::int64_t second_ = 0;
  std::uint64_t begun_ = 0;  ///< in this second
};

struct TicketKey {
  std::array<unsigned char, 16> name{};  ///< in the ticket, as it is
  std::array<unsigned char, 32> cipher{};
  std::array<unsigned char, 32> mac{};
  TicketKey() = default;
  TicketKey(const TicketKey&) = default;
  TicketKey& operator=(const TicketKey&) = default;
  ~TicketKey();  ///< wipes: who gets at an old key opens what was sent under its tickets
};

/// The keys of a time, the newest first: that one encrypts, all of them decrypt.
struct TicketKeySet {
  std::vector<TicketKey> keys;
  std::int64_t until_ms = 0;  ///< then a newer set holds
};

/// Keys of session tickets, made here, never stored, the same for all workers. Every `period_ms`
/// there is a new one; older ones decrypt as long as a ticket may live. Any thread.
class TicketKeys {
 public:
  static constexpr std::int64_t period_ms = 2 * 3'600'000;
  static constexpr std::int64_t ticket_lifetime_ms = 2 * period_ms;

  using Clock = std::function<std::int64_t()>;
  TicketKeys();  ///< by CLOCK_MONOTONIC_COARSE
  explicit TicketKeys(Clock now_ms);

  std::int64_t now_ms() const { return now_ms_(); }
  /// What holds now. Takes a lock: a caller keeps the set until its until_ms.
  TicketKeySet current();

 private:
  void make_newest(std::int64_t now_ms);

  Clock now_ms_;
  std::mutex lock_;
  TicketKeySet set_;
};

/// What a worker's handshakes rest on. A connection holds the one that it began with, so that a
/// reload disturbs nobody. It is used, and let go of, by its worker's thread alone once that runs;
/// the SSL objects made from it go first.
class Context {
 public:
  /// Reads and checks every file. The error is one line for the user and names the file.
  static tl::expected<std::shared_ptr<const Context>, std::string> load(const Settings& settings,
                                                                        TicketKeys& keys);
  ~Context();

  /// For SSL_new(); of the first certificate, the SNI callback switches.
  ssl_ctx_st* handle() const;
  /// Lines for the log about what was left out, such as a stale OCSP response.
  const std::vector<std::string>& notes() const;

  struct Parts;  // private to the room
  explicit Context(std::unique_ptr<Parts> parts);

 private:
  std::unique_ptr<Parts> parts_;
};

/// One for each worker.
using Contexts = std::vector<std::shared_ptr<const Context>>;

/// `count` of them, from files that are read once, so that all have the same.
tl::expected<Contexts, std::string> load_contexts(const Settings& settings, TicketKeys& keys,
                                                  std::size_t count);

}  // namespace pagewire::tls
