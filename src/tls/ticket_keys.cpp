#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/check.h"
#include "sys/clock.h"
#include "tls/tls.h"

namespace pagewire::tls {

namespace {

TicketKey random_key() {
  TicketKey key;
  // Fails only where the kernel gives no random bytes: a key that can be guessed opens every
  // connection that it is used for.
  PW_CHECK(RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) == 1);
  PW_CHECK(RAND_priv_bytes(key.cipher.data(), static_cast<int>(key.cipher.size())) == 1);
  PW_CHECK(RAND_priv_bytes(key.mac.data(), static_cast<int>(key.mac.size())) == 1);
  return key;
}

// One that encrypts, and those under which a ticket may still be out.
constexpr std::size_t keys_kept =
    1 + static_cast<std::size_t>(TicketKeys::ticket_lifetime_ms / TicketKeys::period_ms);

}  // namespace

TicketKey::~TicketKey() {
  OPENSSL_cleanse(cipher.data(), cipher.size());
  OPENSSL_cleanse(mac.data(), mac.size());
}

TicketKeys::TicketKeys() : TicketKeys([] { return sys::monotonic_coarse_ms(); }) {}

TicketKeys::TicketKeys(Clock now_ms) : now_ms_(std::move(now_ms)) {}

TicketKeySet TicketKeys::current() {
  const std::int64_t now = now_ms_();
  const std::lock_guard guard(lock_);
  if (set_.keys.empty() || now >= set_.until_ms) make_newest(now);
  return set_;
}

/// Nobody may have asked for some periods: then the keys of before are older than any ticket.
void TicketKeys::make_newest(std::int64_t now_ms) {
  if (now_ms >= set_.until_ms + ticket_lifetime_ms) set_.keys.clear();
  set_.keys.insert(set_.keys.begin(), random_key());
  if (set_.keys.size() > keys_kept) set_.keys.resize(keys_kept);
  set_.until_ms = now_ms + period_ms;
}

}  // namespace pagewire::tls
