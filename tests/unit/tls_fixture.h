// Certificates in a temporary folder, and handshakes in memory between a Context and OpenSSL's
// client.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "support/tls_certificates.h"
#include "tls/tls.h"

namespace pagewire::tls::testing {

using test::CertificateWish;
using test::MadeCertificate;

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pagewire-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
  }
  ~TlsTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string write(const std::string& name, const std::string& bytes) const {
    test::write_file(path(name), bytes);
    return path(name);
  }
  /// NAME.pem and NAME.key.
  CertificateFiles store(const std::string& name, const MadeCertificate& made) const {
    return {.chain = write(name + ".pem", test::certificate_pem(made)),
            .key = write(name + ".key", test::key_pem(made)),
            .ocsp = {}};
  }
  CertificateFiles make(const std::string& name, const CertificateWish& wish) const {
    return store(name, test::make_certificate(wish));
  }

  std::shared_ptr<const Context> load(const Settings& settings) {
    auto loaded = Context::load(settings, keys_);
    EXPECT_TRUE(loaded.has_value()) << loaded.error();
    return loaded.value_or(nullptr);
  }
  /// The error of what must not load: one line.
  std::string error_of(const Settings& settings) {
    const auto loaded = Context::load(settings, keys_);
    EXPECT_FALSE(loaded.has_value());
    if (loaded) return "";
    EXPECT_EQ(loaded.error().find('\n'), std::string::npos) << loaded.error();
    return loaded.error();
  }

  std::string folder_;
  std::int64_t now_ms_ = 1'000'000;  // of the ticket keys
  TicketKeys keys_{[this] { return now_ms_; }};
};

using SessionPtr = std::shared_ptr<SSL_SESSION>;

struct Client {
  std::string server_name = {};
  std::string alpn = {};  ///< as on the wire: each with its length before it
  int version = 0;        ///< TLS1_2_VERSION alone, say; 0: any
  std::string ciphers12 = {};
  std::string ciphers13 = {};
  std::string groups = {};
  SessionPtr session = {};
  const MadeCertificate* certificate = nullptr;
  bool ask_status = false;
};

struct Seen {
  bool done = false;
  std::string server_reason;  ///< OpenSSL's, of a handshake that failed there
  int alert = 0;              ///< that the server sent
  long serial = 0;            ///< of the certificate that came
  int chain_length = 0;
  std::string alpn;
  int version = 0;
  std::string cipher;
  std::string group;
  std::string status;  ///< the stapled response
  bool resumed = false;
  int tickets = 0;
  SessionPtr session;  ///< of the last ticket
};

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* ctx) const { SSL_CTX_free(ctx); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;
using ClientCtxPtr = std::unique_ptr<SSL_CTX, SslFree>;

inline int keep_ticket(SSL* ssl, SSL_SESSION* session) {
  auto& outcome = *static_cast<Seen*>(SSL_get_app_data(ssl));
  ++outcome.tickets;
  outcome.session = SessionPtr(session, SSL_SESSION_free);
  return 1;  // it is ours
}

inline void note_alert(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY) {
    static_cast<Seen*>(SSL_get_app_data(ssl))->alert = value & 0xff;
  }
}

