// UpstreamThreads: the resolver and the health thread of one route, and what they know as metrics.
//
// Numeric addresses are there at once; names are looked up once, for at most the route's
// resolve_timeout, before the listeners open. A name that could not be looked up by then does not
// keep a relay from starting as long as another upstream has an address.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "relay/health.h"
#include "relay/relay.h"
#include "relay/resolver.h"
#include "relay/upstreams.h"

namespace pagewire::relay {

class UpstreamThreads {
 public:
  using Tell = std::function<void(const std::string& line)>;

  /// Fills `upstreams`, which outlives this. `tell` is called on any thread.
  static tl::expected<std::unique_ptr<UpstreamThreads>, service::StartError> start(
      const Route& route, Upstreams& upstreams, const Tell& tell);

  struct LookUps {
    std::uint64_t all = 0;
    std::uint64_t failed = 0;
  };
  LookUps lookups() const;

 private:
  UpstreamThreads() = default;
  tl::expected<void, service::StartError> start_health(const Route& route, Upstreams& upstreams,
                                                       const Tell& tell);
  tl::expected<void, service::StartError> look_up_names(const Route& route, Upstreams& upstreams,
                                                        std::vector<ResolverName> names,
                                                        const Tell& tell);

  std::vector<std::size_t> upstream_of_name_;
  std::unique_ptr<Health> health_;
  std::unique_ptr<Resolver> resolver_;  // goes first: it wakes the other
};

/// What one route's part of the metrics is made of.
struct UpstreamsOfRoute {
  std::string_view route;
  const Upstreams& upstreams;
  UpstreamThreads::LookUps lookups;
};
/// Prometheus text, pagewire_relay_upstream_*; a family once, for all routes.
std::string upstreams_text(std::span<const UpstreamsOfRoute> routes);

}  // namespace pagewire::relay
