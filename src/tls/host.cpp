#include "tls/host.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "base/check.h"
#include "tls/ciphers.h"
#include "tls/key_schedule.h"

namespace pagewire::tls {

namespace {

OrText<void> set_protocol(SSL_CTX* ctx, const Settings& settings);
OrText<void> set_client_roots(SSL_CTX* ctx, const Settings& settings, const ClientRoots& roots);
void set_tickets(SSL_CTX* ctx, const Settings& settings);
void set_callbacks(Host& host, const Settings& settings);

}  // namespace

Hosts::Hosts(TicketKeys& keys) : library(make_library()), tickets(library.get(), keys) {}

OrText<std::unique_ptr<Host>> make_host(Hosts& hosts, const Settings& settings,
                                        const ClientRoots& roots) {
  SslCtxPtr ctx = make_server_context(hosts.library.get());
  if (ctx == nullptr) return tl::unexpected("OpenSSL makes no context: " + last_reason());
  auto host = std::make_unique<Host>(
      Host{.hosts = hosts, .ctx = std::move(ctx), .names = {}, .served = {}});
  SSL_CTX* const raw = host->ctx.get();
  set_tickets(raw, settings);
  set_callbacks(*host, settings);
  return set_protocol(raw, settings)
      .and_then([&] { return set_client_roots(raw, settings, roots); })
      .map([&] { return std::move(host); });
}

OrText<void> add_certificate(Host& host, ServedCertificate added) {
  SSL_CTX* const ctx = host.ctx.get();
  const Certificate& certificate = added.certificate;
  bool taken = SSL_CTX_use_certificate(ctx, certificate.leaf.get()) == 1;
  // To the chain of the certificate that was set last.
  for (const X509Ptr& each : certificate.between) {
    taken = taken && SSL_CTX_add1_chain_cert(ctx, each.get()) == 1;
  }
  taken = taken && SSL_CTX_use_PrivateKey(ctx, certificate.key.get()) == 1;
  if (!taken) {
    return tl::unexpected(
        fmt::format("the certificate {} cannot be used ({})", added.files.chain, last_reason()));
  }
  host.served.push_back(std::move(added));
  return {};
}

bool has_key_of_type(const Host& host, int type) {
  for (const ServedCertificate& each : host.served) {
    if (EVP_PKEY_get_base_id(each.certificate.key.get()) == type) return true;
  }
  return false;
}

namespace {

// ---------------------------------------------------------------- settings

OrText<void> set_protocol(SSL_CTX* ctx, const Settings& settings) {
  const CipherOrder order = cipher_order(cpu_has_aes());
  const int least = settings.min_version == Version::Tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  const bool set = SSL_CTX_set_min_proto_version(ctx, least) == 1 &&
                   SSL_CTX_set_ciphersuites(ctx, order.tls13.c_str()) == 1 &&
                   SSL_CTX_set_cipher_list(ctx, order.tls12.c_str()) == 1 &&
                   SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
  if (!set) return tl::unexpected("OpenSSL refuses the ciphers: " + last_reason());
  // A client that puts ChaCha20 first has no AES instructions.
  constexpr std::uint64_t options = SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
  SSL_CTX_set_options(ctx, options);
  // An idle connection keeps no record buffers (34 KiB).
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  return {};
}

/// Nothing is kept here about a session: the ticket has it.
void set_tickets(SSL_CTX* ctx, const Settings& settings) {
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  if (!settings.tickets) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    // OpenSSL would send TLS 1.3 tickets that name a session of its cache.
    SSL_CTX_set_num_tickets(ctx, 0);
    return;
  }
  SSL_CTX_set_timeout(ctx, TicketKeys::ticket_lifetime_ms / 1'000);
  SSL_CTX_set_num_tickets(ctx, 1);
}

OrText<void> set_client_roots(SSL_CTX* ctx, const Settings& settings, const ClientRoots& roots) {
  // Also without roots: a session of then must not go on where clients are asked.
  PW_CHECK(SSL_CTX_set_session_id_context(
               ctx, reinterpret_cast<const unsigned char*>(roots.policy.data()),
               static_cast<unsigned>(roots.policy.size())) == 1);
  if (roots.certificates.empty()) return {};
  X509_STORE* const store = SSL_CTX_get_cert_store(ctx);
  for (const X509Ptr& root : roots.certificates) {
    // The names go to the client, which chooses among its certificates by them.
    if (X509_STORE_add_cert(store, root.get()) != 1 ||
        SSL_CTX_add_client_CA(ctx, root.get()) != 1) {
      return tl::unexpected(fmt::format("a certificate of {} cannot be used ({})",
                                        settings.client_ca, last_reason()));
    }
  }
  int mode = SSL_VERIFY_PEER;
  switch (settings.client_certificates) {
    case ClientCertificates::Optional:
      break;
    case ClientCertificates::Required:
      mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  }
  SSL_CTX_set_verify(ctx, mode, nullptr);
  return {};
}

// ---------------------------------------------------------------- callbacks

const Host& host_of(SSL* ssl) {
  return *static_cast<const Host*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

int on_server_name(SSL* ssl, int* /*alert*/, void* /*argument*/) {
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  const Hosts& hosts = host_of(ssl).hosts;
  constexpr std::size_t first = 0;
  SSL_set_SSL_CTX(ssl, hosts.all[hosts.names.find(name, first)]->ctx.get());
  return SSL_TLSEXT_ERR_OK;
}

/// Called only where the client offers ALPN. RFC 7301, 3.2: without a common protocol the handshake
/// ends with no_application_protocol.
int on_alpn(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size,
            const unsigned char* offered, unsigned offered_size, void* /*argument*/) {
  // Static: what is chosen points into it.
  static constexpr std::array<unsigned char, 18> spoken{8, 'h', 't', 't', 'p', '/', '1', '.', '1',
                                                        8, 'h', 't', 't', 'p', '/', '1', '.', '0'};
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, chosen_size, spoken.data(), spoken.size(),
                                           offered, offered_size);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac, int encrypt) {
  Tickets& tickets = host_of(ssl).hosts.tickets;
  const Tickets::Ticket ticket{.name = name, .iv = iv, .cipher = cipher, .mac = mac};
  if (encrypt != 0) return tickets.encrypt(ticket);
  return tickets.decrypt(ticket);
}

void tell_stale(const ServedCertificate& served) {
  if (served.told_stale->exchange(true)) return;
  (void)std::fprintf(
      stderr, "pagewire: the OCSP response %s has become stale: it is not stapled any more\n",
      served.files.ocsp.c_str());
}

/// Called only where the client asks for a status.
int on_status(SSL* ssl, void* /*argument*/) {
  const X509* const leaf = SSL_get_certificate(ssl);
  for (const ServedCertificate& served : host_of(ssl).served) {
    const std::string& der = served.staple.der;
    if (served.certificate.leaf.get() != leaf || der.empty()) continue;
    if (served.staple.until <= std::time(nullptr)) {
      tell_stale(served);
      continue;
    }
    // OpenSSL frees what it is given.
    void* const copy = OPENSSL_memdup(der.data(), der.size());
    if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(der.size()));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

void set_callbacks(Host& host, const Settings& settings) {
  SSL_CTX* const ctx = host.ctx.get();
  SSL_CTX_set_app_data(ctx, &host);
  SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
  if (settings.http_alpn) SSL_CTX_set_alpn_select_cb(ctx, on_alpn, nullptr);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
  SSL_CTX_set_tlsext_status_cb(ctx, on_status);
}

}  // namespace

}  // namespace pagewire::tls
