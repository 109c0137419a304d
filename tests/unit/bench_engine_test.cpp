// The two processes of a bench round, as they should go: what arrives is the file, by every path
// and in both modes; what they count agrees; a rate that is offered is never exceeded.
#include "bench/engine.h"

#include <sched.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "bench/asks.h"
#include "bench/client_loop.h"
#include "support/position_code.h"
#include "sys/clock.h"
#include "unit/bench_engine_fixture.h"

namespace pagewire::bench {
namespace {

constexpr std::uint64_t large = 1 * mib + 3;
constexpr std::size_t connections = 3;

// ---------------------------------------------------------------- every path, every size

using Case = std::tuple<const egress::Path*, std::uint64_t>;

class EveryPathAndSize : public EngineTest, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    if (!fits(by(), size())) GTEST_SKIP() << by().name << " sends only " << by().fits_only;
  }
  static const egress::Path& by() { return *std::get<0>(GetParam()); }
  static std::uint64_t size() { return std::get<1>(GetParam()); }
  const sys::Fd file_ = make_file(size());
};

TEST_P(EveryPathAndSize, WhatArrivesIsTheFile) {
  OrFault<ServerProcess> server = serve(file_, by());
  ASSERT_TRUE(server.has_value()) << server.error().text;
  for (const Mode mode : {Mode::Stream, Mode::Request}) {
    const OrFault<std::uint64_t> verified = verify_content(ask(*server, mode, size()), file_.get());
    ASSERT_TRUE(verified.has_value()) << verified.error().text;
    EXPECT_EQ(*verified, size());
  }
  // A ring's sends are counted when their completions are taken; the client may have them before.
  OrFault<ServerSample> sample;
  ASSERT_TRUE(wait_until([&] { return !(sample = server->sample()) || sample->answers >= 2; }));
  ASSERT_TRUE(sample.has_value()) << sample.error().text;
  EXPECT_EQ(sample->sent_bytes, 2 * size() + answer_head_bytes);
  EXPECT_EQ(sample->answers, 2U);
  EXPECT_FALSE(server->fault().has_value());
}

/// Both sampled twice, the client within the server, so that what it had received had been sent.
struct Samples {
  ServerSample server_before, server_after;
  ClientSample client_before, client_after;
};

void sample_both(ServerProcess& server, ClientProcess& client, std::uint64_t bytes, Samples& into) {
  const OrFault<ServerSample> server_before = server.sample();
  const OrFault<ClientSample> client_before = client.sample();
  ASSERT_TRUE(server_before && client_before);
  OrFault<ClientSample> client_after = client_before;
  ASSERT_TRUE(wait_until([&] {
    client_after = client.sample();
    return !client_after || client_after->received_bytes >= client_before->received_bytes + bytes;
  }));
  ASSERT_TRUE(client_after.has_value()) << client_after.error().text;
  // Its socket may have held all of that already, and on a busy machine it did not run since.
  OrFault<ServerSample> server_after = server_before;
  ASSERT_TRUE(wait_until([&] {
    server_after = server.sample();
    return !server_after || server_after->sent_bytes > server_before->sent_bytes;
  }));
  ASSERT_TRUE(server_after.has_value()) << server_after.error().text;
  into = {*server_before, *server_after, *client_before, *client_after};
}

/// A ring's sends are counted when their completions are taken, and the client may be faster: by
/// the one buffer that each transfer has under way.
std::uint64_t not_counted_yet(const egress::Path& path) {
  constexpr std::uint64_t lane_buffer_bytes = 128 * kib;
  return path.name.starts_with("uring_zc") ? connections * lane_buffer_bytes : 0;
}

void expect_consistent(const Samples& samples, const egress::Path& path) {
  const auto& [server_before, server_after, client_before, client_after] = samples;
  EXPECT_LE(client_after.received_bytes, server_after.sent_bytes + not_counted_yet(path));
  EXPECT_LT(server_before.sent_bytes, server_after.sent_bytes);
  EXPECT_LE(server_before.copied_bytes, server_after.copied_bytes);
  EXPECT_LT(server_before.at_ns, server_after.at_ns);
  EXPECT_LT(client_before.at_ns, client_after.at_ns);
  EXPECT_LT(client_before.cpu_ns, client_after.cpu_ns);
  EXPECT_LE(server_before.tcp.busy_us, server_after.tcp.busy_us);
  EXPECT_GE(server_after.tcp.busy_us, std::max(server_after.tcp.receiver_limited_us,
                                               server_after.tcp.send_buffer_limited_us));
}

