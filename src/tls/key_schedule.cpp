#include "tls/key_schedule.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tls/hkdf.h"

namespace pagewire::tls {

namespace {

constexpr const char* provider_name = "pagewire";
constexpr std::string_view server_label = "s ap traffic";
constexpr std::string_view client_label = "c ap traffic";

/// What libssl hands over in one call.
struct Request {
  int mode = -1;
  const EVP_MD* digest = nullptr;
  Bytes key;
  Bytes salt;
  HkdfLabel label{.prefix = {}, .label = {}, .context = {}};
};

Bytes bytes_of(const OSSL_PARAM& parameter) {
  return {static_cast<const unsigned char*>(parameter.data), parameter.data_size};
}

std::string_view text_of(const OSSL_PARAM& parameter) {
  return {static_cast<const char*>(parameter.data), parameter.data_size};
}

const EVP_MD* digest_of(std::string_view name) {
  if (name.ends_with("256")) return ::EVP_sha256();
  return name.ends_with("384") ? ::EVP_sha384() : nullptr;
}

Request parse(const OSSL_PARAM* parameters) {
  Request request;
  for (; parameters->key != nullptr; ++parameters) {
    const std::string_view name(parameters->key);
    if (name == OSSL_KDF_PARAM_MODE) {
      if (::OSSL_PARAM_get_int(parameters, &request.mode) != 1) request.mode = -1;
    } else if (name == OSSL_KDF_PARAM_DIGEST) {
      request.digest = digest_of(text_of(*parameters));
    } else if (name == OSSL_KDF_PARAM_KEY) {
      request.key = bytes_of(*parameters);
    } else if (name == OSSL_KDF_PARAM_SALT) {
      request.salt = bytes_of(*parameters);
    } else if (name == OSSL_KDF_PARAM_PREFIX) {
      request.label.prefix = text_of(*parameters);
    } else if (name == OSSL_KDF_PARAM_LABEL) {
      request.label.label = text_of(*parameters);
    } else if (name == OSSL_KDF_PARAM_DATA) {
      request.label.context = bytes_of(*parameters);
    }
  }
  return request;
}

Bytes hash_of_nothing(const EVP_MD* digest) {
  const auto make = [](const EVP_MD* of) {
    HashRoom hash{};
    PW_CHECK(::EVP_Digest("", 0, hash.data(), nullptr, of, nullptr) == 1);
    return hash;
  };
  static const HashRoom sha256 = make(::EVP_sha256());
  static const HashRoom sha384 = make(::EVP_sha384());
  const auto size = static_cast<std::size_t>(::EVP_MD_get_size(digest));
  return Bytes(size == sha384.size() ? sha384 : sha256).first(size);
}

/// From one of the three secrets to the next: the right half of the figure in RFC 8446 7.1, page
/// 93. What is missing at its edges is a hash of zeros.
bool next_secret(const Request& request, std::span<unsigned char> into) {
  static constexpr HashRoom zeros{};
  const auto size = static_cast<std::size_t>(::EVP_MD_get_size(request.digest));
  if (into.size() != size) return false;
  HashRoom derived{};
  const std::span<unsigned char> salt = std::span(derived).first(size);
  if (!request.salt.empty()) {
    const HkdfLabel label{.prefix = request.label.prefix,
                          .label = request.label.label,
                          .context = hash_of_nothing(request.digest)};
    if (!hkdf_expand_label(request.digest, request.salt, label, salt)) return false;
  }
  const Bytes key = request.key.empty() ? Bytes(zeros).first(size) : request.key;
  hkdf_extract(request.digest, salt, key, into);
  ::OPENSSL_cleanse(derived.data(), derived.size());
  return true;
}

template <class Function>
constexpr OSSL_DISPATCH entry(int id, Function* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

int schedule_index() {
  static const int index = ::SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

/// What OpenSSL calls.
struct KeyScheduleProvider {
  /// All that a derivation needs comes with its call, so that a context of it is the provider's.
  static void* new_context(void* schedule) { return schedule; }
  static void free_context(void*) {}
  static void reset(void*) {}

  static void keep(Secret& secret, std::span<const unsigned char> made) {
    secret.size = made.size();
    std::copy_n(made.data(), made.size(), secret.bytes.begin());
  }

  static int derive(void* self, unsigned char* out, std::size_t size,
                    const OSSL_PARAM parameters[]) {
    const Request request = parse(parameters);
    const std::span into(out, size);
    if (request.digest == nullptr) return 0;
    if (request.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY) return next_secret(request, into) ? 1 : 0;
    if (request.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY) return 0;
    if (!hkdf_expand_label(request.digest, request.key, request.label, into)) return 0;
    KeySchedule& schedule = *static_cast<KeySchedule*>(self);
    if (request.label.label == server_label) keep(schedule.server_secret_, into);
    if (request.label.label == client_label) keep(schedule.client_secret_, into);
    return 1;
  }

  static const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
    static const std::array<OSSL_DISPATCH, 5> kdf = {
        entry(OSSL_FUNC_KDF_NEWCTX, new_context), entry(OSSL_FUNC_KDF_FREECTX, free_context),
        entry(OSSL_FUNC_KDF_RESET, reset), entry(OSSL_FUNC_KDF_DERIVE, derive), OSSL_DISPATCH{}};
    static const std::array<OSSL_ALGORITHM, 2> algorithms = {
        OSSL_ALGORITHM{OSSL_KDF_NAME_TLS1_3_KDF, "provider=pagewire", kdf.data(), nullptr},
        OSSL_ALGORITHM{}};
    *no_cache = 0;
    return operation == OSSL_OP_KDF ? algorithms.data() : nullptr;
  }

  static void teardown(void* schedule) { delete static_cast<KeySchedule*>(schedule); }

  static int init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
                  void** schedule) {
    static const std::array<OSSL_DISPATCH, 3> all = {
        entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
        entry(OSSL_FUNC_PROVIDER_TEARDOWN, teardown), OSSL_DISPATCH{}};
    *functions = all.data();
    *schedule = new KeySchedule;
    return 1;
  }
};

KeySchedule& KeySchedule::of(const SSL_CTX& context) {
  void* const schedule = ::SSL_CTX_get_ex_data(&context, schedule_index());
  PW_CHECK(schedule != nullptr);  // not of make_server_context()
  return *static_cast<KeySchedule*>(schedule);
}

Secret KeySchedule::take_server_secret() {
  return std::exchange(server_secret_, Secret());
}

Secret KeySchedule::take_client_secret() {
  return std::exchange(client_secret_, Secret());
}

/// Of two providers that have an algorithm, OpenSSL takes the one that was loaded first. Loading
/// any leaves out the default one, unless it is loaded, too.
LibraryPtr make_library() {
  LibraryPtr library(::OSSL_LIB_CTX_new());
  if (library == nullptr ||
      ::OSSL_PROVIDER_add_builtin(library.get(), provider_name, KeyScheduleProvider::init) != 1) {
    return nullptr;
  }
  auto& [ours, others] = library.get_deleter().providers;
  ours = ::OSSL_PROVIDER_load(library.get(), provider_name);
  others = ::OSSL_PROVIDER_load(library.get(), "default");
  if (ours == nullptr || others == nullptr) library.reset();
  return library;
}

SslCtxPtr make_server_context(OSSL_LIB_CTX* library) {
  SslCtxPtr context(::SSL_CTX_new_ex(library, nullptr, ::TLS_server_method()));
  EVP_KDF* const kdf = ::EVP_KDF_fetch(library, OSSL_KDF_NAME_TLS1_3_KDF, nullptr);
  if (context == nullptr || kdf == nullptr) return nullptr;
  const OSSL_PROVIDER* const provider = ::EVP_KDF_get0_provider(kdf);
  PW_CHECK(std::string_view(::OSSL_PROVIDER_get0_name(provider)) == provider_name);
  void* const schedule = ::OSSL_PROVIDER_get0_provider_ctx(provider);
  ::EVP_KDF_free(kdf);
  ::SSL_CTX_set_ex_data(context.get(), schedule_index(), schedule);
  return context;
}

}  // namespace pagewire::tls
