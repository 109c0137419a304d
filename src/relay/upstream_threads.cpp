#include "relay/upstream_threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <map>

#include "metrics/metrics.h"

namespace pagewire::relay {

using service::StartError;

tl::expected<UpstreamName, std::string> parse_upstream(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const std::string_view host = text.substr(0, colon);
  const std::string_view port_text = colon == text.npos ? "" : text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size() || port == 0) {
    return tl::unexpected(fmt::format("'{}' has no port: HOST:PORT", text));
  }
  if (host.empty()) return tl::unexpected(fmt::format("'{}' has no host: HOST:PORT", text));
  if (const Result<sys::Address> address = sys::Address::parse(text)) {
    return UpstreamName{.name = {}, .address = *address};
  }
  const bool is_name = std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  });
  if (!is_name) {
    return tl::unexpected(
        fmt::format("'{}' is no name and no address (IPv6 is [ADDRESS]:PORT)", host));
  }
  return UpstreamName{.name = {.host = std::string(host), .port = port}};
}

// ---------------------------------------------------------------- starting

tl::expected<std::unique_ptr<UpstreamThreads>, StartError> UpstreamThreads::start(
    const Route& route, Upstreams& upstreams, const Tell& tell) {
  std::unique_ptr<UpstreamThreads> threads(new UpstreamThreads);
  std::vector<ResolverName> names;
  for (std::size_t i = 0; i < route.to.size(); ++i) {
    const auto parsed = parse_upstream(route.to[i]);
    if (!parsed) return tl::unexpected(StartError{parsed.error()});
    if (parsed->address) {
      upstreams.set_addresses(i, std::span(&*parsed->address, 1));
    } else {
      names.push_back(parsed->name);
      threads->upstream_of_name_.push_back(i);
    }
  }
  if (route.check) {
    if (auto done = threads->start_health(route, upstreams, tell); !done) {
      return tl::unexpected(done.error());
    }
  }
  if (names.empty()) return threads;
  if (auto done = threads->look_up_names(route, upstreams, std::move(names), tell); !done) {
    return tl::unexpected(done.error());
  }
  return threads;
}

tl::expected<void, StartError> UpstreamThreads::start_health(const Route& route,
                                                             Upstreams& upstreams,
                                                             const Tell& tell) {
  HealthSettings settings{.interval_ms = route.check_interval_ms,
                          .timeout_ms = route.check_timeout_ms,
                          .rise = route.rise,
                          .fall = route.fall,
                          .send_proxy = route.send_proxy,
                          .tell = tell};
  Result<std::unique_ptr<Health>> started = Health::start(upstreams, settings);
  if (!started) {
    return tl::unexpected(StartError{"cannot start checks: " + describe(started.error())});
  }
  health_ = std::move(*started);
  return {};
}

tl::expected<void, StartError> UpstreamThreads::look_up_names(const Route& route,
                                                              Upstreams& upstreams,
                                                              std::vector<ResolverName> names,
                                                              const Tell& tell) {
  const std::size_t numeric = route.to.size() - names.size();
  resolver_ = Resolver::start(
      {.names = names,
       .interval_ms = route.resolve_interval_ms,
       .publish =
           [this, &upstreams](std::size_t name, const std::vector<sys::Address>& addresses) {
             upstreams.set_addresses(upstream_of_name_[name], addresses);
             if (health_ != nullptr) health_->look_again();
           },
       .tell = tell});
  const std::vector<std::string> errors = resolver_->wait_for_first(route.resolve_timeout_ms);
  const auto failed = static_cast<std::size_t>(std::count_if(
      errors.begin(), errors.end(), [](const std::string& error) { return !error.empty(); }));
  if (numeric == 0 && failed == names.size()) {
    return tl::unexpected(
        StartError{fmt::format("cannot look up {}: {}", names.front().host, errors.front())});
  }
  for (std::size_t i = 0; i < names.size() && tell; ++i) {
    if (!errors[i].empty()) tell(fmt::format("cannot look up {}: {}", names[i].host, errors[i]));
  }
  return {};
}

UpstreamThreads::LookUps UpstreamThreads::lookups() const {
  if (resolver_ == nullptr) return {};
  return {.all = resolver_->lookups(), .failed = resolver_->failures()};
}

// ---------------------------------------------------------------- metrics