inline ClientCtxPtr make_client_ctx(const Client& client) {
  ClientCtxPtr ctx(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(ctx.get(), client.version);
  SSL_CTX_set_max_proto_version(ctx.get(), client.version);
  SSL_CTX_set_session_cache_mode(ctx.get(),
                                 SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(ctx.get(), keep_ticket);
  SSL_CTX_set_info_callback(ctx.get(), note_alert);
  if (!client.ciphers12.empty()) SSL_CTX_set_cipher_list(ctx.get(), client.ciphers12.c_str());
  if (!client.ciphers13.empty()) SSL_CTX_set_ciphersuites(ctx.get(), client.ciphers13.c_str());
  if (!client.groups.empty()) SSL_CTX_set1_groups_list(ctx.get(), client.groups.c_str());
  if (client.certificate != nullptr) {
    SSL_CTX_use_certificate(ctx.get(), client.certificate->certificate.get());
    SSL_CTX_use_PrivateKey(ctx.get(), client.certificate->key.get());
  }
  return ctx;
}

inline SslPtr make_client(SSL_CTX* ctx, const Client& client, Seen& outcome) {
  SslPtr ssl(SSL_new(ctx));
  SSL_set_app_data(ssl.get(), &outcome);
  if (!client.server_name.empty()) {
    SSL_set_tlsext_host_name(ssl.get(), client.server_name.c_str());
  }
  if (!client.alpn.empty()) {
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(client.alpn.data()),
                        static_cast<unsigned>(client.alpn.size()));
  }
  if (client.ask_status) SSL_set_tlsext_status_type(ssl.get(), TLSEXT_STATUSTYPE_ocsp);
  if (client.session != nullptr) SSL_set_session(ssl.get(), client.session.get());
  SSL_set_connect_state(ssl.get());
  return ssl;
}

inline void describe_server(SSL* client, Seen& outcome) {
  X509* const leaf = SSL_get0_peer_certificate(client);
  if (leaf != nullptr) outcome.serial = ASN1_INTEGER_get(X509_get0_serialNumber(leaf));
  outcome.chain_length = sk_X509_num(SSL_get_peer_cert_chain(client));
  const unsigned char* bytes = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client, &bytes, &size);
  outcome.alpn.assign(reinterpret_cast<const char*>(bytes), size);
  outcome.version = SSL_version(client);
  outcome.cipher = SSL_get_cipher_name(client);
  if (const char* const group =
          SSL_group_to_name(client, static_cast<int>(SSL_get_negotiated_group(client)))) {
    outcome.group = group;
  }
  outcome.resumed = SSL_session_reused(client) == 1;
  const unsigned char* status = nullptr;
  const long status_size = SSL_get_tlsext_status_ocsp_resp(client, &status);
  if (status_size > 0) {
    outcome.status.assign(reinterpret_cast<const char*>(status),
                          static_cast<std::size_t>(status_size));
  }
}

/// A whole handshake, and the tickets behind it.
inline Seen handshake(const Context& context, const Client& wishes) {
  Seen outcome;
  const ClientCtxPtr ctx = make_client_ctx(wishes);
  const SslPtr client = make_client(ctx.get(), wishes, outcome);
  const SslPtr server(SSL_new(context.handle()));
  SSL_set_accept_state(server.get());
  BIO* client_end = nullptr;
  BIO* server_end = nullptr;
  BIO_new_bio_pair(&client_end, 0, &server_end, 0);
  SSL_set_bio(client.get(), client_end, client_end);
  SSL_set_bio(server.get(), server_end, server_end);
  bool client_done = false;
  bool server_done = false;
  ERR_clear_error();
  for (int turn = 0; turn < 20; ++turn) {
    client_done = SSL_do_handshake(client.get()) == 1;
    ERR_clear_error();
    server_done = SSL_do_handshake(server.get()) == 1;
    const unsigned long failure = ERR_peek_error();
    if (failure != 0) outcome.server_reason = ERR_reason_error_string(failure);
    ERR_clear_error();
  }
  std::array<char, 16> byte;
  (void)SSL_read(client.get(), byte.data(), byte.size());  // takes the tickets in
  ERR_clear_error();
  outcome.done = client_done && server_done;
  if (outcome.done) describe_server(client.get(), outcome);
  // Of a resumed session of TLS 1.2 OpenSSL's client does not call keep_ticket.
  if (outcome.resumed && SSL_version(client.get()) == TLS1_2_VERSION &&
      SSL_get_session(client.get()) != wishes.session.get()) {
    ++outcome.tickets;
    outcome.session = SessionPtr(SSL_get1_session(client.get()), SSL_SESSION_free);
  }
  // SSL_free() would mark the session of a connection that was not shut down as not to be resumed.
  SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  return outcome;
}

}  // namespace pagewire::tls::testing
