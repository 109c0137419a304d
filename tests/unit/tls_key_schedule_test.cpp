// Our key schedule of TLS 1.3 against OpenSSL's own: the same for everything that libssl asks.
#include "tls/key_schedule.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pagewire::tls {
namespace {

struct Call {
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  std::string digest = "SHA2-384";
  std::string key;
  std::string salt;
  std::string label;
  std::string context;
  std::size_t size = 48;
};

/// "": the provider refuses.
std::string derive(OSSL_LIB_CTX* library, const Call& call) {
  EVP_KDF* const kdf = ::EVP_KDF_fetch(library, OSSL_KDF_NAME_TLS1_3_KDF, nullptr);
  EVP_KDF_CTX* const context = ::EVP_KDF_CTX_new(kdf);
  int mode = call.mode;
  std::vector<OSSL_PARAM> parameters;
  const std::string prefix = "tls13 ";
  const auto octets = [&](const char* name, const std::string& bytes) {
    if (bytes.empty()) return;
    parameters.push_back(
        ::OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size()));
  };
  parameters.push_back(::OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode));
  parameters.push_back(::OSSL_PARAM_construct_utf8_string(
      OSSL_KDF_PARAM_DIGEST, const_cast<char*>(call.digest.c_str()), 0));
  octets(OSSL_KDF_PARAM_KEY, call.key);
  octets(OSSL_KDF_PARAM_SALT, call.salt);
  octets(OSSL_KDF_PARAM_PREFIX, prefix);
  octets(OSSL_KDF_PARAM_LABEL, call.label);
  octets(OSSL_KDF_PARAM_DATA, call.context);
  parameters.push_back(::OSSL_PARAM_construct_end());
  std::string out(call.size, '\0');
  const int made = ::EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(out.data()),
                                    out.size(), parameters.data());
  ::EVP_KDF_CTX_free(context);
  ::EVP_KDF_free(kdf);
  return made == 1 ? out : "";
}

std::string pattern(std::size_t size, char first) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = first++;
  return bytes;
}

class TlsKeySchedule : public ::testing::Test {
 protected:
  void expect_like_openssl(const Call& call) {
    const std::string theirs = derive(nullptr, call);
    EXPECT_FALSE(theirs.empty());
    EXPECT_EQ(derive(library_.get(), call), theirs) << call.label << " " << call.digest;
  }

  LibraryPtr library_ = make_library();
  SslCtxPtr context_ = make_server_context(library_.get());
  KeySchedule& schedule_ = KeySchedule::of(*context_);
};

TEST_F(TlsKeySchedule, DerivesEverySecretAsOpenSslDoes) {
  struct Hash {
    const char* digest;
    std::size_t size;
  };
  for (const Hash& hash : {Hash{"SHA2-256", 32}, Hash{"SHA2-384", 48}}) {
    const std::string secret = pattern(hash.size, 1);
    const std::string transcript = pattern(hash.size, 101);
    for (const char* label : {"c hs traffic", "s hs traffic", "c ap traffic", "s ap traffic",
                              "exp master", "res master", "ext binder", "resumption"}) {
      expect_like_openssl({.digest = hash.digest,
                           .key = secret,
                           .salt = {},
                           .label = label,
                           .context = transcript,
                           .size = hash.size});
    }
    expect_like_openssl({.digest = hash.digest,
                         .key = secret,
                         .salt = {},
                         .label = "key",
                         .context = {},
                         .size = 16});
    expect_like_openssl({.digest = hash.digest,
                         .key = secret,
                         .salt = {},
                         .label = "iv",
                         .context = {},
                         .size = 12});
    // The early, the handshake and the master secret: with and without what comes in.
    for (const std::string& salt : {std::string(), secret}) {
      for (const std::string& key : {std::string(), pattern(32, 51)}) {
        expect_like_openssl({.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                             .digest = hash.digest,
                             .key = key,
                             .salt = salt,
                             .label = "derived",
                             .context = {},
                             .size = hash.size});
      }
    }
  }
}

TEST_F(TlsKeySchedule, RefusesWhatTlsNeverAsks) {
  const Call good{.key = pattern(48, 1), .salt = {}, .label = "key", .context = {}, .size = 16};
  ASSERT_NE(derive(library_.get(), good), "");
  const auto with = [&](auto&& change) {
    Call call = good;
    change(call);
    return derive(library_.get(), call);
  };
  EXPECT_EQ(with([](Call& call) { call.size = 49; }), "");  // more than one block
  EXPECT_EQ(with([](Call& call) { call.label = std::string(27, 'l'); }), "");
  EXPECT_EQ(with([](Call& call) { call.context = std::string(49, 'c'); }), "");
  EXPECT_EQ(with([](Call& call) { call.digest = "SHA2-512"; }), "");
  EXPECT_EQ(with([](Call& call) { call.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND; }), "");
}

TEST_F(TlsKeySchedule, TellsTheServersTrafficSecretOnce) {
  const Call others{
      .key = pattern(48, 1), .salt = {}, .label = "c ap traffic", .context = pattern(48, 7)};
  derive(library_.get(), others);
  EXPECT_FALSE(schedule_.has_server_secret());
  EXPECT_TRUE(schedule_.has_client_secret());
  schedule_.take_client_secret();
  Call server = others;
  server.label = "s ap traffic";
  const std::string made = derive(library_.get(), server);
  ASSERT_TRUE(schedule_.has_server_secret());
  const Secret secret = schedule_.take_server_secret();
  EXPECT_EQ(std::string(secret.view().begin(), secret.view().end()), made);
  EXPECT_FALSE(schedule_.has_server_secret());
  EXPECT_FALSE(schedule_.has_client_secret());
}

TEST_F(TlsKeySchedule, AndTheClientsOnce) {
  const std::string made = derive(
      library_.get(),
      {.key = pattern(48, 1), .salt = {}, .label = "c ap traffic", .context = pattern(48, 7)});
  ASSERT_TRUE(schedule_.has_client_secret());
  const Secret secret = schedule_.take_client_secret();
  EXPECT_EQ(std::string(secret.view().begin(), secret.view().end()), made);
  EXPECT_FALSE(schedule_.has_client_secret());
  EXPECT_FALSE(schedule_.has_server_secret());
}

TEST_F(TlsKeySchedule, EveryLibraryHasItsOwn) {
  const LibraryPtr other = make_library();
  const SslCtxPtr context = make_server_context(other.get());
  derive(library_.get(),
         {.key = pattern(48, 1), .salt = {}, .label = "s ap traffic", .context = pattern(48, 7)});
  EXPECT_FALSE(KeySchedule::of(*context).has_server_secret());
  EXPECT_TRUE(schedule_.has_server_secret());
}

// A library that leaves its provider behind leaves a KiB. Under a sanitizer, whose heap is another,
// it is for that to find what is left.
TEST(TlsLibrary, LeavesNothingBehind) {
  const auto make_and_free = [](int times) {
    for (int i = 0; i < times; ++i) {
      const LibraryPtr library = make_library();
      EXPECT_NE(make_server_context(library.get()), nullptr);
    }
  };
  const auto in_use = [] { return static_cast<std::int64_t>(::mallinfo2().uordblks); };
  constexpr int times = 100;
  make_and_free(2 * times);  // until OpenSSL's own tables have grown
  const std::int64_t before = in_use();
  make_and_free(times);
  EXPECT_LT(in_use() - before, times * 512);
}

}  // namespace
}  // namespace pagewire::tls