TEST_P(EveryPathAndSize, AStreamGoesRoundTheFile) {
  OrFault<ServerProcess> server = serve(file_, by());
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ClientSettings settings = ask(*server, Mode::Stream, size());
  settings.connections = connections;
  OrFault<ClientProcess> client = ClientProcess::start(settings);
  ASSERT_TRUE(client.has_value()) << client.error().text;
  Samples samples;
  sample_both(*server, *client, std::min<std::uint64_t>(100 * size(), 20 * mib), samples);
  expect_consistent(samples, by());
  EXPECT_EQ(samples.client_after.answers, 0U);
  EXPECT_FALSE(samples.client_after.latency_us.has_value());
  const auto& [before, after, client_before, client_after] = samples;
  const std::uint64_t sent = after.sent_bytes - before.sent_bytes;
  const std::uint64_t copied = after.copied_bytes - before.copied_bytes;
  const std::set<std::string_view> references{"sendfile", "splice", "tee", "uring_splice"};
  const bool by_reference = references.contains(by().name);
  EXPECT_EQ(copied == 0, by_reference);
  EXPECT_TRUE(by().name != "copy" || copied >= 2 * sent);
  EXPECT_FALSE(client->fault().has_value());
  EXPECT_FALSE(server->fault().has_value());
}

/// A sample has the latencies since the one before, and on a busy machine that may be none.
void expect_latency(ClientProcess& client) {
  OrFault<ClientSample> sample;
  ASSERT_TRUE(wait_until([&] { return !(sample = client.sample()) || sample->latency_us; }));
  ASSERT_TRUE(sample.has_value()) << sample.error().text;
  EXPECT_GT(sample->latency_us->front(), 0);
  EXPECT_TRUE(std::is_sorted(sample->latency_us->begin(), sample->latency_us->end()));
}

TEST_P(EveryPathAndSize, RequestsAreAnsweredWhole) {
  OrFault<ServerProcess> server = serve(file_, by());
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ClientSettings settings = ask(*server, Mode::Request, size());
  settings.connections = connections;
  OrFault<ClientProcess> client = ClientProcess::start(settings);
  ASSERT_TRUE(client.has_value()) << client.error().text;
  const std::uint64_t answer_bytes = size() + answer_head_bytes;
  Samples samples;
  sample_both(*server, *client, 20 * answer_bytes, samples);
  expect_consistent(samples, by());
  const ClientSample& received = samples.client_after;
  EXPECT_GE(received.received_bytes, received.answers * answer_bytes);
  EXPECT_LE(received.received_bytes, (received.answers + connections) * answer_bytes);
  const ServerSample& sent = samples.server_after;
  EXPECT_GE(sent.sent_bytes, sent.answers * answer_bytes);
  EXPECT_LE(sent.sent_bytes, (sent.answers + connections) * answer_bytes);
  expect_latency(*client);
  EXPECT_EQ(received.due_asks, 0U) << "a closed loop has no schedule";
  EXPECT_EQ(received.late_asks, 0U);
  EXPECT_FALSE(client->fault().has_value());
  EXPECT_FALSE(server->fault().has_value());
}

INSTANTIATE_TEST_SUITE_P(All, EveryPathAndSize,
                         ::testing::Combine(::testing::ValuesIn(egress::socket_paths().begin(),
                                                                egress::socket_paths().end()),
                                            ::testing::Values(1, 4095, large)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param)->name) + "_" +
                                  std::to_string(std::get<1>(instance.param));
                         });

// ---------------------------------------------------------------- asks

