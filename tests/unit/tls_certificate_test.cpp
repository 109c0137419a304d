// What is wrong with files, in one line that names them.
#include "unit/tls_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

namespace pagewire::tls::testing {
namespace {

using TlsCertificate = TlsTest;

TEST_F(TlsCertificate, ThatIsInOrderLoads) {
  for (const test::KeyType type : {test::KeyType::Ecdsa, test::KeyType::Rsa}) {
    const auto context = load({.certificates = {make("a", {.names = "DNS:a.test", .key = type})}});
    ASSERT_NE(context, nullptr);
    EXPECT_TRUE(context->notes().empty());
    EXPECT_TRUE(handshake(*context, {}).done);
  }
}

TEST_F(TlsCertificate, MustBeGiven) {
  EXPECT_EQ(error_of({}), "no certificate is given");
}

TEST_F(TlsCertificate, MustBeThere) {
  CertificateFiles files = make("a", {});
  files.chain = path("b.pem");
  EXPECT_EQ(error_of({.certificates = {files}}),
            "cannot read the certificate " + path("b.pem") + ": No such file or directory");
  files = make("a", {});
  files.key = folder_;
  EXPECT_EQ(error_of({.certificates = {files}}),
            "cannot read the key " + folder_ + ": Is a directory");
}

TEST_F(TlsCertificate, MustBeReadable) {
  if (::geteuid() == 0) GTEST_SKIP() << "the root user may read every file";
  const CertificateFiles files = make("a", {});
  ::chmod(files.key.c_str(), 0);
  EXPECT_EQ(error_of({.certificates = {files}}),
            "cannot read the key " + files.key + ": Permission denied");
}

TEST_F(TlsCertificate, MustHoldOne) {
  CertificateFiles files = make("a", {});
  for (const std::string& bytes : {std::string(), std::string("plain text\n"), std::string(3, '\0'),
                                   test::key_pem(test::make_certificate({}))}) {
    write("a.pem", bytes);
    EXPECT_EQ(error_of({.certificates = {files}}), files.chain + " holds no certificate in PEM");
  }
}

TEST_F(TlsCertificate, MustNotBeBrokenOff) {
  const CertificateFiles files = make("a", {});
  const std::string whole = test::certificate_pem(test::make_certificate({}));
  write("a.pem", whole.substr(0, whole.size() / 2));
  EXPECT_EQ(
      error_of({.certificates = {files}}).find("the certificate " + files.chain + " is broken ("),
      0U);
  // In the chain behind it, too.
  write("a.pem", whole + whole.substr(0, whole.size() / 2));
  EXPECT_EQ(
      error_of({.certificates = {files}}).find("the certificate " + files.chain + " is broken ("),
      0U);
}

TEST_F(TlsCertificate, MustNotHaveExpired) {
  const CertificateFiles files =
      make("old", {.valid_from_s = -86'400 * 3, .valid_until_s = -86'400});
  const std::string error = error_of({.certificates = {files}});
  EXPECT_EQ(error.find("the certificate " + files.chain + " has expired: it was valid until 2"), 0U)
      << error;
  EXPECT_TRUE(error.ends_with(" UTC")) << error;
}

TEST_F(TlsCertificate, MustBeValidAlready) {
  const CertificateFiles files = make("new", {.valid_from_s = 86'400, .valid_until_s = 86'400 * 2});
  const std::string error = error_of({.certificates = {files}});
  EXPECT_EQ(error.find("the certificate " + files.chain + " is valid only from 2"), 0U) << error;
}

TEST_F(TlsCertificate, MustHaveItsOwnKey) {
  const CertificateFiles mine = make("mine", {});
  for (const test::KeyType type : {test::KeyType::Ecdsa, test::KeyType::Rsa}) {
    const CertificateFiles other = make("other", {.key = type});
    EXPECT_EQ(error_of({.certificates = {{.chain = mine.chain, .key = other.key}}}),
              "the key " + other.key + " does not belong to the certificate " + mine.chain);
  }
}

TEST_F(TlsCertificate, MustHaveAKeyInItsKeyFile) {
  const CertificateFiles files = make("a", {});
  write("a.key", "nothing\n");
  const std::string error = error_of({.certificates = {files}});
  EXPECT_EQ(error.find("the key " + files.key + " holds no private key in PEM ("), 0U) << error;
}

TEST_F(TlsCertificate, KeyMustNotBeEncrypted) {
  const MadeCertificate made = test::make_certificate({});
  const CertificateFiles files = store("a", made);
  write("a.key", test::key_pem(made, "secret"));
  const std::string error = error_of({.certificates = {files}});
  EXPECT_EQ(error.find("the key " + files.key + " is encrypted; "), 0U) << error;
}

TEST_F(TlsCertificate, MustBeStrongEnough) {
  test::MadeCertificate made = test::make_certificate({.key = test::KeyType::Rsa});
  EVP_PKEY* const weak = EVP_RSA_gen(1024U);
  made.key = {weak, EVP_PKEY_free};
  X509_set_pubkey(made.certificate.get(), weak);
  X509_sign(made.certificate.get(), weak, EVP_sha256());
  const CertificateFiles files = store("weak", made);
  EXPECT_EQ(error_of({.certificates = {files}}),
            "the certificate " + files.chain + " cannot be used (ee key too small)");
}

TEST_F(TlsCertificate, FilesAreReadOnceForAllWorkers) {
  const Settings settings{.certificates = {make("a", {.serial = 7})}};
  const auto contexts = load_contexts(settings, keys_, 3);
  ASSERT_TRUE(contexts.has_value()) << contexts.error();
  ASSERT_EQ(contexts->size(), 3U);
  for (const auto& context : *contexts) {
    EXPECT_NE(context->handle(), nullptr);
    EXPECT_EQ(handshake(*context, {}).serial, 7);
  }
  EXPECT_NE((*contexts)[0]->handle(), (*contexts)[1]->handle());
}

TEST_F(TlsCertificate, OneOfSeveralThatIsWrongIsNamed) {
  const CertificateFiles good = make("good", {});
  const CertificateFiles bad = make("bad", {.valid_from_s = -7200, .valid_until_s = -3600});
  EXPECT_NE(error_of({.certificates = {good, bad}}).find(bad.chain), std::string::npos);
}

}  // namespace
}  // namespace pagewire::tls::testing