namespace {

/// One sample of an endpoint: its value, and a label more for families that have one.
struct Sample {
  std::string_view label;  ///< with its comma, or ""
  std::uint64_t value;
};

std::uint64_t value_of(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

template <class Counters>
std::vector<Sample> by_failure(const Counters& counters, const std::vector<std::string>& labels) {
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::uint64_t value = value_of(counters[i]);
    if (value > 0) samples.push_back({labels[i], value});  // most never happen
  }
  return samples;
}

/// A family with the samples that `pick` makes of each endpoint. An upstream that is given twice,
/// for a second share, is one to the labels: `join` makes one value of both.
template <class Pick, class Join = std::plus<>>
void write_endpoints(std::string& text, std::span<const UpstreamsOfRoute> routes,
                     const metrics::Family& family, Pick pick, Join join = {}) {
  metrics::write_family(text, family);
  std::map<std::string, std::uint64_t> values;
  for (const UpstreamsOfRoute& route : routes) {
    route.upstreams.for_each([&](const std::string& name, const Endpoint& endpoint) {
      for (const Sample& sample : pick(endpoint)) {
        const std::string labels =
            fmt::format("relay=\"{}\",upstream=\"{}\",address=\"{}\"{}",
                        metrics::escaped_label(route.route), name, endpoint.text, sample.label);
        const auto [at, is_new] = values.try_emplace(labels, sample.value);
        if (!is_new) at->second = join(at->second, sample.value);
      }
    });
  }
  for (const auto& [labels, value] : values) {
    fmt::format_to(std::back_inserter(text), "{}{{{}}} {}\n", family.name, labels, value);
  }
}

template <class Pick>
void write_routes(std::string& text, std::span<const UpstreamsOfRoute> routes,
                  const metrics::Family& family, Pick pick) {
  metrics::write_family(text, family);
  for (const UpstreamsOfRoute& route : routes) {
    fmt::format_to(std::back_inserter(text), "{}{{relay=\"{}\"}} {}\n", family.name,
                   metrics::escaped_label(route.route), pick(route));
  }
}

std::vector<std::string> failure_labels(std::string_view label) {
  std::vector<std::string> labels;
  for (const std::string_view token : connect_failure_tokens) {
    labels.push_back(fmt::format(",{}=\"{}\"", label, token));
  }
  return labels;
}

using Samples = std::vector<Sample>;

void write_connections(std::string& text, std::span<const UpstreamsOfRoute> routes) {
  const std::vector<std::string> reasons = failure_labels("reason");
  write_endpoints(text, routes,
                  {"pagewire_relay_upstream_connections", "gauge",
                   "Connections to the upstream now, those that are being opened as well."},
                  [](const Endpoint& e) {
                    return Samples{{"", e.connections.load()}};
                  });
  write_endpoints(text, routes,
                  {"pagewire_relay_upstream_connects_total", "counter",
                   "Connections to the upstream that were tried."},
                  [](const Endpoint& e) {
                    return Samples{{"", value_of(e.connects)}};
                  });
  write_endpoints(text, routes,
                  {"pagewire_relay_upstream_connect_failures_total", "counter",
                   "Of them, those that did not come about."},
                  [&](const Endpoint& e) { return by_failure(e.failures, reasons); });
  write_endpoints(text, routes,
                  {"pagewire_relay_upstream_bytes_total", "counter",
                   "Bytes of connections that have ended: up to the upstream, down from it."},
                  [](const Endpoint& e) {
                    return Samples{{",direction=\"up\"", value_of(e.bytes_up)},
                                   {",direction=\"down\"", value_of(e.bytes_down)}};
                  });
}

void write_checks(std::string& text, std::span<const UpstreamsOfRoute> routes) {
  const std::vector<std::string> results = failure_labels("result");
  write_endpoints(
      text, routes,
      {"pagewire_relay_upstream_up", "gauge",
       "1: new connections go there; 0: its checks have failed."},
      [](const Endpoint& e) {
        return Samples{{"", e.up.load() ? 1U : 0U}};
      },
      [](std::uint64_t a, std::uint64_t b) { return std::max(a, b); });
  write_endpoints(text, routes,
                  {"pagewire_relay_upstream_checks_total", "counter",
                   "Health checks that are over, by what came of them."},
                  [&](const Endpoint& e) {
                    Samples samples = by_failure(e.checks_failed, results);
                    samples.push_back({",result=\"ok\"", value_of(e.checks_passed)});
                    return samples;
                  });
  write_endpoints(
      text, routes,
      {"pagewire_relay_upstream_downs_total", "counter", "How often the upstream was marked down."},
      [](const Endpoint& e) {
        return Samples{{"", value_of(e.went_down)}};
      });
}

}  // namespace

std::string upstreams_text(std::span<const UpstreamsOfRoute> routes) {
  std::string text;
  write_connections(text, routes);
  write_checks(text, routes);
  write_routes(text, routes,
               {"pagewire_relay_queued", "gauge",
                "Clients that wait for an upstream below its limit of connections."},
               [](const UpstreamsOfRoute& r) { return r.upstreams.queued(); });
  write_routes(text, routes,
               {"pagewire_relay_lookups_total", "counter", "Names of upstreams looked up."},
               [](const UpstreamsOfRoute& r) { return r.lookups.all; });
  write_routes(text, routes,
               {"pagewire_relay_lookup_failures_total", "counter",
                "Of them, without an answer: the addresses stayed."},
               [](const UpstreamsOfRoute& r) { return r.lookups.failed; });
  return text;
}

}  // namespace pagewire::relay