/// Sends the asks from a thread, so that neither side waits for the other, and returns all that
/// comes until the server closes.
std::string answers_to(const sys::Address& server, const std::vector<Ask>& asks) {
  Result<sys::Fd> socket = connect_to(server, sys::monotonic_coarse_ms() + 60'000);
  EXPECT_TRUE(socket.has_value()) << describe(socket.error());
  std::thread asking([&] {
    const char* const bytes = reinterpret_cast<const char*>(asks.data());
    const std::size_t size = asks.size() * sizeof(Ask);
    EXPECT_EQ(::send(socket->get(), bytes, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
    ::shutdown(socket->get(), SHUT_WR);
  });
  const timeval limit{.tv_sec = 30, .tv_usec = 0};
  ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string all;
  std::vector<char> buffer(256 * kib);
  for (;;) {
    const ssize_t n = ::recv(socket->get(), buffer.data(), buffer.size(), 0);
    EXPECT_GE(n, 0) << std::strerror(errno);
    if (n <= 0) break;
    all.append(buffer.data(), static_cast<std::size_t>(n));
  }
  asking.join();
  return all;
}

class AsksTest : public EngineTest {
 protected:
  /// What must come for an ask.
  static std::string answer(const Ask& ask, std::uint64_t file_bytes) {
    std::string bytes;
    if (ask.with_head != 0) bytes.append(answer_head.data(), answer_head.size());
    for (std::uint64_t i = 0; i < ask.count; ++i) {
      bytes.push_back(test::position_byte((ask.offset + i) % file_bytes));
    }
    return bytes;
  }
};

TEST_F(AsksTest, ManySentAheadAreAnsweredInTheirOrder) {
  constexpr std::uint64_t size = 100'003;
  const sys::Fd file = make_file(size);
  for (const egress::Path* by : egress::socket_paths()) {
    if (!fits(*by, size)) continue;  // nor would it begin in the middle
    OrFault<ServerProcess> server = serve(file, *by);
    ASSERT_TRUE(server.has_value()) << server.error().text;
    std::vector<Ask> asks;
    std::string expected;
    for (std::uint64_t i = 0; i < 1'000; ++i) {
      asks.push_back(
          {.offset = i * 7'919 % size, .count = 1 + i * 31 % 20'000, .with_head = i % 2});
      expected += answer(asks.back(), size);
    }
    asks.push_back({.offset = size - 1, .count = 3 * size + 2, .with_head = 0});  // round and round
    expected += answer(asks.back(), size);
    const std::string got = answers_to(server->address(), asks);
    EXPECT_EQ(got.size(), expected.size()) << by->name;
    EXPECT_TRUE(got == expected) << by->name;
    const OrFault<ServerSample> sample = server->sample();
    ASSERT_TRUE(sample.has_value()) << sample.error().text;
    EXPECT_EQ(sample->answers, asks.size());
    EXPECT_EQ(sample->sent_bytes, expected.size());
  }
}

TEST_F(AsksTest, ImpossibleOnesEndTheConnectionOnly) {
  const sys::Fd file = make_file(4096);
  OrFault<ServerProcess> server = serve(file, path("sendfile"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  for (const Ask impossible : {Ask{4096, 1, 0}, Ask{0, 0, 0}, Ask{endless, endless, endless}}) {
    Result<sys::Fd> socket = connect_to(server->address(), sys::monotonic_coarse_ms() + 60'000);
    ASSERT_TRUE(socket.has_value());
    ASSERT_EQ(::send(socket->get(), &impossible, sizeof impossible, MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof impossible));
    const timeval limit{.tv_sec = 30, .tv_usec = 0};
    ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char byte = 0;
    EXPECT_EQ(::recv(socket->get(), &byte, 1, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
  }
  EXPECT_FALSE(server->fault().has_value());
  EXPECT_TRUE(verify_content(ask(*server, Mode::Request, 4096), file.get()).has_value());
}

// ---------------------------------------------------------------- an offered rate

class RateTest : public EngineTest, public ::testing::WithParamInterface<Mode> {};

TEST_P(RateTest, NeverMoreThanIsOffered) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("sendfile"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ClientSettings settings = ask(*server, GetParam(), large);
  settings.connections = connections;
  settings.rate_gbit_per_s = 0.5;
  const std::int64_t begin_ns = sys::monotonic_ns();
  OrFault<ClientProcess> client = ClientProcess::start(settings);
  ASSERT_TRUE(client.has_value()) << client.error().text;
  std::this_thread::sleep_for(std::chrono::seconds(1));
  OrFault<ClientSample> sample;
  ASSERT_TRUE(wait_until([&] { return !(sample = client->sample()) || sample->answers > 0; }));
  ASSERT_TRUE(sample.has_value()) << sample.error().text;
  const bool request = GetParam() == Mode::Request;
  const std::uint64_t answer_bytes = request ? large + answer_head_bytes : stream_piece.value;
  const double offered_bytes = 0.5 / 8 * static_cast<double>(sample->at_ns - begin_ns);
  EXPECT_LE(static_cast<double>(sample->received_bytes),
            offered_bytes + static_cast<double>(answer_bytes));
  EXPECT_GT(sample->answers, 0U);
  EXPECT_GE(sample->received_bytes, sample->answers * answer_bytes);
  EXPECT_EQ(sample->latency_us.has_value(), request);
  EXPECT_FALSE(client->fault().has_value());
  EXPECT_FALSE(server->fault().has_value());
}

TEST_P(RateTest, WhatCannotGoOutInTimeIsCounted) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("copy"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ClientSettings settings = ask(*server, GetParam(), large);
  settings.connections = connections;
  settings.rate_gbit_per_s = 1e9;  // no machine can
  OrFault<ClientProcess> client = ClientProcess::start(settings);
  ASSERT_TRUE(client.has_value()) << client.error().text;
  std::uint64_t before = 0;
  ASSERT_TRUE(wait_until([&] {
    const OrFault<ClientSample> sample = client->sample();
    if (!sample) return true;
    EXPECT_GE(sample->late_asks, before);
    EXPECT_LE(sample->late_asks, sample->due_asks);
    before = sample->late_asks;
    return sample->late_asks > 1'000 && sample->answers > 10;
  }));
  EXPECT_FALSE(client->fault().has_value());
  EXPECT_GT(before, 1'000U);
}

INSTANTIATE_TEST_SUITE_P(Modes, RateTest, ::testing::Values(Mode::Stream, Mode::Request),
                         [](const auto& instance) {
                           return instance.param == Mode::Stream ? "stream" : "request";
                         });

TEST_F(AsksTest, WhatDoesNotFitThePathIsAFault) {
  for (const std::uint64_t size : {50'000UL, large}) {
    const sys::Fd file = make_file(size);
    OrFault<ServerProcess> server = serve(file, path("tee"));
    ASSERT_TRUE(server.has_value()) << server.error().text;
    const std::vector<Ask> asks{{.offset = 1, .count = 10, .with_head = 0}};
    Result<sys::Fd> socket = connect_to(server->address(), sys::monotonic_coarse_ms() + 60'000);
    ASSERT_TRUE(socket.has_value());
    ASSERT_EQ(::send(socket->get(), asks.data(), sizeof(Ask), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(Ask)));
    EXPECT_EQ(fault_of(*server), std::string("tee sends only ") + path("tee").fits_only);
  }
}

// ---------------------------------------------------------------- where they run

TEST_F(EngineTest, StaysOnItsCpu) {
  const sys::Fd file = make_file(4096);
  cpu_set_t ours;
  ASSERT_EQ(::sched_getaffinity(0, sizeof ours, &ours), 0);
  int cpu = 0;
  while (CPU_ISSET(static_cast<std::size_t>(cpu), &ours) == 0) ++cpu;
  const ServerSettings settings{
      .file_fd = file.get(), .path = &path("sendfile"), .network = nullptr, .cpu = cpu};
  OrFault<ServerProcess> server = ServerProcess::start(settings);
  ASSERT_TRUE(server.has_value()) << server.error().text;
  cpu_set_t found;
  ASSERT_EQ(::sched_getaffinity(server->pid(), sizeof found, &found), 0);
  EXPECT_EQ(CPU_COUNT(&found), 1);
  EXPECT_NE(CPU_ISSET(static_cast<std::size_t>(cpu), &found), 0);
}

TEST_F(EngineTest, WorksBetweenNamespaces) {
  const Result<Network> network = make_network(NetKind::Veth);
  if (!network) GTEST_SKIP() << "no veth here: " << describe(network.error());
  const sys::Fd file = make_file(large);
  const ServerSettings settings{
      .file_fd = file.get(), .path = &path("splice"), .network = &*network, .cpu = {}};
  OrFault<ServerProcess> server = ServerProcess::start(settings);
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ClientSettings asking = ask(*server, Mode::Request, large);
  asking.network = &*network;
  const OrFault<std::uint64_t> verified = verify_content(asking, file.get());
  ASSERT_TRUE(verified.has_value()) << verified.error().text;
  OrFault<ClientProcess> client = ClientProcess::start(asking);
  ASSERT_TRUE(client.has_value()) << client.error().text;
  EXPECT_TRUE(wait_until([&] { return client->sample()->answers > 3; }));
  // Not from here: the server is in a network of its own.
  EXPECT_FALSE(verify_content(ask(*server, Mode::Request, large), file.get()).has_value());
}

}  // namespace
}  // namespace pagewire::bench
