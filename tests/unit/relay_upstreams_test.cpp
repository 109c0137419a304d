// Who gets which endpoint: balancing, limits, the queue, health, and lists that change.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "relay/upstreams.h"

namespace pagewire::relay {
namespace {

using Answer = Upstreams::Answer;

sys::Address at(const std::string& text) {
  return *sys::Address::parse(text);
}

/// Keeps what it was granted.
class Client final : public Attempt {
 public:
  explicit Client(std::size_t worker = 0, std::uint64_t key = 0) : Attempt(worker, key) {}
  void granted(Slot given) override { slot = std::move(given); }
  using Attempt::leave_queue;
  Slot slot;
};

class RelayUpstreams : public ::testing::Test {
 protected:
  /// Endpoints 10.0.0.1:80, 10.0.0.2:80 ... of one upstream.
  void make(Balance balance, std::size_t endpoints, UpstreamsSettings settings = {}) {
    settings.names = {"name:80"};
    settings.balance = balance;
    settings.wake = [this](std::size_t worker) { woken_.push_back(worker); };
    upstreams_ = std::make_unique<Upstreams>(std::move(settings));
    set(endpoints);
  }
  bool set(std::size_t endpoints) {
    std::vector<sys::Address> addresses;
    for (std::size_t i = 1; i <= endpoints; ++i) {
      addresses.push_back(at("10.0.0." + std::to_string(i) + ":80"));
    }
    return upstreams_->set_addresses(0, addresses);
  }
  std::uint32_t id_of(const std::string& text) const {
    for (const Upstreams::Target& target : upstreams_->targets()) {
      if (target.address.to_string() == text) return target.id;
    }
    ADD_FAILURE() << text;
    return 0;
  }
  /// The endpoint that a client of that key gets; gives it back at once.
  std::string ask(std::uint64_t key = 0, std::size_t worker = 0) {
    Client client(worker, key);
    Upstreams::Acquired acquired = upstreams_->acquire(client);
    if (acquired.answer != Answer::Taken) return "-";
    return acquired.slot.endpoint().text;
  }
  std::map<std::string, int> ask_often(int times) {
    std::map<std::string, int> counts;
    for (int i = 0; i < times; ++i) ++counts[ask()];
    return counts;
  }
  Answer acquire(Client& client) {
    Upstreams::Acquired acquired = upstreams_->acquire(client);
    client.slot = std::move(acquired.slot);
    return acquired.answer;
  }
  std::size_t known() const {
    std::size_t count = 0;
    upstreams_->for_each([&](const std::string&, const Endpoint&) { ++count; });
    return count;
  }

