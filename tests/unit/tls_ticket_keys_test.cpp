// Keys of tickets: one a period, the older ones as long as a ticket may live, the same for all.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "tls/tls.h"

namespace pagewire::tls {
namespace {

struct Keys {
  std::int64_t now_ms = 5'000;
  TicketKeys keys{[this] { return now_ms; }};
};

bool has(const TicketKeySet& set, const TicketKey& key) {
  return std::any_of(set.keys.begin(), set.keys.end(),
                     [&](const TicketKey& each) { return each.name == key.name; });
}

TEST(TlsTicketKeys, HoldForAPeriod) {
  Keys all;
  const TicketKeySet first = all.keys.current();
  ASSERT_EQ(first.keys.size(), 1U);
  EXPECT_EQ(first.until_ms, 5'000 + TicketKeys::period_ms);
  all.now_ms = first.until_ms - 1;
  EXPECT_EQ(all.keys.current().keys.front().name, first.keys.front().name);
}

TEST(TlsTicketKeys, AreReplacedAndTheOldOnesStillDecrypt) {
  Keys all;
  const TicketKeySet first = all.keys.current();
  all.now_ms = first.until_ms;
  const TicketKeySet second = all.keys.current();
  ASSERT_EQ(second.keys.size(), 2U);
  EXPECT_NE(second.keys[0].name, first.keys[0].name);
  EXPECT_NE(second.keys[0].cipher, first.keys[0].cipher);
  EXPECT_NE(second.keys[0].mac, first.keys[0].mac);
  EXPECT_EQ(second.keys[1].name, first.keys[0].name);
  EXPECT_EQ(second.keys[1].cipher, first.keys[0].cipher);
}

TEST(TlsTicketKeys, AreForgottenWhenNoTicketOfTheirsCanBeAliveAnyMore) {
  Keys all;
  const TicketKey first = all.keys.current().keys.front();
  // Its last ticket is made at the end of its period.
  const std::int64_t dead_ms = all.keys.current().until_ms + TicketKeys::ticket_lifetime_ms;
  while (all.now_ms + TicketKeys::period_ms < dead_ms) {
    all.now_ms += TicketKeys::period_ms;
    EXPECT_TRUE(has(all.keys.current(), first)) << all.now_ms;
  }
  all.now_ms = dead_ms;
  EXPECT_FALSE(has(all.keys.current(), first));
}

TEST(TlsTicketKeys, OfATimeWhenNobodyAskedAreNotKeptLonger) {
  Keys all;
  const TicketKeySet first = all.keys.current();
  all.now_ms = first.until_ms + TicketKeys::ticket_lifetime_ms;
  const TicketKeySet later = all.keys.current();
  EXPECT_EQ(later.keys.size(), 1U);
  EXPECT_FALSE(has(later, first.keys.front()));
}

TEST(TlsTicketKeys, AreTheSameForThreadsThatAskAtOnce) {
  Keys all;
  std::vector<TicketKeySet> seen(4);
  std::vector<std::thread> threads;
  for (TicketKeySet& mine : seen) {
    threads.emplace_back([&mine, &all] { mine = all.keys.current(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const TicketKeySet& each : seen) {
    ASSERT_EQ(each.keys.size(), 1U);
    EXPECT_EQ(each.keys.front().name, seen.front().keys.front().name);
  }
}

}  // namespace
}  // namespace pagewire::tls
