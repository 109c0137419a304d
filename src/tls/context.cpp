// From files to the contexts of all workers: each file is read once, and parsed for each worker.
//
// A worker's OSSL_LIB_CTX is its own too. The default one has a lock around the table of algorithms
// that each handshake asks many times: with two workers on two CPUs that was a tenth of a full
// handshake's time (docs/adr/0008-a-context-a-worker.md). What OpenSSL's configuration file says of
// SSL_CTX in general holds all the same.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <ctime>

#include "base/check.h"
#include "tls/host.h"
#include "tls/tls.h"

namespace pagewire::tls {

struct Context::Parts {
  Parts(const Settings& all, TicketKeys& keys) : settings(all), hosts(keys) {}
  Settings settings;
  Hosts hosts;
  std::vector<std::string> notes;
};

namespace {

struct Texts {
  std::vector<CertificateTexts> certificates;
  std::string client_ca;
};

OrText<Texts> read_texts(const Settings& settings) {
  if (settings.certificates.empty()) return tl::unexpected(std::string("no certificate is given"));
  Texts texts;
  for (const CertificateFiles& files : settings.certificates) {
    OrText<CertificateTexts> read = read_certificate(files);
    if (!read) return tl::unexpected(read.error());
    texts.certificates.push_back(std::move(*read));
  }
  if (settings.client_ca.empty()) return texts;
  return read_file("client CA", settings.client_ca).map([&](std::string&& pem) {
    texts.client_ca = std::move(pem);
    return std::move(texts);
  });
}

/// Of what decides who is let in.
std::string policy_of(const Settings& settings, const std::string& client_ca) {
  std::string text = client_ca;
  text += settings.client_certificates == ClientCertificates::Required ? 'R' : 'O';
  if (settings.client_ca.empty()) text.clear();
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  static_assert(SHA256_DIGEST_LENGTH <= SSL_MAX_SID_CTX_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

OrText<ClientRoots> parse_roots(OSSL_LIB_CTX* library, const Settings& settings,
                                const std::string& client_ca) {
  ClientRoots roots{.certificates = {}, .policy = policy_of(settings, client_ca)};
  if (settings.client_ca.empty()) return roots;
  OrText<std::vector<X509Ptr>> parsed = parse_pem_certificates(library, client_ca);
  if (!parsed) {
    return tl::unexpected(
        fmt::format("the client CA {} is broken ({})", settings.client_ca, parsed.error()));
  }
  if (parsed->empty()) {
    return tl::unexpected(
        fmt::format("the client CA {} holds no certificate in PEM", settings.client_ca));
  }
  roots.certificates = std::move(*parsed);
  return roots;
}

OrText<ServedCertificate> parse_served(OSSL_LIB_CTX* library, const CertificateTexts& texts,
                                       std::vector<std::string>& notes) {
  const std::time_t now = std::time(nullptr);
  OrText<Certificate> certificate = parse_certificate(library, texts, now);
  if (!certificate) return tl::unexpected(certificate.error());
  ServedCertificate served{.certificate = std::move(*certificate),
                           .staple = {},
                           .files = texts.files,
                           .told_stale = texts.told_stale};
  if (texts.files.ocsp.empty()) return served;
  std::string note;
  OrText<Staple> staple = parse_staple(texts, *served.certificate.leaf, now, note);
  if (!staple) return tl::unexpected(staple.error());
  served.staple = std::move(*staple);
  if (!note.empty()) notes.push_back(note);
  return served;
}

/// The host with these very names that has no key of this type yet, or null.
Host* joined_host(Hosts& hosts, const std::vector<std::string>& names, int key_type) {
  for (const std::unique_ptr<Host>& host : hosts.all) {
    if (host->names == names && !has_key_of_type(*host, key_type)) return host.get();
  }
  return nullptr;
}

OrText<void> add_to_hosts(Context::Parts& parts, const ClientRoots& roots,
                          ServedCertificate served) {
  Hosts& hosts = parts.hosts;
  std::vector<std::string> names = names_of(*served.certificate.leaf);
  std::sort(names.begin(), names.end());
  const int key_type = EVP_PKEY_get_base_id(served.certificate.key.get());
  if (Host* const host = joined_host(hosts, names, key_type)) {
    return add_certificate(*host, std::move(served));
  }
  OrText<std::unique_ptr<Host>> host = make_host(hosts, parts.settings, roots);
  if (!host) return tl::unexpected(host.error());
  (*host)->names = std::move(names);
  hosts.names.add((*host)->names, hosts.all.size());
  hosts.all.push_back(std::move(*host));
  return add_certificate(*hosts.all.back(), std::move(served));
}

OrText<std::shared_ptr<const Context>> make_context(const Settings& settings, TicketKeys& keys,
                                                    const Texts& texts) {
  auto parts = std::make_unique<Context::Parts>(settings, keys);
  OSSL_LIB_CTX* const library = parts->hosts.library.get();
  const OrText<ClientRoots> roots = parse_roots(library, settings, texts.client_ca);
  if (!roots) return tl::unexpected(roots.error());
  for (const CertificateTexts& each : texts.certificates) {
    OrText<void> added =
        parse_served(library, each, parts->notes).and_then([&](ServedCertificate&& served) {
          return add_to_hosts(*parts, *roots, std::move(served));
        });
    if (!added) return tl::unexpected(added.error());
  }
  // What OpenSSL keeps for this thread, which may not be the one that lets the library go.
  OPENSSL_thread_stop_ex(library);
  return std::make_shared<const Context>(std::move(parts));
}

}  // namespace

Context::Context(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Context::~Context() = default;

tl::expected<std::shared_ptr<const Context>, std::string> Context::load(const Settings& settings,
                                                                        TicketKeys& keys) {
  return load_contexts(settings, keys, 1).map([](auto&& contexts) { return contexts.front(); });
}

ssl_ctx_st* Context::handle() const {
  return parts_->hosts.all.front()->ctx.get();
}

const std::vector<std::string>& Context::notes() const {
  return parts_->notes;
}

tl::expected<Contexts, std::string> load_contexts(const Settings& settings, TicketKeys& keys,
                                                  std::size_t count) {
  const OrText<Texts> texts = read_texts(settings);
  if (!texts) return tl::unexpected(texts.error());
  Contexts contexts;
  while (contexts.size() < count) {
    OrText<std::shared_ptr<const Context>> context = make_context(settings, keys, *texts);
    if (!context) return tl::unexpected(context.error());
    contexts.push_back(std::move(*context));
  }
  return contexts;
}

}  // namespace pagewire::tls
