// The mirror to a recorder: one that is slow, stuck, killed or not there yet costs the relay
// nothing, and what reaches it is right.
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <atomic>
#include <future>

#include "relay/mirror.h"
#include "support/reserved_port.h"
#include "sys/socket.h"
#include "unit/relay_mirror_fixture.h"

namespace pagewire::relay {
namespace {

class Recorder {
 public:
  Recorder() : listener_(std::move(*sys::listen_on(*sys::Address::parse("127.0.0.1:0"), {}))) {
    address_ = *sys::local_address(listener_.get());
  }
  std::string target() const { return address_.to_string(); }
  sys::Fd accept() {
    pollfd waiting{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&waiting, 1, 60'000), 1);
    return sys::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));  // blocking
  }

 private:
  sys::Fd listener_;
  sys::Address address_;
};

test::Generation first_generation(std::uint64_t) {
  return 1;
}

TEST(MirrorToARecorder, SendsEveryByte) {
  Recorder recorder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = recorder.target()});
  const sys::Fd connection = recorder.accept();
  Mirrored seen;
  std::thread reader([&] { seen.read(connection.get(), first_generation); });
  Talker talker(mirror->lane(0), 1);
  for (std::uint64_t round = 1; round <= 200; ++round) {
    talker.bulk(Direction::Down, 100'000);
    talker.message(Direction::Down, 100);
    EXPECT_TRUE(comes([&] { return mirror->totals().mirrored_bytes == round * 100'100; }));
  }
  talker.end(StreamEnd::Fin);
  mirror.reset();
  reader.join();
  EXPECT_EQ(seen.ends, std::vector{MirrorEnd::Whole});
  const Mirrored::Stream& stream = seen.connections[talker.tap.connection][1];
  EXPECT_TRUE(stream.right);
  EXPECT_EQ(stream.state.bytes(), 200 * 100'100U);
  EXPECT_EQ(stream.state.end, mirror_flag::end);
}

TEST(MirrorToARecorder, DropsAndMarksWhileItDoesNotRead) {
  Recorder recorder;
  std::unique_ptr<Mirror> mirror =
      open_mirror({.target = recorder.target(), .lane_capacity = ByteCount{256 * kib}});
  const sys::Fd connection = recorder.accept();
  Talker talker(mirror->lane(0), 1);
  std::uint64_t said = 0;
  // Socket buffers hold some megabytes; then the lane is full and stays so.
  while (mirror->totals().dropped_bytes < 10 * mib) talker.bulk(Direction::Down, 64 * kib);
  Mirrored seen;
  std::thread reader([&] { seen.read(connection.get(), first_generation); });
  ASSERT_TRUE(comes([&] {
    talker.message(Direction::Down, 64);
    said = talker.said[1];
    const MirrorTotals totals = mirror->totals();
    return totals.gaps > 0 && totals.mirrored_bytes + totals.dropped_bytes >= said - 1000;
  }));
  talker.end(StreamEnd::Fin);
  const std::uint64_t dropped = mirror->totals().dropped_bytes;
  mirror.reset();
  reader.join();
  const Mirrored::Stream& stream = seen.connections[talker.tap.connection][1];
  EXPECT_TRUE(stream.right);
  EXPECT_EQ(stream.state.next_offset, said);
  EXPECT_EQ(stream.state.missing_bytes, dropped);
  EXPECT_EQ(stream.state.end, mirror_flag::end);
}

TEST(MirrorToARecorder, GoesOnWithTheNextConnection) {
  Recorder recorder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = recorder.target(), .retry_ms = 20});
  Talker talker(mirror->lane(0), 1);
  Mirrored seen;
  for (std::uint64_t connection_number = 1; connection_number <= 3; ++connection_number) {
    sys::Fd connection = recorder.accept();
    ASSERT_TRUE(comes([&] { return mirror->totals().sinks_opened == connection_number; }));
    // So much that its middle stands in the pipes when the connection goes.
    for (int i = 0; i < 300; ++i) talker.bulk(Direction::Down, 64 * kib);
    std::vector<char> some(300'000);
    ASSERT_EQ(::recv(connection.get(), some.data(), some.size(), MSG_WAITALL), 300'000);
    sys::abort_on_close(connection.get());
  }
  const sys::Fd last = recorder.accept();
  std::thread reader([&] { seen.read(last.get(), first_generation); });
  talker.end(StreamEnd::Reset);
  mirror.reset();
  reader.join();
  EXPECT_TRUE(seen.heads.front().has(mirror_flag::start));
  EXPECT_EQ(seen.heads.front().offset, 3U);
  EXPECT_EQ(seen.ends, std::vector{MirrorEnd::Whole});
  const Mirrored::Stream& stream = seen.connections[talker.tap.connection][1];
  EXPECT_TRUE(stream.right);
  EXPECT_EQ(stream.state.next_offset, talker.said[1]);
  EXPECT_EQ(stream.state.end, mirror_flag::reset);
}

TEST(MirrorToARecorder, ComesToOneThatWasNotThere) {
  const test::ReservedPort port;
  const std::string target = port.address().to_string();
  std::unique_ptr<Mirror> mirror = open_mirror({.target = target, .retry_ms = 10});
  ASSERT_TRUE(comes([&] { return mirror->totals().sink_failures >= 2; }));
  Talker talker(mirror->lane(0), 1);
  talker.message(Direction::Up, 1'000);
  const sys::Fd listener = std::move(*sys::listen_on(port.address(), {}));
  ASSERT_TRUE(comes([&] { return mirror->totals().mirrored_bytes == 1'000; }));
}

TEST(MirrorToARecorder, SleepsAfterSighup) {
  const auto cpu_ns = [] {
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1'000'000'000 + used.tv_nsec;
  };
  Recorder recorder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = recorder.target()});
  const sys::Fd connection = recorder.accept();
  mirror->reopen();
  const auto before_ns = cpu_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  EXPECT_LT(cpu_ns() - before_ns, 100'000'000);
  Talker talker(mirror->lane(0), 1);
  talker.message(Direction::Up, 1'000);
  EXPECT_TRUE(comes([&] { return mirror->totals().mirrored_bytes == 1'000; }));
}

// A recorder that is stuck must not hold up the end of the program either.
TEST(MirrorToARecorder, EndsInTimeWhenItIsStuck) {
  Recorder recorder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = recorder.target(), .flush_limit_ms = 50});
  const sys::Fd connection = recorder.accept();
  Talker talker(mirror->lane(0), 1);
  while (mirror->totals().dropped_bytes < 64 * mib) talker.bulk(Direction::Down, 64 * kib);
  const auto began = std::chrono::steady_clock::now();
  mirror.reset();
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(took, std::chrono::milliseconds(50));  // else it was not stuck
  EXPECT_LT(took, std::chrono::seconds(60));
}

// getaddrinfo(3) cannot be interrupted, and may take tens of seconds.
TEST(MirrorToARecorder, EndsWhileItsNameIsLookedUp) {
  auto answer = std::make_shared<std::promise<void>>();
  auto asked = std::make_shared<std::atomic<bool>>(false);
  const auto look_up = [asked, wait = answer->get_future().share()](const ResolverName&) {
    asked->store(true);
    wait.wait();
    return LookedUp{};
  };
  std::unique_ptr<Mirror> mirror =
      open_mirror({.target = "recorder.test:9100", .flush_limit_ms = 50, .look_up = look_up});
  ASSERT_TRUE(comes([&] { return asked->load(); }));
  mirror.reset();  // stands still for good where it waits for the answer
  answer->set_value();
}

}  // namespace
}  // namespace pagewire::relay
