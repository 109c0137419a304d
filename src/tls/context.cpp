// One SSL_CTX for each certificate of a worker.
#include <fmt/format.h>

#include "tls/certificate.h"
#include "tls/ciphers.h"
#include "tls/openssl.h"
#include "tls/tls.h"

namespace pagewire::tls {

struct Context::Parts {
  Settings settings;
  std::vector<SslCtxPtr> contexts;  // of each certificate, in their order
};

namespace {

/// What OpenSSL refuses of a certificate is its strength: SSL_CTX_get_security_level(3).
OrText<void> use_certificate(SSL_CTX* ctx, const Certificate& certificate,
                             const CertificateFiles& files) {
  bool taken = SSL_CTX_use_certificate(ctx, certificate.leaf.get()) == 1;
  for (const X509Ptr& each : certificate.between) {
    taken = taken && SSL_CTX_add1_chain_cert(ctx, each.get()) == 1;
  }
  taken = taken && SSL_CTX_use_PrivateKey(ctx, certificate.key.get()) == 1;
  if (taken) return {};
  return tl::unexpected(
      fmt::format("the certificate {} cannot be used ({})", files.chain, last_reason()));
}

OrText<void> set_protocol(SSL_CTX* ctx, const Settings& settings) {
  const CipherOrder order = cipher_order(cpu_has_aes());
  const int least = settings.min_version == Version::Tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  const bool set = SSL_CTX_set_min_proto_version(ctx, least) == 1 &&
                   SSL_CTX_set_ciphersuites(ctx, order.tls13.c_str()) == 1 &&
                   SSL_CTX_set_cipher_list(ctx, order.tls12.c_str()) == 1 &&
                   SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
  if (!set) return tl::unexpected("OpenSSL refuses the ciphers: " + last_reason());
  // A client that puts ChaCha20 first has no AES instructions.
  const std::uint64_t options = SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
  SSL_CTX_set_options(ctx, options);
  Session::prepare(*ctx);
  // An idle connection keeps no record buffers (34 KiB).
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  return {};
}

OrText<SslCtxPtr> make_ctx(const Settings& settings, const CertificateTexts& texts) {
  OrText<Certificate> certificate = parse_certificate(texts, std::time(nullptr));
  if (!certificate) return tl::unexpected(certificate.error());
  SslCtxPtr ctx(SSL_CTX_new(TLS_server_method()));
  if (ctx == nullptr) return tl::unexpected("OpenSSL makes no context: " + last_reason());
  return set_protocol(ctx.get(), settings)
      .and_then([&] { return use_certificate(ctx.get(), *certificate, texts.files); })
      .map([&] { return std::move(ctx); });
}

OrText<std::shared_ptr<const Context>> make_context(const Settings& settings, TicketKeys& /*keys*/,
                                                    const std::vector<CertificateTexts>& texts) {
  auto parts = std::make_unique<Context::Parts>();
  parts->settings = settings;
  for (const CertificateTexts& each : texts) {
    OrText<SslCtxPtr> ctx = make_ctx(settings, each);
    if (!ctx) return tl::unexpected(ctx.error());
    parts->contexts.push_back(std::move(*ctx));
  }
  return std::make_shared<const Context>(std::move(parts));
}

}  // namespace

Context::Context(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Context::~Context() = default;

tl::expected<std::shared_ptr<const Context>, std::string> Context::load(const Settings& settings,
                                                                        TicketKeys& keys) {
  auto contexts = load_contexts(settings, keys, 1);
  if (!contexts) return tl::unexpected(contexts.error());
  return contexts->front();
}

ssl_ctx_st* Context::handle() const {
  return parts_->contexts.front().get();
}

const Settings& Context::settings() const {
  return parts_->settings;
}

tl::expected<std::vector<std::shared_ptr<const Context>>, std::string> load_contexts(
    const Settings& settings, TicketKeys& keys, std::size_t count) {
  if (settings.certificates.empty()) return tl::unexpected(std::string("no certificate is given"));
  std::vector<CertificateTexts> texts;
  for (const CertificateFiles& files : settings.certificates) {
    OrText<CertificateTexts> read = read_certificate(files);
    if (!read) return tl::unexpected(read.error());
    texts.push_back(std::move(*read));
  }
  std::vector<std::shared_ptr<const Context>> contexts;
  while (contexts.size() < count) {
    OrText<std::shared_ptr<const Context>> context = make_context(settings, keys, texts);
    if (!context) return tl::unexpected(context.error());
    contexts.push_back(std::move(*context));
  }
  return contexts;
}

}  // namespace pagewire::tls
