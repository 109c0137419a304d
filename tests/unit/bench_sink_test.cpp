// The sink against a server of the test's own: what it counts, when it ends, what it complains of.
#include "bench/sink.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "base/units.h"
#include "support/position_code.h"
#include "support/reserved_port.h"
#include "sys/fd.h"

namespace pagewire::bench {
namespace {

/// Listens on loopback and does the same with each connection, one after the other, on a thread of
/// its own, until it is destroyed.
class Server {
 public:
  using Answer = std::function<void(sys::Fd connection, const sys::Fd& stop)>;

  explicit Server(Answer answer) : answer_(std::move(answer)) {
    const auto address = sys::Address::parse("127.0.0.1:0");
    auto listener = sys::listen_on(*address, {.reuse_port = false});
    EXPECT_TRUE(listener.has_value());
    listener_ = std::move(*listener);
    name_ = sys::local_address(listener_.get())->to_string();
    stop_ = sys::Fd(::eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { run(); });
  }
  ~Server() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  const std::string& name() const { return name_; }
  std::size_t connections() const { return connections_; }

 private:
  void run() {
    for (;;) {
      pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      ::poll(fds, 2, -1);
      if (fds[1].revents != 0) return;
      auto accepted = sys::accept_from(listener_.get());
      if (!accepted) continue;
      ++connections_;
      answer_(std::move(accepted->fd), stop_);
    }
  }

  Answer answer_;
  sys::Fd listener_;
  sys::Fd stop_;
  std::string name_;
  std::atomic<std::size_t> connections_{0};
  std::thread thread_;
};

/// False when the peer has gone, or the test is over.
bool send_all(const sys::Fd& connection, std::string_view bytes, const sys::Fd& stop) {
  while (!bytes.empty()) {
    const auto sent = sys::send_some(connection.get(), bytes);
    if (sent) {
      bytes.remove_prefix(sent->value);
      continue;
    }
    if (sent.error().errno_value != EAGAIN) return false;
    pollfd fds[] = {{connection.get(), POLLOUT, 0}, {stop.get(), POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (fds[1].revents != 0) return false;
  }
  return true;
}

constexpr std::size_t file_bytes = 3 * mib + 12'345;

Server::Answer file_sender() {
  return [data = test::positions(0, file_bytes)](const sys::Fd& connection, const sys::Fd& stop) {
    send_all(connection, data, stop);
  };
}

TEST(Sink, CountsWhatTheServerSent) {
  Server server(file_sender());
  for (const bool touch : {false, true}) {
    const auto result = receive_and_discard(
        {.server = server.name(), .addresses = {}, .connections = 3, .seconds = {}, .touch = touch},
        -1);
    ASSERT_TRUE(result.has_value()) << result.error();
    EXPECT_EQ(result->received_bytes, 3 * file_bytes);
    EXPECT_EQ(result->finished, 3U);
    EXPECT_EQ(result->broken, 0U);
    EXPECT_FALSE(result->interrupted);
    EXPECT_GT(result->seconds, 0);
  }
  EXPECT_EQ(server.connections(), 6U);
}

TEST(Sink, ConnectsToWhatWasLookedUpBefore) {
  Server server(file_sender());
  const auto addresses = look_up(server.name());
  ASSERT_TRUE(addresses.has_value()) << addresses.error();
  // The name is not looked up again: nobody could.
  const auto result = receive_and_discard({.server = "not a name",
                                           .addresses = *addresses,
                                           .connections = 1,
                                           .seconds = {},
                                           .touch = false},
                                          -1);
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->received_bytes, file_bytes);
  EXPECT_EQ(look_up("127.0.0.1:").error(), "127.0.0.1:: not HOST:PORT");
}

TEST(Sink, ConnectsAnewWhileThereIsTime) {
  Server server(file_sender());
  const auto result = receive_and_discard(
      {.server = server.name(), .addresses = {}, .connections = 1, .seconds = 0.5, .touch = false},
      -1);
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_GE(result->seconds, 0.5);
  EXPECT_GE(result->received_bytes, result->finished * file_bytes);
  EXPECT_GE(server.connections(), result->finished);
}

TEST(Sink, ServerThatSendsNothingIsAskedOnce) {
  Server server([](const sys::Fd&, const sys::Fd&) {});
  const auto result = receive_and_discard(
      {.server = server.name(), .addresses = {}, .connections = 2, .seconds = 600, .touch = false},
      -1);
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->received_bytes, 0U);
  EXPECT_EQ(result->finished, 2U);
  EXPECT_EQ(server.connections(), 2U);
}

TEST(Sink, EndsInTimeWhenTheServerIsSilent) {
  std::vector<sys::Fd> held;
  Server server([&](sys::Fd connection, const sys::Fd&) { held.push_back(std::move(connection)); });
  const auto result = receive_and_discard(
      {.server = server.name(), .addresses = {}, .connections = 1, .seconds = 0.2, .touch = false},
      -1);
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->received_bytes, 0U);
  EXPECT_EQ(result->finished, 0U);
  EXPECT_FALSE(result->interrupted);
}

TEST(Sink, CountsResets) {
  Server server([](const sys::Fd& connection, const sys::Fd& stop) {
    send_all(connection, test::positions(0, 1'000), stop);
    sys::abort_on_close(connection.get());
  });
  const auto result = receive_and_discard(
      {.server = server.name(), .addresses = {}, .connections = 1, .seconds = {}, .touch = false},
      -1);
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->broken, 1U);
  EXPECT_EQ(result->finished, 0U);
}

TEST(Sink, IsInterrupted) {
  std::vector<sys::Fd> held;
  sys::Fd stop(::eventfd(0, EFD_CLOEXEC));
  Server server([&](sys::Fd connection, const sys::Fd& over) {
    send_all(connection, test::positions(0, 1'000), over);
    held.push_back(std::move(connection));
    ::eventfd_write(stop.get(), 1);
  });
  const auto result = receive_and_discard(
      {.server = server.name(), .addresses = {}, .connections = 1, .seconds = {}, .touch = false},
      stop.get());
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_TRUE(result->interrupted);
}

TEST(Sink, SaysWhyItCannotStart) {
  const auto complaint_of = [](const std::string& server) {
    const auto result = receive_and_discard(
        {.server = server, .addresses = {}, .connections = 1, .seconds = {}, .touch = false}, -1);
    return result ? std::string("none") : result.error();
  };
  const test::ReservedPort unused;
  const std::string name = unused.address().to_string();
  EXPECT_EQ(complaint_of(name), name + ": Connection refused");
  EXPECT_EQ(complaint_of("127.0.0.1:"), "127.0.0.1:: not HOST:PORT");
  EXPECT_EQ(complaint_of("::1:80"), "::1:80: not HOST:PORT");
  EXPECT_NE(complaint_of("127.0.0.1:http-or-what").find("127.0.0.1:http-or-what: "),
            std::string::npos);
}

}  // namespace
}  // namespace pagewire::bench
