// What handshakes get: the certificate by SNI, protocol, ciphers, ALPN, the stapled response, and
// what is asked of clients.
#include "unit/tls_fixture.h"

namespace pagewire::tls::testing {
namespace {

constexpr long plain = 1;
constexpr long wild = 2;

class TlsContext : public TlsTest {
 protected:
  Settings one() { return {.certificates = {make("a", {.names = "DNS:a.test"})}}; }
  std::shared_ptr<const Context> two() {
    return load(
        {.certificates = {make("plain", {.names = "DNS:a.test", .serial = plain}),
                          make("wild", {.names = "DNS:*.b.test,DNS:b.test", .serial = wild})}});
  }
};

// ---------------------------------------------------------------- names

TEST_F(TlsContext, ServerNameChoosesTheCertificate) {
  const auto context = two();
  EXPECT_EQ(handshake(*context, {.server_name = "a.test"}).serial, plain);
  EXPECT_EQ(handshake(*context, {.server_name = "b.test"}).serial, wild);
  EXPECT_EQ(handshake(*context, {.server_name = "X.b.test"}).serial, wild);
  EXPECT_EQ(handshake(*context, {.server_name = "b.test", .version = TLS1_2_VERSION}).serial, wild);
}

TEST_F(TlsContext, TheFirstCertificateAnswersForNobodysName) {
  const auto context = two();
  for (const char* const name : {"", "c.test", "x.y.b.test"}) {
    const Seen outcome = handshake(*context, {.server_name = name});
    EXPECT_TRUE(outcome.done) << name << ": " << outcome.server_reason;
    EXPECT_EQ(outcome.serial, plain) << name;
  }
}

TEST_F(TlsContext, TwoKeyTypesOfOneNameAreBothThere) {
  const auto context =
      load({.certificates = {
                make("ecdsa", {.names = "DNS:a.test", .key = test::KeyType::Ecdsa, .serial = 3}),
                make("rsa", {.names = "DNS:a.test", .key = test::KeyType::Rsa, .serial = 4})}});
  const Seen modern = handshake(*context, {.server_name = "a.test"});
  EXPECT_EQ(modern.serial, 3);
  const Seen old = handshake(*context, {.server_name = "a.test",
                                        .version = TLS1_2_VERSION,
                                        .ciphers12 = "ECDHE-RSA-AES128-GCM-SHA256"});
  EXPECT_EQ(old.serial, 4) << old.server_reason;
}

TEST_F(TlsContext, TheWholeChainIsSent) {
  const MadeCertificate root = test::make_certificate({.authority = true, .serial = 10});
  const MadeCertificate between = test::make_certificate({.authority = true, .serial = 11}, &root);
  const MadeCertificate leaf =
      test::make_certificate({.names = "DNS:a.test", .serial = 12}, &between);
  const CertificateFiles files = store("a", leaf);
  write("a.pem", test::certificate_pem(leaf) + test::certificate_pem(between));
  const Seen outcome = handshake(*load({.certificates = {files}}), {});
  EXPECT_EQ(outcome.serial, 12);
  EXPECT_EQ(outcome.chain_length, 2);
}

// ---------------------------------------------------------------- protocol

TEST_F(TlsContext, SpeaksTls12And13AloneUnlessToldLess) {
  const auto context = load(one());
  EXPECT_EQ(handshake(*context, {}).version, TLS1_3_VERSION);
  EXPECT_EQ(handshake(*context, {.version = TLS1_2_VERSION}).version, TLS1_2_VERSION);
  const Seen old = handshake(*context, {.version = TLS1_1_VERSION, .ciphers12 = "ALL:@SECLEVEL=0"});
  EXPECT_FALSE(old.done);
  EXPECT_EQ(old.alert, SSL_AD_PROTOCOL_VERSION) << old.server_reason;

  Settings settings = one();
  settings.min_version = Version::Tls13;
  const auto strict = load(settings);
  EXPECT_TRUE(handshake(*strict, {}).done);
  EXPECT_EQ(handshake(*strict, {.version = TLS1_2_VERSION}).alert, SSL_AD_PROTOCOL_VERSION);
}

TEST_F(TlsContext, TakesAes128WhereTheClientDoesNotMind) {
  if (!__builtin_cpu_supports("aes")) GTEST_SKIP() << "this CPU has no AES instructions";
  const auto context = load(one());
  EXPECT_EQ(
      handshake(*context, {.ciphers13 = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"}).cipher,
      "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(handshake(*context, {.version = TLS1_2_VERSION,
                                 .ciphers12 = "ECDHE-ECDSA-AES256-GCM-SHA384:"
                                              "ECDHE-ECDSA-CHACHA20-POLY1305:"
                                              "ECDHE-ECDSA-AES128-GCM-SHA256"})
                .cipher,
            "ECDHE-ECDSA-AES128-GCM-SHA256");
}

TEST_F(TlsContext, TakesChaChaWhereTheClientPutsItFirst) {
  const auto context = load(one());
  EXPECT_EQ(
      handshake(*context, {.ciphers13 = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"})
          .cipher,
      "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_F(TlsContext, RefusesWhatIsNotAnAeadOverEcdhe) {
  const auto context = load({.certificates = {make("a", {.key = test::KeyType::Rsa})}});
  for (const char* const cipher : {"ECDHE-RSA-AES128-SHA256", "AES128-GCM-SHA256",
                                   "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256"}) {
    const Seen outcome = handshake(*context, {.version = TLS1_2_VERSION, .ciphers12 = cipher});
    EXPECT_FALSE(outcome.done) << cipher;
    EXPECT_EQ(outcome.server_reason, "no shared cipher") << cipher;
  }
}

TEST_F(TlsContext, TakesThreeGroupsAndNoOther) {
  const auto context = load(one());
  EXPECT_EQ(handshake(*context, {.groups = "X25519"}).group, "x25519");
  EXPECT_EQ(handshake(*context, {.groups = "P-256"}).group, "secp256r1");
  EXPECT_EQ(handshake(*context, {.groups = "P-384"}).group, "secp384r1");
  EXPECT_FALSE(handshake(*context, {.groups = "P-521"}).done);
}

TEST_F(TlsContext, RefusesRenegotiation) {
  const auto context = load(one());
  EXPECT_NE(SSL_CTX_get_options(context->handle()) & SSL_OP_NO_RENEGOTIATION, 0U);
}

TEST_F(TlsContext, ChoosesHttp11AndRefusesStrangersToIt) {
  const auto context = load(one());
  EXPECT_EQ(handshake(*context, {.alpn = "\x02h2\x08http/1.1"}).alpn, "http/1.1");
  EXPECT_EQ(handshake(*context, {.alpn = "\x08http/1.0"}).alpn, "http/1.0");
  EXPECT_EQ(handshake(*context, {.alpn = "\x08http/1.0\x08http/1.1"}).alpn, "http/1.1");
  const Seen without = handshake(*context, {});
  EXPECT_TRUE(without.done);
  EXPECT_EQ(without.alpn, "");
  const Seen stranger = handshake(*context, {.alpn = "\x02h2\x04smtp"});
  EXPECT_FALSE(stranger.done);
  EXPECT_EQ(stranger.alert, SSL_AD_NO_APPLICATION_PROTOCOL);
}

// ---------------------------------------------------------------- OCSP

class TlsStaple : public TlsContext {
 protected:
  CertificateFiles with_response(const std::string& der) {
    CertificateFiles files = store("a", leaf_);
    files.ocsp = write("a.ocsp", der);
    return files;
  }

  MadeCertificate issuer_ = test::make_certificate({.authority = true, .serial = 20});
  MadeCertificate leaf_ = test::make_certificate({.names = "DNS:a.test", .serial = 21}, &issuer_);
};

TEST_F(TlsStaple, IsSentToThoseWhoAsk) {
  const std::string der = test::ocsp_der(leaf_, issuer_, {});
  const auto context = load({.certificates = {make("b", {}), with_response(der)}});
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Client asks{.server_name = "a.test", .version = version, .ask_status = true};
    EXPECT_EQ(handshake(*context, asks).status, der);
  }
  EXPECT_EQ(handshake(*context, {.server_name = "a.test"}).status, "");
  EXPECT_EQ(handshake(*context, {.ask_status = true}).status, "") << "of another certificate";
}

TEST_F(TlsStaple, ThatIsStaleIsToldAndNotSent) {
  const auto context = load(
      {.certificates = {with_response(test::ocsp_der(leaf_, issuer_, {.next_update_s = -60}))}});
  ASSERT_EQ(context->notes().size(), 1U);
  const std::string& note = context->notes().front();
  EXPECT_EQ(note.find("the OCSP response " + path("a.ocsp") + " is stale since 2"), 0U) << note;
  const Seen outcome = handshake(*context, {.ask_status = true});
  EXPECT_TRUE(outcome.done);
  EXPECT_EQ(outcome.status, "");
}

TEST_F(TlsStaple, ThatBecomesStaleIsNotSentAnyMore) {
  std::shared_ptr<const Context> context;
  // Longer each time: on a machine that stands still it may be stale before it is loaded.
  for (long lasts_s = 2; lasts_s <= 32; lasts_s *= 2) {
    context = load({.certificates = {with_response(
                        test::ocsp_der(leaf_, issuer_, {.next_update_s = lasts_s}))}});
    if (context->notes().empty()) break;
  }
  ASSERT_TRUE(context->notes().empty());
  for (int turn = 0; turn < 1'200; ++turn) {
    if (handshake(*context, {.ask_status = true}).status.empty()) return;
    ::usleep(50'000);
  }
  FAIL() << "still sent after a minute";
}

TEST_F(TlsStaple, ThatSaysRevokedIsToldAndNotSent) {
  const auto context = load({.certificates = {with_response(test::ocsp_der(
                                 leaf_, issuer_, {.status = V_OCSP_CERTSTATUS_REVOKED}))}});
  ASSERT_EQ(context->notes().size(), 1U);
  EXPECT_NE(context->notes().front().find("is revoked"), std::string::npos);
  EXPECT_EQ(handshake(*context, {.ask_status = true}).status, "");
}

TEST_F(TlsStaple, MustBeOneAndAboutTheCertificate) {
  EXPECT_EQ(error_of({.certificates = {with_response("no DER")}}),
            path("a.ocsp") + " holds no successful OCSP response in DER");
  const MadeCertificate other = test::make_certificate({.serial = 22}, &issuer_);
  EXPECT_EQ(
      error_of({.certificates = {with_response(test::ocsp_der(other, issuer_, {}))}}),
      "the OCSP response " + path("a.ocsp") + " is not about the certificate " + path("a.pem"));
}

// ---------------------------------------------------------------- client certificates

class TlsClients : public TlsContext {
 protected:
  std::shared_ptr<const Context> asking(ClientCertificates mode) {
    Settings settings = one();
    settings.client_ca = write("ca.pem", test::certificate_pem(authority_));
    settings.client_certificates = mode;
    return load(settings);
  }

  MadeCertificate authority_ = test::make_certificate({.authority = true, .serial = 30});
  MadeCertificate known_ = test::make_certificate({.serial = 31}, &authority_);
  MadeCertificate stranger_ = test::make_certificate({.serial = 32});
};

TEST_F(TlsClients, MustShowACertificateWhereItIsRequired) {
  const auto context = asking(ClientCertificates::Required);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_TRUE(handshake(*context, {.version = version, .certificate = &known_}).done);
    const Seen without = handshake(*context, {.version = version});
    EXPECT_FALSE(without.done);
    EXPECT_EQ(without.server_reason, "peer did not return a certificate");
    EXPECT_FALSE(handshake(*context, {.version = version, .certificate = &stranger_}).done);
  }
}

TEST_F(TlsClients, MayDoWithoutWhereItIsOptional) {
  const auto context = asking(ClientCertificates::Optional);
  EXPECT_TRUE(handshake(*context, {}).done);
  EXPECT_TRUE(handshake(*context, {.certificate = &known_}).done);
  const Seen stranger = handshake(*context, {.certificate = &stranger_});
  EXPECT_FALSE(stranger.done);
  EXPECT_EQ(stranger.server_reason, "certificate verify failed");
}

TEST_F(TlsClients, DoNotGetInWithASessionOfAnotherPolicy) {
  const Seen before = handshake(*load(one()), {});
  ASSERT_NE(before.session, nullptr);
  const auto required = asking(ClientCertificates::Required);
  const Seen again = handshake(*required, {.session = before.session});
  EXPECT_FALSE(again.done);
  const Seen known = handshake(*required, {.certificate = &known_});
  EXPECT_TRUE(handshake(*required, {.session = known.session}).resumed);
}

TEST_F(TlsClients, RootsMustBeReadable) {
  Settings settings = one();
  settings.client_ca = path("ca.pem");
  EXPECT_EQ(error_of(settings),
            "cannot read the client CA " + path("ca.pem") + ": No such file or directory");
  write("ca.pem", "nothing");
  EXPECT_EQ(error_of(settings), "the client CA " + path("ca.pem") + " holds no certificate in PEM");
}

}  // namespace
}  // namespace pagewire::tls::testing
