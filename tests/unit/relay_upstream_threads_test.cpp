// From --to to endpoints, and what the metrics say of them.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "relay/upstream_threads.h"

namespace pagewire::relay {
namespace {

TEST(RelayUpstreamName, Addresses) {
  for (const std::string text : {"10.0.0.7:5432", "[fd00::7]:5432"}) {
    const auto parsed = parse_upstream(text);
    ASSERT_TRUE(parsed.has_value()) << parsed.error();
    ASSERT_TRUE(parsed->address.has_value());
    EXPECT_EQ(parsed->address->to_string(), text);
  }
}

TEST(RelayUpstreamName, Names) {
  for (const std::string host : {"localhost", "db-1.example.org", "_postgres.example.", "7"}) {
    const auto parsed = parse_upstream(host + ":5432");
    ASSERT_TRUE(parsed.has_value()) << parsed.error();
    EXPECT_FALSE(parsed->address.has_value());
    EXPECT_EQ(parsed->name.host, host);
    EXPECT_EQ(parsed->name.port, 5432);
  }
}

TEST(RelayUpstreamName, Wrong) {
  for (const char* text :
       {"", "host", "host:", ":80", "host:0", "host:65536", "host:+1", "host:80 ", "a b:80",
        "fd00::7:5432", "[fd00::7:80", "a\"b:80", "http://a:80"}) {
    EXPECT_FALSE(parse_upstream(text).has_value()) << text;
  }
}

TEST(RelayUpstreamThreads, NumericOnesNeedNoThread) {
  Route route;
  route.to = {"10.0.0.1:80", "[::1]:81"};
  Upstreams upstreams({.names = route.to});
  const auto threads = UpstreamThreads::start(route, upstreams, {});
  ASSERT_TRUE(threads.has_value()) << threads.error().text;
  EXPECT_EQ(upstreams.targets().size(), 2U);
  EXPECT_EQ((*threads)->lookups().all, 0U);
}

TEST(RelayUpstreamThreads, OneAddressIsEnoughToStart) {
  Route route;
  // Two dots in a row are no name, to any resolver.
  route.to = {"no..name:80"};
  std::vector<std::string> lines;
  const auto tell = [&](const std::string& line) { lines.push_back(line); };
  {
    Upstreams upstreams({.names = route.to});
    const auto threads = UpstreamThreads::start(route, upstreams, tell);
    ASSERT_FALSE(threads.has_value());
    EXPECT_TRUE(threads.error().text.starts_with("cannot look up no..name: "));
    EXPECT_TRUE(lines.empty());
  }
  route.to.push_back("10.0.0.1:80");
  Upstreams upstreams({.names = route.to});
  const auto threads = UpstreamThreads::start(route, upstreams, tell);
  ASSERT_TRUE(threads.has_value()) << threads.error().text;
  EXPECT_EQ(upstreams.targets().size(), 1U);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].starts_with("cannot look up no..name: "));
  EXPECT_EQ((*threads)->lookups().failed, 1U);
}

TEST(RelayUpstreamThreads, Metrics) {
  Upstreams first({.names = {"a:80"}});
  Upstreams second({.names = {"b:80"}});
  const sys::Address address = *sys::Address::parse("10.0.0.1:80");
  first.set_addresses(0, std::span(&address, 1));
  second.set_addresses(0, std::span(&address, 1));
  const std::uint32_t id = first.targets().at(0).id;
  const ConnectFailure timeout = ConnectFailure::Timeout;
  first.count_check(id, nullptr);
  first.count_check(id, &timeout);
  first.set_up(id, false);
  const std::vector<UpstreamsOfRoute> routes = {
      {.route = "one", .upstreams = first, .lookups = {.all = 3, .failed = 1}},
      {.route = "t\"wo", .upstreams = second, .lookups = {}}};
  const std::string text = upstreams_text(routes);
  const std::string one = "{relay=\"one\",upstream=\"a:80\",address=\"10.0.0.1:80\"";
  const std::string two = "{relay=\"t\\\"wo\",upstream=\"b:80\",address=\"10.0.0.1:80\"";
  for (const std::string& line :
       {"pagewire_relay_upstream_up" + one + "} 0\n", "pagewire_relay_upstream_up" + two + "} 1\n",
        "pagewire_relay_upstream_checks_total" + one + ",result=\"timeout\"} 1\n",
        "pagewire_relay_upstream_checks_total" + one + ",result=\"ok\"} 1\n",
        "pagewire_relay_upstream_downs_total" + one + "} 1\n",
        std::string("pagewire_relay_lookup_failures_total{relay=\"one\"} 1\n"),
        std::string("pagewire_relay_queued{relay=\"t\\\"wo\"} 0\n")}) {
    EXPECT_NE(text.find(line), text.npos) << line << text;
  }
  EXPECT_EQ(text.find("result=\"refused\""), text.npos);  // has not happened
  // A family's samples stand together, whichever route they are of.
  const std::string type = "# TYPE pagewire_relay_upstream_up gauge\n";
  EXPECT_EQ(text.find(type), text.rfind(type));
}

}  // namespace
}  // namespace pagewire::relay
