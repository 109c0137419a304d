// Health: a thread that connects to every endpoint now and then, and marks it up or down.
//
// A check is a TCP connection that comes about within the timeout and is closed at once; with
// `send_proxy` it first says that it is nobody's (LOCAL, UNKNOWN). The thresholds are HAProxy's: an
// endpoint that is up goes down after `fall` failures in a row, one that is down comes up after
// `rise` passes in a row, and a new one is up until its first check, which alone can take it down.
// Checks of different endpoints are spread over the interval. Nothing here touches a worker.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "relay/proxy_protocol.h"
#include "relay/upstreams.h"

namespace pagewire::relay {

struct HealthSettings {
  std::int64_t interval_ms = 2'000;  ///< between two checks of one endpoint
  std::int64_t timeout_ms = 2'000;   ///< of one check; at most the interval
  std::size_t rise = 2;
  std::size_t fall = 3;
  std::size_t checks_at_once = 64;  ///< others wait for their turn
  std::optional<ProxyVersion> send_proxy{};
  /// Called on the thread when an endpoint was marked: one line for the user.
  std::function<void(const std::string& line)> tell{};
};

/// The count behind the thresholds (HAProxy's check.health): below `rise` is down.
class CheckCount {
 public:
  CheckCount(std::size_t rise, std::size_t fall) : rise_(rise), fall_(fall), health_(rise) {}
  bool up() const { return health_ >= rise_; }
  void passed();
  void failed();

 private:
  std::size_t rise_;
  std::size_t fall_;
  std::size_t health_;
};

class Health {
 public:
  /// `upstreams` outlives it. Errors: EMFILE and its like.
  static Result<std::unique_ptr<Health>> start(Upstreams& upstreams,
                                               const HealthSettings& settings);
  /// Ends the thread; checks under way are dropped, uncounted.
  ~Health();

  /// Any thread: the list of endpoints has changed, new ones are checked at once.
  void look_again();

  struct Parts;  // private to this file
 private:
  explicit Health(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace pagewire::relay
