// Resolver: a thread that looks the names of upstreams up, and again at an interval.
//
// A look-up that fails (no answer, no such name) leaves the addresses as they are: a dead name
// server must not take down what works. What has changed is told by `publish`, on the thread.
// getaddrinfo(3) can take tens of seconds and cannot be cancelled: nobody waits for it but the
// thread, and a resolver that is destroyed meanwhile leaves the thread to end by itself.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sys/socket.h"

namespace pagewire::relay {

struct ResolverName {
  std::string host;
  std::uint16_t port = 0;
};

struct LookedUp {
  std::vector<sys::Address> addresses;  ///< sorted, no two alike
  std::string error{};                  ///< why there are none
};
using LookUp = std::function<LookedUp(const ResolverName&)>;
/// getaddrinfo(3) for TCP: hosts file, DNS, what nsswitch.conf says. Blocks.
LookedUp look_up(const ResolverName& name);

struct ResolverSettings {
  std::vector<ResolverName> names{};
  std::int64_t interval_ms = 10'000;  ///< between two look-ups of one name; 0: only at start
  std::size_t max_addresses = 64;     ///< of one name; what is beyond is left out
  LookUp look_up = &relay::look_up;
  /// A name's addresses, when they are not those of the time before. Never called once the
  /// resolver's destructor has begun to return.
  std::function<void(std::size_t name, const std::vector<sys::Address>&)> publish{};
  /// One line for the user: a name fails or has other addresses. Not of its first look-up, which
  /// wait_for_first() tells of.
  std::function<void(const std::string& line)> tell{};
};

class Resolver {
 public:
  static std::unique_ptr<Resolver> start(ResolverSettings settings);
  ~Resolver();

  /// Waits until every name was looked up once, at most so long. Returns what is wrong, by name:
  /// "" where it has addresses.
  std::vector<std::string> wait_for_first(std::int64_t at_most_ms);

  std::uint64_t lookups() const;
  std::uint64_t failures() const;

  struct Parts;  // private to this file
 private:
  explicit Resolver(std::shared_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;
};

}  // namespace pagewire::relay
