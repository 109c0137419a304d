#include "tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

namespace pagewire::tls {

namespace {

bool set_mac(EVP_MAC_CTX* mac, const TicketKey& key) {
  std::array<char, 7> digest{"SHA256"};
  auto* const bytes = const_cast<unsigned char*>(key.mac.data());
  const std::array<OSSL_PARAM, 3> parameters = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, bytes, key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

}  // namespace

Tickets::Tickets(OSSL_LIB_CTX* library, TicketKeys& shared)
    : library_(library),
      shared_(shared),
      cipher_(EVP_CIPHER_fetch(library, "AES-256-CBC", nullptr)) {}

const TicketKeySet& Tickets::keys() {
  if (shared_.now_ms() >= set_.until_ms) set_ = shared_.current();
  return set_;
}

int Tickets::encrypt(const Ticket& ticket) {
  constexpr int failed = -1;  // ENOMEM; the handshake ends
  const TicketKey& key = keys().keys.front();
  std::copy(key.name.begin(), key.name.end(), ticket.name);
  const auto iv_size = static_cast<std::size_t>(EVP_CIPHER_get_iv_length(cipher_.get()));
  if (RAND_bytes_ex(library_, ticket.iv, iv_size, 0) != 1) return failed;
  if (EVP_EncryptInit_ex2(ticket.cipher, cipher_.get(), key.cipher.data(), ticket.iv, nullptr) !=
      1) {
    return failed;
  }
  return set_mac(ticket.mac, key) ? 1 : failed;
}

int Tickets::decrypt(const Ticket& ticket) {
  const std::vector<TicketKey>& known = keys().keys;
  const auto key = std::find_if(known.begin(), known.end(), [&](const TicketKey& each) {
    return std::equal(each.name.begin(), each.name.end(), ticket.name);
  });
  if (key == known.end()) return 0;
  if (EVP_DecryptInit_ex2(ticket.cipher, cipher_.get(), key->cipher.data(), ticket.iv, nullptr) !=
          1 ||
      !set_mac(ticket.mac, *key)) {
    return -1;
  }
  return key != known.begin() ? 2 : 1;
}

}  // namespace pagewire::tls
