// Checks against real listeners on loopback: thresholds, outcomes, new endpoints, a clean stop.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "relay/health.h"
#include "support/reserved_port.h"
#include "sys/socket.h"

namespace pagewire::relay {
namespace {

TEST(RelayCheckCount, IsHaproxys) {
  CheckCount count(2, 3);
  EXPECT_TRUE(count.up());
  count.failed();  // a new one is up, and its first failure takes it down
  EXPECT_FALSE(count.up());
  count.passed();
  EXPECT_FALSE(count.up());
  count.failed();  // begins from the beginning
  count.passed();
  EXPECT_FALSE(count.up());
  count.passed();
  EXPECT_TRUE(count.up());
  count.failed();
  count.failed();
  EXPECT_TRUE(count.up());
  count.passed();  // forgets the failures
  count.failed();
  count.failed();
  EXPECT_TRUE(count.up());
  count.failed();
  EXPECT_FALSE(count.up());
}

TEST(RelayCheckCount, OneAndOne) {
  CheckCount count(1, 1);
  count.failed();
  EXPECT_FALSE(count.up());
  count.passed();
  EXPECT_TRUE(count.up());
}

bool soon(const std::function<bool()>& holds) {
  for (int i = 0; i < 6'000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class RelayHealth : public ::testing::Test {
 protected:
  static sys::Fd listen_at(const sys::Address& address, int backlog = 16) {
    Result<sys::Fd> fd = sys::listen_on(address, {.reuse_port = false, .backlog = backlog});
    EXPECT_TRUE(fd.has_value());
    return std::move(*fd);
  }
  void start(HealthSettings settings) {
    settings.tell = [this](const std::string& line) {
      const std::scoped_lock lock(mutex_);
      lines_.push_back(line);
    };
    Result<std::unique_ptr<Health>> health = Health::start(upstreams_, settings);
    ASSERT_TRUE(health.has_value());
    health_ = std::move(*health);
  }
  struct Seen {
    bool up = false;
    std::uint64_t passed = 0;
    std::array<std::uint64_t, connect_failure_tokens.size()> failed{};
    std::uint64_t went_down = 0;
  };
  Seen seen(std::size_t index = 0) const {
    std::vector<Seen> all;
    upstreams_.for_each([&](const std::string&, const Endpoint& endpoint) {
      Seen one{.up = endpoint.up.load(),
               .passed = endpoint.checks_passed.load(),
               .went_down = endpoint.went_down.load()};
      for (std::size_t i = 0; i < one.failed.size(); ++i) {
        one.failed[i] = endpoint.checks_failed[i].load();
      }
      all.push_back(one);
    });
    return all.at(index);
  }
  std::vector<std::string> lines() {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

  Upstreams upstreams_{{.names = {"a:1"}}};
  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::unique_ptr<Health> health_;
};

TEST_F(RelayHealth, GoesDownAndComesBack) {
  const test::ReservedPort port;
  const sys::Address address = port.address();
  sys::Fd listener = listen_at(address);
  upstreams_.set_addresses(0, std::span(&address, 1));
  start({.interval_ms = 10, .rise = 2, .fall = 3});
  ASSERT_TRUE(soon([&] { return seen().passed >= 3; }));
  EXPECT_TRUE(seen().up);
  listener.close();
  ASSERT_TRUE(soon([&] { return !seen().up; }));
  EXPECT_GE(seen().failed[static_cast<std::size_t>(ConnectFailure::Refused)], 3U);
  const std::uint64_t before = seen().passed;
  listener = listen_at(address);
  ASSERT_TRUE(soon([&] { return seen().up; }));
  EXPECT_GE(seen().passed, before + 2);
  EXPECT_EQ(seen().went_down, 1U);
  EXPECT_EQ(lines(),
            (std::vector<std::string>{"upstream " + address.to_string() + " is down: refused",
                                      "upstream " + address.to_string() + " is up"}));
}

TEST_F(RelayHealth, WithoutDescriptorsNothingIsSaidOfTheUpstream) {
  const sys::Fd listener = listen_at(*sys::Address::parse("127.0.0.1:0"));
  const sys::Address address = *sys::local_address(listener.get());
  upstreams_.set_addresses(0, std::span(&address, 1));
  start({.interval_ms = 5, .rise = 2, .fall = 1});
  ASSERT_TRUE(soon([&] { return seen().passed >= 1; }));
  rlimit as_it_was{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &as_it_was), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = as_it_was.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &as_it_was), 0);
  const std::uint64_t before = seen().passed;
  ASSERT_TRUE(soon([&] { return seen().passed > before; }));
  EXPECT_TRUE(seen().up);
  EXPECT_EQ(seen().went_down, 0U);
  EXPECT_EQ(seen().failed[static_cast<std::size_t>(ConnectFailure::Other)], 0U);
}

TEST_F(RelayHealth, ProgramsDoNotHearOfChecks) {
  const sys::Fd listener = listen_at(*sys::Address::parse("127.0.0.1:0"));
  const sys::Address address = *sys::local_address(listener.get());
  upstreams_.set_addresses(0, std::span(&address, 1));
  start({.interval_ms = 5});
  // Ten in a row. A thread that stands still between connecting and closing is overtaken by the
  // kernel, which sends the handshake's third packet 40 ms after the second at the latest.
  Error told;
  for (int attempt = 0; attempt < 20 && told.errno_value != EAGAIN; ++attempt) {
    while (sys::accept_from(listener.get())) {
    }
    const std::uint64_t before = seen().passed;
    ASSERT_TRUE(soon([&] { return seen().passed >= before + 10; }));
    const Result<sys::Accepted> accepted = sys::accept_from(listener.get());
    told = accepted ? Error{} : accepted.error();
  }
  EXPECT_EQ(told.errno_value, EAGAIN) << "programs hear of checks";
}

TEST_F(RelayHealth, TimesOut) {
  // A queue of one that is full: the kernel drops further SYNs, and nobody answers.
  const sys::Fd listener = listen_at(*sys::Address::parse("127.0.0.1:0"), 0);
  const sys::Address address = *sys::local_address(listener.get());
  const sys::Fd filler(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(filler.get(), address.raw(), address.raw_size()), 0);
  upstreams_.set_addresses(0, std::span(&address, 1));
  start({.interval_ms = 40, .timeout_ms = 20});
  ASSERT_TRUE(soon([&] { return seen().failed[1] >= 2; }));
  EXPECT_FALSE(seen().up);
  EXPECT_EQ(seen().passed, 0U);
  EXPECT_EQ(lines().at(0), "upstream " + address.to_string() + " is down: timeout");
}

TEST_F(RelayHealth, NewOnesAreCheckedAtOnceAndThoseThatGoNoMore) {
  start({.interval_ms = 60'000});
  const sys::Fd listener = listen_at(*sys::Address::parse("127.0.0.1:0"));
  std::vector<sys::Address> addresses = {*sys::local_address(listener.get())};
  upstreams_.set_addresses(0, addresses);
  health_->look_again();
  ASSERT_TRUE(soon([&] { return seen().passed == 1; }));
  const test::ReservedPort nobody;
  addresses.push_back(nobody.address());
  upstreams_.set_addresses(0, addresses);
  health_->look_again();
  ASSERT_TRUE(soon([&] { return !seen(1).up; }));
  EXPECT_TRUE(seen(0).up);
  EXPECT_EQ(seen(0).passed, 1U);
}

TEST_F(RelayHealth, MoreThanAtOnce) {
  std::vector<sys::Fd> listeners;
  std::vector<sys::Address> addresses;
  for (int i = 0; i < 10; ++i) {
    listeners.push_back(listen_at(*sys::Address::parse("127.0.0.1:0")));
    addresses.push_back(*sys::local_address(listeners.back().get()));
  }
  upstreams_.set_addresses(0, addresses);
  start({.interval_ms = 20, .checks_at_once = 2});
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    ASSERT_TRUE(soon([&] { return seen(i).passed >= 3; })) << i;
  }
}

/// What came on the first connection to `listener`, until its end.
std::string received(int listener) {
  pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, 60'000) != 1) return "nobody came";
  const sys::Fd connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  std::string all;
  std::array<char, 256> part{};
  for (;;) {
    const ssize_t n = ::recv(connection.get(), part.data(), part.size(), 0);
    if (n < 0) return all + " then an error";
    if (n == 0) return all;
    all.append(part.data(), static_cast<std::size_t>(n));
  }
}

TEST_F(RelayHealth, SaysThatItIsNobody) {
  sys::Fd listener = listen_at(*sys::Address::parse("127.0.0.1:0"));
  ASSERT_EQ(::fcntl(listener.get(), F_SETFL, 0), 0);
  const sys::Address address = *sys::local_address(listener.get());
  upstreams_.set_addresses(0, std::span(&address, 1));
  start({.send_proxy = ProxyVersion::V1});
  EXPECT_EQ(received(listener.get()), "PROXY UNKNOWN\r\n");
}

TEST_F(RelayHealth, StopsWhileACheckIsUnderWay) {
  const sys::Fd listener = listen_at(*sys::Address::parse("127.0.0.1:0"), 0);
  const sys::Address address = *sys::local_address(listener.get());
  const sys::Fd filler(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(filler.get(), address.raw(), address.raw_size()), 0);
  upstreams_.set_addresses(0, std::span(&address, 1));
  start({.interval_ms = 600'000, .timeout_ms = 600'000});
  // Probably under way by then; a stop that waited for its end would outlast the test.
  const auto begun = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  health_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(60));
  EXPECT_EQ(seen().passed + seen().failed[1], 0U);
}

}  // namespace
}  // namespace pagewire::relay