  std::unique_ptr<Upstreams> upstreams_;
  std::vector<std::size_t> woken_;
};

TEST_F(RelayUpstreams, RoundRobinTakesTurns) {
  make(Balance::RoundRobin, 3, {.workers = 2});
  std::vector<std::string> order;
  for (int i = 0; i < 6; ++i) order.push_back(ask(0, i % 2U));
  EXPECT_EQ(order, (std::vector<std::string>{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80",
                                             "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}));
}

TEST_F(RelayUpstreams, RoundRobinSharesWhatADeadOneLeaves) {
  make(Balance::RoundRobin, 3);
  upstreams_->set_up(id_of("10.0.0.1:80"), false);
  EXPECT_EQ(ask_often(100), (std::map<std::string, int>{{"10.0.0.2:80", 50}, {"10.0.0.3:80", 50}}));
  upstreams_->set_up(id_of("10.0.0.1:80"), true);
  EXPECT_EQ(ask_often(99)["10.0.0.1:80"], 33);
}

TEST_F(RelayUpstreams, LeastConnTakesTheFewest) {
  make(Balance::LeastConn, 3);
  std::vector<std::unique_ptr<Client>> clients;
  std::map<std::string, int> counts;
  for (int i = 0; i < 9; ++i) {
    clients.push_back(std::make_unique<Client>());
    ASSERT_EQ(acquire(*clients.back()), Answer::Taken);
    ++counts[clients.back()->slot.endpoint().text];
  }
  EXPECT_EQ(counts.size(), 3U);
  for (const auto& [text, count] : counts) EXPECT_EQ(count, 3) << text;
  // The one that has lost a connection gets the next one, whoever's turn it is.
  const std::string fewer = clients[4]->slot.endpoint().text;
  clients[4]->slot.release();
  EXPECT_EQ(ask(), fewer);
}

TEST_F(RelayUpstreams, LeastConnTakesTurnsAmongEquals) {
  make(Balance::LeastConn, 3);
  EXPECT_EQ(ask_often(30), (std::map<std::string, int>{
                               {"10.0.0.1:80", 10}, {"10.0.0.2:80", 10}, {"10.0.0.3:80", 10}}));
}

std::uint64_t client_key(int number) {
  return hash_key(
      at("192.0." + std::to_string(number / 250) + "." + std::to_string(number % 250) + ":1"));
}

TEST_F(RelayUpstreams, HashSpreadsClientsAndMovesOnlyThoseOfTheDead) {
  constexpr int clients = 4'000;
  make(Balance::Hash, 4);
  std::vector<std::string> before;
  std::map<std::string, int> counts;
  for (int i = 0; i < clients; ++i) {
    before.push_back(ask(client_key(i)));
    ++counts[before.back()];
  }
  for (const auto& [text, count] : counts) {
    EXPECT_GT(count, clients / 5) << text;
    EXPECT_LT(count, clients * 3 / 10) << text;
  }
  upstreams_->set_up(id_of("10.0.0.2:80"), false);
  for (int i = 0; i < clients; ++i) {
    const std::string now = ask(client_key(i));
    if (before[i] == "10.0.0.2:80") {
      EXPECT_NE(now, "10.0.0.2:80");
    } else {
      EXPECT_EQ(now, before[i]);
    }
  }
  upstreams_->set_up(id_of("10.0.0.2:80"), true);
  for (int i = 0; i < clients; ++i) EXPECT_EQ(ask(client_key(i)), before[i]);
}

TEST_F(RelayUpstreams, HashDoesNotHangOnOrderOrPort) {
  make(Balance::Hash, 4);
  const std::string first = ask(client_key(7));
  std::vector<sys::Address> reversed;
  for (int i = 4; i > 0; --i) reversed.push_back(at("10.0.0." + std::to_string(i) + ":80"));
  make(Balance::Hash, 0);
  upstreams_->set_addresses(0, reversed);
  EXPECT_EQ(ask(client_key(7)), first);
  EXPECT_EQ(hash_key(at("192.0.2.1:1")), hash_key(at("[::ffff:192.0.2.1]:2")));
  EXPECT_NE(hash_key(at("192.0.2.1:1")), hash_key(at("192.0.2.2:1")));
}

TEST_F(RelayUpstreams, TriedOnesAreNotAskedAgain) {
  make(Balance::RoundRobin, 2);
  Client client;
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(acquire(client), Answer::Taken);
    EXPECT_FALSE(client.has_tried(client.slot.endpoint()));
    client.mark_tried(client.slot.endpoint());
    client.slot.release();
  }
  EXPECT_EQ(acquire(client), Answer::AllTried);
  client.forget_tried();
  EXPECT_EQ(acquire(client), Answer::Taken);
}

TEST_F(RelayUpstreams, NoneUp) {
  make(Balance::LeastConn, 0);
  EXPECT_EQ(ask(), "-");
  set(1);
  EXPECT_EQ(ask(), "10.0.0.1:80");
  upstreams_->set_up(id_of("10.0.0.1:80"), false);
  Client client;
  EXPECT_EQ(acquire(client), Answer::NoneUp);
}

TEST_F(RelayUpstreams, LimitHoldsOverWorkersAndTheQueueIsInOrder) {
  make(Balance::RoundRobin, 2, {.max_connections = 1, .max_queue = 3, .workers = 2});
  Client holders[2] = {Client(0), Client(1)};
  for (Client& holder : holders) ASSERT_EQ(acquire(holder), Answer::Taken);
  Client waiters[3] = {Client(1), Client(0), Client(1)};
  for (Client& waiter : waiters) ASSERT_EQ(acquire(waiter), Answer::Waits);
  EXPECT_EQ(upstreams_->queued(), 3U);
  Client late(0);
  EXPECT_EQ(acquire(late), Answer::QueueFull);

  const std::string freed = holders[0].slot.endpoint().text;
  holders[0].slot.release();
  EXPECT_EQ(woken_, std::vector<std::size_t>{1});
  EXPECT_EQ(upstreams_->queued(), 2U);
  // Not before its own worker has looked; and the place is not to be had meanwhile.
  EXPECT_FALSE(waiters[0].slot.taken());
  EXPECT_EQ(acquire(late), Answer::Waits);
  upstreams_->deliver(0);
  EXPECT_FALSE(waiters[0].slot.taken());
  upstreams_->deliver(1);
  ASSERT_TRUE(waiters[0].slot.taken());
  EXPECT_EQ(waiters[0].slot.endpoint().text, freed);

  holders[1].slot.release();
  waiters[0].slot.release();
  EXPECT_EQ(woken_, (std::vector<std::size_t>{1, 0, 1}));
  upstreams_->deliver(0);
  upstreams_->deliver(1);
  EXPECT_TRUE(waiters[1].slot.taken());
  EXPECT_TRUE(waiters[2].slot.taken());
  EXPECT_FALSE(late.slot.taken());
}

TEST_F(RelayUpstreams, NoQueue) {
  make(Balance::RoundRobin, 1, {.max_connections = 1, .max_queue = 0});
  Client holder;
  ASSERT_EQ(acquire(holder), Answer::Taken);
  Client late;
  EXPECT_EQ(acquire(late), Answer::QueueFull);
}

TEST_F(RelayUpstreams, WhoLeavesTheQueueGivesItsPlaceOn) {
  make(Balance::RoundRobin, 1, {.max_connections = 1, .workers = 1});
  Client holder;
  ASSERT_EQ(acquire(holder), Answer::Taken);
  auto first = std::make_unique<Client>();
  auto second = std::make_unique<Client>();
  Client third;
  Client fourth;
  for (Client* client : {first.get(), second.get(), &third, &fourth}) {
    ASSERT_EQ(acquire(*client), Answer::Waits);
  }
  second.reset();  // gave up while it waited
  holder.slot.release();
  first.reset();  // gave up after it was given the place, before it heard of that
  third.leave_queue();
  upstreams_->deliver(0);
  EXPECT_FALSE(third.slot.taken());
  EXPECT_TRUE(fourth.slot.taken());
  EXPECT_EQ(upstreams_->queued(), 0U);
}

TEST_F(RelayUpstreams, WithHashAFullOneIsWaitedFor) {
  make(Balance::Hash, 2, {.max_connections = 1});
  std::uint64_t key_of[2] = {0, 0};
  for (int i = 0; key_of[0] == 0 || key_of[1] == 0; ++i) {
    key_of[ask(client_key(i)) == "10.0.0.1:80" ? 0 : 1] = client_key(i);
  }
  Client holder(0, key_of[0]);
  ASSERT_EQ(acquire(holder), Answer::Taken);
  Client waits_for_first(0, key_of[0]);
  ASSERT_EQ(acquire(waits_for_first), Answer::Waits);
  // One of the other endpoint's is not held up.
  EXPECT_EQ(ask(key_of[1]), "10.0.0.2:80");
  // Down: those that waited for it are taken by the other.
  upstreams_->set_up(id_of("10.0.0.1:80"), false);
  upstreams_->deliver(0);
  ASSERT_TRUE(waits_for_first.slot.taken());
  EXPECT_EQ(waits_for_first.slot.endpoint().text, "10.0.0.2:80");
}

TEST_F(RelayUpstreams, ThoseThatWaitAreServedByOneThatComes) {
  make(Balance::LeastConn, 1, {.max_connections = 1});
  Client holder;
  ASSERT_EQ(acquire(holder), Answer::Taken);
  Client waiters[2];
  for (Client& waiter : waiters) ASSERT_EQ(acquire(waiter), Answer::Waits);
  set(2);
  upstreams_->deliver(0);
  ASSERT_TRUE(waiters[0].slot.taken());
  EXPECT_EQ(waiters[0].slot.endpoint().text, "10.0.0.2:80");
  // All down: nobody new is let in, who waits goes on waiting for one that comes back.
  upstreams_->set_up(id_of("10.0.0.1:80"), false);
  upstreams_->set_up(id_of("10.0.0.2:80"), false);
  holder.slot.release();
  Client late;
  EXPECT_EQ(acquire(late), Answer::NoneUp);
  upstreams_->deliver(0);
  EXPECT_FALSE(waiters[1].slot.taken());
  upstreams_->set_up(id_of("10.0.0.1:80"), true);
  upstreams_->deliver(0);
  EXPECT_TRUE(waiters[1].slot.taken());
}

TEST_F(RelayUpstreams, ListsChangeUnderConnections) {
  make(Balance::RoundRobin, 2, {.workers = 2});
  EXPECT_FALSE(set(2));
  const std::uint64_t generation = upstreams_->generation();
  Client client;
  while (!client.slot.taken() || client.slot.endpoint().text != "10.0.0.2:80") acquire(client);
  EXPECT_TRUE(set(1));
  EXPECT_GT(upstreams_->generation(), generation);
  EXPECT_EQ(ask_often(4), (std::map<std::string, int>{{"10.0.0.1:80", 4}}));
  EXPECT_EQ(upstreams_->targets().size(), 1U);
  // Kept while it has a connection, and while worker 1 has not seen the new list.
  EXPECT_EQ(known(), 2U);
  upstreams_->refresh(1);
  set(1);
  EXPECT_EQ(known(), 2U);
  client.slot.release();
  set(1);
  EXPECT_EQ(known(), 1U);
}

TEST_F(RelayUpstreams, OneThatComesBackGoesOnAsItWas) {
  make(Balance::RoundRobin, 2);
  const std::uint32_t second = id_of("10.0.0.2:80");
  upstreams_->set_up(second, false);
  set(1);
  set(2);
  EXPECT_EQ(id_of("10.0.0.2:80"), second);
  EXPECT_EQ(ask_often(4), (std::map<std::string, int>{{"10.0.0.1:80", 4}}));
}

TEST_F(RelayUpstreams, ChecksAreCounted) {
  make(Balance::RoundRobin, 1);
  const std::uint32_t id = id_of("10.0.0.1:80");
  const ConnectFailure refused = ConnectFailure::Refused;
  upstreams_->count_check(id, nullptr);
  upstreams_->count_check(id, &refused);
  upstreams_->count_check(id + 1, &refused);
  upstreams_->set_up(id, false);
  upstreams_->set_up(id, false);
  upstreams_->for_each([](const std::string& name, const Endpoint& endpoint) {
    EXPECT_EQ(name, "name:80");
    EXPECT_EQ(endpoint.checks_passed.load(), 1U);
    EXPECT_EQ(endpoint.checks_failed[0].load(), 1U);
    EXPECT_EQ(endpoint.went_down.load(), 1U);
  });
}

/// A worker that asks, waits and gives back as fast as it can, while lists and health change.
void work(Upstreams& upstreams, std::size_t worker, std::atomic<std::uint64_t>& served,
          std::atomic<std::uint32_t>& most, std::atomic<bool>& stop) {
  std::vector<std::unique_ptr<Client>> clients;
  for (std::uint64_t i = 0; !stop.load() || !clients.empty(); ++i) {
    upstreams.deliver(worker);
    upstreams.refresh(worker);
    for (const std::unique_ptr<Client>& client : clients) {
      if (!client->slot.taken()) continue;
      served.fetch_add(1);
      most.store(std::max(most.load(), client->slot.endpoint().connections.load()));
      client->slot.release();
    }
    if (stop.load() || i % 97 == 0) clients.clear();
    if (!stop.load() && clients.size() < 16) {
      clients.push_back(std::make_unique<Client>(worker, i));
      Upstreams::Acquired acquired = upstreams.acquire(*clients.back());
      clients.back()->slot = std::move(acquired.slot);
    }
  }
}

TEST_F(RelayUpstreams, WorkersHealthAndResolverAtOnce) {
  for (const Balance balance : {Balance::RoundRobin, Balance::LeastConn, Balance::Hash}) {
    Upstreams upstreams({.names = {"a:1"},
                         .balance = balance,
                         .max_connections = 3,
                         .max_queue = 20,
                         .workers = 3,
                         .wake = [](std::size_t) {}});
    std::atomic<std::uint64_t> served{0};
    std::atomic<std::uint32_t> most{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < 3; ++worker) {
      threads.emplace_back([&, worker] { work(upstreams, worker, served, most, stop); });
    }
    threads.emplace_back([&] {
      for (std::uint32_t i = 0; !stop.load(); ++i) {
        for (const Upstreams::Target& target : upstreams.targets()) {
          upstreams.set_up(target.id, (i + target.id) % 3 != 0);
        }
        std::this_thread::yield();
      }
    });
    for (unsigned i = 0; i < 600 || served.load() < 300; ++i) {
      std::vector<sys::Address> addresses;
      for (unsigned n = 0; n < 1 + i % 5; ++n) {
        addresses.push_back(at("10.0." + std::to_string((i + n) % 7) + ".1:80"));
      }
      upstreams.set_addresses(0, addresses);
      std::this_thread::yield();
    }
    stop.store(true);
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(most.load(), 3U);
    EXPECT_EQ(upstreams.queued(), 0U);
    for (std::size_t worker = 0; worker < 3; ++worker) upstreams.refresh(worker);
    upstreams.set_addresses(0, {});
    for (std::size_t worker = 0; worker < 3; ++worker) upstreams.refresh(worker);
    upstreams.set_addresses(0, {});
    upstreams.for_each(
        [](const std::string&, const Endpoint& endpoint) { ADD_FAILURE() << endpoint.text; });
  }
}

// Somebody (a scrape of the metrics) holds the list when all of its addresses have just changed.
TEST_F(RelayUpstreams, NobodyIsRefusedForAListThatIsHeld) {
  make(Balance::RoundRobin, 1);
  EXPECT_EQ(ask(), "10.0.0.1:80");
  const sys::Address moved = at("10.0.0.9:80");
  upstreams_->set_addresses(0, std::span(&moved, 1));
  std::atomic<bool> held{false};
  std::thread holder([&] {
    upstreams_->for_each([&](const std::string&, const Endpoint&) {
      held.store(true);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    });
  });
  while (!held.load()) std::this_thread::yield();
  EXPECT_EQ(ask(), "10.0.0.9:80");
  holder.join();
}

}  // namespace
}  // namespace pagewire::relay
