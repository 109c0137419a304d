// The resolver with look-ups of the test's own: what it publishes, keeps, and does not wait for.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "relay/resolver.h"

namespace pagewire::relay {
namespace {

LookedUp found(const std::vector<std::string>& texts) {
  LookedUp looked;
  for (const std::string& text : texts) looked.addresses.push_back(*sys::Address::parse(text));
  return looked;
}

/// Answers that the test sets, and what was published.
struct World {
  explicit World(LookedUp first = {}) : answer(std::move(first)) {}

  std::mutex mutex;
  std::condition_variable changed;
  LookedUp answer;
  std::uint64_t asked = 0;
  std::vector<std::string> published;  ///< "NAME: ADDRESS ADDRESS"
  std::vector<std::string> lines;

  ResolverSettings settings(std::vector<ResolverName> names) {
    ResolverSettings with{.names = std::move(names), .interval_ms = 1};
    with.look_up = [this](const ResolverName&) {
      const std::scoped_lock lock(mutex);
      ++asked;
      changed.notify_all();
      return answer;
    };
    with.publish = [this](std::size_t name, const std::vector<sys::Address>& addresses) {
      std::string text = std::to_string(name) + ":";
      for (const sys::Address& address : addresses) text += " " + address.to_string();
      const std::scoped_lock lock(mutex);
      published.push_back(text);
    };
    with.tell = [this](const std::string& line) {
      const std::scoped_lock lock(mutex);
      lines.push_back(line);
    };
    return with;
  }
  /// Sets the answer, and waits until the look-ups that were under way have gone.
  void now(LookedUp looked) {
    std::unique_lock lock(mutex);
    answer = std::move(looked);
    const std::uint64_t until = asked + 3;
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return asked >= until; }));
  }
  std::vector<std::string> told() {
    const std::scoped_lock lock(mutex);
    return published;
  }
};

TEST(RelayResolver, PublishesWhatChanges) {
  World world(found({"10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"}));
  const auto resolver = Resolver::start(world.settings({{"a", 80}}));
  EXPECT_EQ(resolver->wait_for_first(60'000), std::vector<std::string>{""});
  world.now(found({"10.0.0.1:80", "10.0.0.2:80"}));  // the order does not count
  world.now(found({"[::1]:80", "10.0.0.1:80"}));
  EXPECT_EQ(world.told(),
            (std::vector<std::string>{"0: 10.0.0.1:80 10.0.0.2:80", "0: 10.0.0.1:80 [::1]:80"}));
  EXPECT_EQ(world.lines, std::vector<std::string>{"a is now 10.0.0.1:80, [::1]:80"});
  EXPECT_EQ(resolver->failures(), 0U);
  EXPECT_GE(resolver->lookups(), 6U);
}

TEST(RelayResolver, AFailureKeepsTheAddresses) {
  World world(found({"10.0.0.1:80"}));
  const auto resolver = Resolver::start(world.settings({{"a", 80}}));
  resolver->wait_for_first(60'000);
  world.now({.addresses = {}, .error = "broken"});
  EXPECT_EQ(world.told().size(), 1U);
  EXPECT_GE(resolver->failures(), 2U);
  world.now(found({"10.0.0.1:80"}));
  EXPECT_EQ(world.told().size(), 1U);
  world.now(found({"10.0.0.9:80"}));
  EXPECT_EQ(world.told().back(), "0: 10.0.0.9:80");
  // Said once, though it failed more than once.
  EXPECT_EQ(world.lines, (std::vector<std::string>{"cannot look up a: broken; its addresses stay",
                                                   "a is now 10.0.0.9:80"}));
}

TEST(RelayResolver, SaysWhatIsWrongAtStart) {
  World world({.addresses = {}, .error = "no such name"});
  const auto resolver = Resolver::start(world.settings({{"a", 80}, {"b", 80}}));
  EXPECT_EQ(resolver->wait_for_first(60'000),
            (std::vector<std::string>{"no such name", "no such name"}));
  EXPECT_TRUE(world.told().empty());
}

TEST(RelayResolver, LimitsAddresses) {
  World world(found({"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}));
  ResolverSettings settings = world.settings({{"a", 80}});
  settings.max_addresses = 2;
  const auto resolver = Resolver::start(std::move(settings));
  resolver->wait_for_first(60'000);
  EXPECT_EQ(world.told(), std::vector<std::string>{"0: 10.0.0.1:80 10.0.0.2:80"});
}

TEST(RelayResolver, OnlyAtStart) {
  World world(found({"10.0.0.1:80"}));
  ResolverSettings settings = world.settings({{"a", 80}});
  settings.interval_ms = 0;
  const auto resolver = Resolver::start(std::move(settings));
  resolver->wait_for_first(60'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(resolver->lookups(), 1U);
}

/// A look-up that hangs until the test lets it go; what it touches outlives the resolver.
struct Hanging {
  std::mutex mutex;
  std::condition_variable changed;
  bool let_go = false;
  bool over = false;
};

TEST(RelayResolver, NobodyWaitsForALookUpThatHangs) {
  const auto hanging = std::make_shared<Hanging>();
  World world;
  ResolverSettings settings = world.settings({{"a", 80}});
  settings.look_up = [hanging](const ResolverName&) {
    std::unique_lock lock(hanging->mutex);
    hanging->changed.wait(lock, [&] { return hanging->let_go; });
    hanging->over = true;
    hanging->changed.notify_all();
    return found({"10.0.0.1:80"});
  };
  auto resolver = Resolver::start(std::move(settings));
  EXPECT_EQ(resolver->wait_for_first(20), std::vector<std::string>{"no answer yet"});
  resolver.reset();
  std::unique_lock lock(hanging->mutex);
  EXPECT_FALSE(hanging->over);
  hanging->let_go = true;
  hanging->changed.notify_all();
  ASSERT_TRUE(
      hanging->changed.wait_for(lock, std::chrono::seconds(60), [&] { return hanging->over; }));
  lock.unlock();
  // Nothing is told to those that have gone; a sanitizer would see it touch them.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(world.told().empty());
}

TEST(RelayResolver, LooksUpForReal) {
  const LookedUp local = look_up({"127.0.0.1", 80});
  ASSERT_EQ(local.addresses.size(), 1U) << local.error;
  EXPECT_EQ(local.addresses[0].to_string(), "127.0.0.1:80");
  const LookedUp none = look_up({"no such name", 80});
  EXPECT_TRUE(none.addresses.empty());
  EXPECT_FALSE(none.error.empty());
}

}  // namespace
}  // namespace pagewire::relay
