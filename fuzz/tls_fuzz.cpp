// Any bytes as what a peer sends to an https port: a stream of records into the handshake, in any
// cuts, of a server with TLS 1.2 and 1.3 whose random numbers are the same in each run.
//
// Beyond not crashing: a session that failed says why, what it would send has room in its buffer,
// and once the handshake is over (which takes a key that the fuzzer does not have) nothing would be
// plain.
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tls/key_schedule.h"
#include "tls/tls.h"

namespace {

using namespace pagewire;
using namespace pagewire::tls;

std::shared_ptr<SSL_CTX> make_context() {
  static const LibraryPtr library = make_library();
  std::shared_ptr<SSL_CTX> context = make_server_context(library.get());
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = ::X509_new();
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate), 0);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate), 86'400);
  ::X509_set_pubkey(certificate, key);
  ::X509_sign(certificate, key, ::EVP_sha256());
  ::SSL_CTX_use_certificate(context.get(), certificate);
  ::SSL_CTX_use_PrivateKey(context.get(), key);
  ::X509_free(certificate);
  ::EVP_PKEY_free(key);
  return context;
}

/// Offers `bytes` as the connection of a server does.
void feed(Session& session, std::string_view bytes) {
  session.offer(bytes);
  if (!session.established()) {
    const Session::Step step = session.handshake();
    PW_CHECK((step == Session::Step::Failed) == (session.outcome() != Outcome::Ok));
    if (step != Session::Step::Done) return;
  }
  std::vector<char> plain(most_plain_bytes);
  while (session.input_left() && session.outcome() == Outcome::Ok) {
    if (session.read(plain).kind == Session::Read::Kind::Closed) return;
  }
}

}  // namespace

/// The first byte says into how many cuts the rest comes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<SSL_CTX> context = make_context();
  static SendBuffers buffers;
  static const SessionFacts facts{.no_kernel = KernelReason::Off, .key_updates = 4};
  if (size < 2) return 0;
  const std::size_t cuts = 1 + data[0] % 4U;
  const std::vector<char> copy(data + 1, data + size);
  const std::string_view input(copy.data(), copy.size());
  const std::unique_ptr<Session> session = Session::make(*context, context, buffers, facts);
  PW_CHECK(session != nullptr);
  const std::size_t part = (input.size() + cuts - 1) / cuts;
  for (std::size_t at = 0; at < input.size() && session->outcome() == Outcome::Ok; at += part) {
    feed(*session, input.substr(at, part));
  }
  session->close_notify();
  PW_CHECK(session->outlet().waiting().size() <= SendBuffer::size);
  return 0;
}
