// What only the io_uring loop has: operations that outlive a call, provided buffers, a completion
// queue that can be full, and sends in batches. Position-coded: no byte can go astray unseen.
#include <fcntl.h>
#include <sys/resource.h>

#include <filesystem>
#include <thread>

#include "support/position_code.h"
#include "unit/loop_fixture.h"

namespace pagewire::loop {
namespace {

using test::positions;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class UringLoopTest : public LoopFixture {
 protected:
  explicit UringLoopTest(const Settings& settings = small())
      : LoopFixture(*make_uring_loop(settings)) {}
  ~UringLoopTest() override { loop_.reset(); }  // its streams write into clients_

  static Settings small() {
    Settings settings;
    settings.buffers = {.count = 8, .size_bytes = 64};
    return settings;
  }

  /// Many streams, each with bytes of its own waiting.
  struct Client {
    Events events;
    Probe* probe = nullptr;
    sys::Fd peer;
    std::string bytes;
  };
  void attach_clients(std::size_t count, std::size_t bytes_each) {
    clients_ = std::vector<Client>(count);
    for (std::size_t i = 0; i < count; ++i) {
      Client& client = clients_[i];
      Pair pair = socket_pair();
      client.peer = std::move(pair.theirs);
      client.probe = &attach(std::move(pair.ours), client.events);
      client.bytes = positions(8 * i, bytes_each, static_cast<test::Generation>(i));
      send(client.peer, client.bytes);
    }
  }
  bool all_came() const {
    return std::ranges::all_of(
        clients_, [](const Client& client) { return client.events.bytes == client.bytes; });
  }
  std::string read_all(const sys::Fd& fd) {
    std::string all(1 << 20, 0);
    const ssize_t n = ::recv(fd.get(), all.data(), all.size(), MSG_DONTWAIT);
    all.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return all;
  }

  std::vector<Client> clients_;
};

class TwoBuffers : public UringLoopTest {
 protected:
  TwoBuffers() : UringLoopTest(settings()) {}
  static Settings settings() {
    Settings settings;
    settings.buffers = {.count = 2, .size_bytes = 16};
    return settings;
  }
};

TEST_F(TwoBuffers, AreEnoughForManyStreams) {
  attach_clients(20, 1'000);
  run_until([&] { return all_came(); });
  for (const Client& client : clients_) EXPECT_EQ(client.events.bytes, client.bytes);
  EXPECT_GT(loop_->counters().no_buffers, 0U);
}

class TinyQueue : public UringLoopTest {
 protected:
  TinyQueue() : UringLoopTest(settings()) {}
  static Settings settings() {
    Settings settings;
    settings.ring = {.entries = 2, .completions = 2};
    settings.buffers = {.count = 64, .size_bytes = 16};
    return settings;
  }
};

TEST_F(TinyQueue, LosesNothingWhenItOverflows) {
  attach_clients(40, 500);
  run_until([&] { return all_came(); });
  for (const Client& client : clients_) EXPECT_EQ(client.events.bytes, client.bytes);
  EXPECT_GT(loop_->counters().overflows, 0U);
}

TEST_F(TinyQueue, SendsMoreThanItHasPlacesFor) {
  attach_clients(40, 8);
  for (Client& client : clients_) {
    client.probe->on_received = [&] {
      const iovec piece{client.bytes.data(), client.bytes.size()};
      EXPECT_TRUE(loop_->submit_send(*client.probe, {&piece, 1}, false));
    };
  }
  std::size_t sent = 0;
  for (Client& client : clients_) client.probe->on_sent = [&] { ++sent; };
  run_until([&] { return sent == clients_.size(); });
  for (const Client& client : clients_) EXPECT_EQ(read_all(client.peer), client.bytes);
}

/// Each send's end begins the next one, on more streams than the batch has places, so that
/// something comes whenever it is full: a round that waited for the end of that would have none.
TEST_F(TinyQueue, RoundsEndHoweverManyStreamsAreBusy) {
  attach_clients(40, 8);
  constexpr std::size_t enough = 20'000;
  std::size_t sent = 0, turns = 0, turns_meanwhile = 0;
  for (Client& client : clients_) {
    const auto send_on = [&] {
      if (++sent == enough) turns_meanwhile = turns;
      if (sent >= enough) return;
      const iovec piece{client.bytes.data(), client.bytes.size()};
      EXPECT_TRUE(loop_->submit_send(*client.probe, {&piece, 1}, false));
    };
    client.probe->on_received = send_on;
    client.probe->on_sent = send_on;
  }
  Probe& other = attach();
  loop_->yield(other);
  other.on_writable = [&] {
    ++turns;
    loop_->yield(other);
  };
  run_until([&] { return sent >= enough; });
  EXPECT_GE(turns_meanwhile, enough / clients_.size() / 4);
}

TEST_F(UringLoopTest, PausesWithDataInFlightLoseNothing) {
  Probe& probe = attach();
  const std::string bytes = positions(0, 400'000);
  // A peer that goes on sending whatever the loop does.
  ASSERT_EQ(::fcntl(peer_.get(), F_SETFL, 0), 0);
  std::thread sender([&] {
    constexpr std::size_t piece = 100;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      send(peer_, std::string_view(bytes).substr(at, piece));
    }
    peer_.close();
  });
  // Paused in each call, and resumed by another thread's task, while the kernel goes on.
  probe.on_received = [&] {
    loop_->pause_reading(probe);
    const std::size_t before = events_.bytes.size();
    loop_->post([&, before] {
      EXPECT_EQ(events_.bytes.size(), before) << "received while paused";
      loop_->resume_reading(probe);
    });
  };
  run_until([&] { return events_.ended > 0; });
  loop_.reset();  // nobody keeps the sender waiting
  sender.join();
  EXPECT_EQ(test::first_wrong(0, events_.bytes), events_.bytes.size());
  EXPECT_EQ(events_.bytes.size(), bytes.size());
  EXPECT_EQ(events_.ended, 1);
}

class ManyBuffers : public UringLoopTest {
 protected:
  ManyBuffers() : UringLoopTest(settings()) {}
  static Settings settings() {
    Settings settings;
    // Together less than the tests send: before Linux 6.8 one receive takes all there are.
    settings.buffers = {.count = 1'024, .size_bytes = 64};
    return settings;
  }
};

TEST_F(ManyBuffers, DoNotKeepAPausedStreamReading) {
  Probe& probe = attach();
  probe.on_received = [&] { loop_->pause_reading(probe); };
  const std::string flood = positions(0, 150'000);
  send(flood);
  Events other;
  Pair pair = socket_pair();
  attach(std::move(pair.ours), other);
  int ticks = 0;
  run_until([&] {
    if (++ticks == 2) {
      char byte = 0;
      EXPECT_EQ(::recv(probe.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT), 1) << "all was read";
      send(pair.theirs, "hello");
    }
    if (ticks == 4) {
      EXPECT_EQ(other.bytes, "hello");
      probe.on_received = nullptr;
      loop_->resume_reading(probe);
    }
    return ticks > 4 && events_.bytes.size() == flood.size();
  });
  EXPECT_EQ(events_.bytes, flood);
  loop_.reset();  // before `other`
}

/// The kernel makes a pause after 32 receives in a row, so that the other stream's stands between
/// two of the first one's in one and the same round.
TEST_F(ManyBuffers, KeepTheirOrderWhenAPauseEndsInTheMiddleOfARound) {
  attach_clients(2, 0);
  clients_[0].bytes = positions(0, 100'000);
  clients_[1].bytes = "resume";
  for (const Client& client : clients_) send(client.peer, client.bytes);
  Probe& paused = *clients_[0].probe;
  paused.on_received = [&] {
    if (clients_[0].events.received == 1) loop_->pause_reading(paused);
  };
  clients_[1].probe->on_received = [&] { loop_->resume_reading(paused); };
  run_until([&] { return all_came(); });
  EXPECT_TRUE(all_came());
}

TEST_F(UringLoopTest, SendsOfOneRoundShareACall) {
  attach_clients(64, 16);
  std::size_t sent = 0;
  const std::string body = positions(64, 1'000);
  for (Client& client : clients_) {
    client.probe->on_received = [&] {
      const std::array<iovec, 2> pieces = {
          iovec{client.bytes.data(), client.bytes.size()},
          iovec{const_cast<char*>(body.data()), body.size()},
      };
      ASSERT_TRUE(loop_->submit_send(*client.probe, pieces, false));
      EXPECT_FALSE(loop_->submit_send(*client.probe, pieces, false)) << "one is under way";
    };
    client.probe->on_sent = [&] { ++sent; };
  }
  run_until([&] { return sent == clients_.size(); });
  for (const Client& client : clients_) {
    ASSERT_EQ(client.events.sent.size(), 1U);
    EXPECT_EQ(client.events.sent.front(), Result<ByteCount>(ByteCount{1'016}));
    EXPECT_EQ(read_all(client.peer), client.bytes + body);
  }
  EXPECT_LT(loop_->counters().enters, clients_.size() / 2);
}

TEST_F(UringLoopTest, SendTellsWhatTheSocketSays) {
  Probe& probe = attach();
  std::string block(1 << 20, 'x');
  const iovec piece{block.data(), block.size()};
  int ticks = 0;
  loop_->run([&] {
    ++ticks;
    if (ticks <= 3) {
      EXPECT_TRUE(loop_->submit_send(probe, {&piece, 1}, false));
    }
    if (ticks == 2) peer_.close();
    if (ticks == 4) loop_->stop();
  });
  ASSERT_EQ(events_.sent.size(), 3U);
  ASSERT_TRUE(events_.sent[0]);
  EXPECT_LT(events_.sent[0]->value, block.size()) << "a short send is no error";
  ASSERT_FALSE(events_.sent[2]);
  EXPECT_EQ(events_.sent[2].error().errno_value, EPIPE);
}

TEST_F(UringLoopTest, FullSocketIsAnAnswer) {
  Probe& probe = attach();
  std::string block(1 << 16, 'x');
  while (::send(probe.fd(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
  }
  const iovec piece{block.data(), block.size()};
  loop_->post([&] { EXPECT_TRUE(loop_->submit_send(probe, {&piece, 1}, false)); });
  run_until([&] { return !events_.sent.empty(); });
  ASSERT_EQ(events_.sent.size(), 1U);
  ASSERT_FALSE(events_.sent[0]);
  EXPECT_EQ(events_.sent[0].error().errno_value, EAGAIN);
}

TEST_F(UringLoopTest, RefusesASendThatItCannotHold) {
  Probe& probe = attach();
  std::array<iovec, 5> pieces{};
  for (iovec& piece : pieces) piece = {const_cast<char*>("x"), 1};
  EXPECT_FALSE(loop_->submit_send(probe, {pieces.data(), 1}, false)) << "run() has not begun";
  loop_->post([&] {
    EXPECT_FALSE(loop_->submit_send(probe, pieces, false));
    EXPECT_FALSE(loop_->submit_send(probe, {}, false));
    loop_->stop();
  });
  loop_->run([] {});
}

TEST_F(UringLoopTest, StreamOutlivesItsSend) {
  attach_clients(8, 8);
  for (Client& client : clients_) {
    client.probe->on_received = [&] {
      const iovec piece{client.bytes.data(), client.bytes.size()};
      EXPECT_TRUE(loop_->submit_send(*client.probe, {&piece, 1}, false));
      loop_->retire(*client.probe);
      EXPECT_NE(::fcntl(client.probe->fd(), F_GETFD), -1) << "a submission still names it";
    };
  }
  run_until([&] {
    return std::all_of(clients_.begin(), clients_.end(),
                       [](const Client& client) { return client.events.deleted; });
  });
  EXPECT_EQ(loop_->stream_count(), 0U);
  for (const Client& client : clients_) {
    EXPECT_TRUE(client.events.deleted);
    EXPECT_TRUE(client.events.sent.empty()) << "told after retire()";
    EXPECT_EQ(read_all(client.peer), client.bytes);
    char byte = 0;
    EXPECT_EQ(::recv(client.peer.get(), &byte, 1, 0), 0) << "and then the end";
  }
}

TEST_F(UringLoopTest, DescriptorsNextOwnerGetsItsOwnBytesOnly) {
  constexpr int rounds = 300;
  struct Life {
    Events events;
    sys::Fd peer;
    std::string bytes;
  };
  std::vector<Life> lives(rounds);
  int begun = 0;
  std::function<void()> next = [&] {
    if (begun == rounds) return;
    Life& life = lives[static_cast<std::size_t>(begun)];
    life.bytes = positions(0, 200, static_cast<test::Generation>(begun));
    ++begun;
    Pair pair = socket_pair();
    life.peer = std::move(pair.theirs);
    Probe& probe = attach(std::move(pair.ours), life.events);
    send(life.peer, life.bytes);
    probe.on_received = [&] {
      if (life.events.bytes.size() < life.bytes.size()) return;
      send(life.peer, "never to be heard of");
      loop_->await_writable(probe);
      loop_->retire(probe);
      next();
    };
  };
  for (int i = 0; i < 4; ++i) next();
  run_until([&] { return begun == rounds && loop_->stream_count() == 0; });
  for (const Life& life : lives) EXPECT_EQ(life.events.bytes, life.bytes);
}

/// Attached, paused with bytes held, waiting for room, sending: and then the loop goes.
TEST_F(UringLoopTest, EndsWithOperationsInFlight) {
  for (const bool other_thread : {false, true}) {
    clients_.clear();
    const std::size_t before = open_descriptors();
    loop_ = *make_uring_loop(small());
    attach_clients(16, 300);
    for (Client& client : clients_) {
      client.probe->on_received = [&] { loop_->pause_reading(*client.probe); };
      loop_->await_writable(*client.probe);
    }
    int ticks = 0;
    const auto run = [&] {
      loop_->run([&] {
        if (++ticks < 2) return;
        for (Client& client : clients_) {
          const iovec piece{client.bytes.data(), client.bytes.size()};
          EXPECT_TRUE(loop_->submit_send(*client.probe, {&piece, 1}, false));
        }
        loop_->retire(*clients_[3].probe);
        loop_->stop();
      });
    };
    if (other_thread) {
      std::thread(run).join();
    } else {
      run();
    }
    EXPECT_TRUE(clients_[3].events.deleted) << "run() does not leave the retired behind";
    loop_.reset();
    for (Client& client : clients_) EXPECT_TRUE(client.events.deleted);
    clients_.clear();
    EXPECT_EQ(open_descriptors(), before - (other_thread ? 0U : 2U)) << "minus the fixture's loop";
  }
}

TEST_F(UringLoopTest, HalfClosedPeerWithAFullSocketCostsNothing) {
  Probe& probe = attach();
  const std::string block(1 << 16, 'x');
  while (::send(probe.fd(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
  }
  loop_->await_writable(probe);
  ASSERT_EQ(::shutdown(peer_.get(), SHUT_WR), 0);
  int ticks = 0;
  loop_->run([&] {
    if (++ticks == 5) {
      EXPECT_EQ(events_.ended, 1);
      EXPECT_EQ(events_.writable, 0);
      EXPECT_LT(loop_->counters().enters, 30U) << "it spins";
      while (!read_all(peer_).empty()) {
      }
    }
    if (ticks == 7) loop_->stop();
  });
  EXPECT_EQ(events_.writable, 1);
}

class Door final : public Acceptor {
 public:
  void accepted(sys::Accepted connection) override { taken.push_back(std::move(connection)); }
  AfterFailure accept_failed(Error error) override {
    failures.push_back(error.errno_value);
    return verdict;
  }
  std::vector<sys::Accepted> taken;
  std::vector<int> failures;
  AfterFailure verdict = AfterFailure::WaitForOne;
};

/// The multishot accept fails as soon as there is no descriptor, whether somebody waits or not.
TEST_F(UringLoopTest, OutOfDescriptorsNeitherSpinsNorForgets) {
  const sys::Fd listener =
      std::move(*sys::listen_on(*sys::Address::parse("127.0.0.1:0"), {.reuse_port = false}));
  const sys::Address address = *sys::local_address(listener.get());
  Door door;
  std::vector<sys::Fd> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit low{.rlim_cur = open_descriptors() + 8, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  ASSERT_TRUE(loop_->listen(listener.get(), door));
  std::vector<sys::Fd> fill;
  const auto take_all = [&] {
    do {
      fill.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    } while (fill.back().is_open());
    fill.pop_back();
  };
  const auto connect = [&](std::size_t client) {
    ::connect(clients[client].get(), address.raw(), address.raw_size());
  };
  int ticks = 0;
  loop_->run([&] {
    ++ticks;
    if (ticks == 1) {  // one comes and there is no descriptor
      door.verdict = AfterFailure::Pause;
      take_all();
      connect(0);
    }
    if (ticks == 5) {
      EXPECT_TRUE(door.taken.empty());
      EXPECT_GE(door.failures.size(), 2U) << "tried again";
      EXPECT_LE(door.failures.size(), 6U) << "it spins";
      fill.clear();
    }
    if (ticks == 8) {  // one comes and takes the last: then nobody waits
      EXPECT_EQ(door.taken.size(), 1U);
      door.failures.clear();
      door.verdict = AfterFailure::WaitForOne;
      take_all();
      fill.pop_back();
      connect(1);
    }
    if (ticks == 11) {
      EXPECT_EQ(door.taken.size(), 2U);
      EXPECT_LE(door.failures.size(), 2U) << "it spins";
      fill.clear();
      connect(2);
    }
    if (ticks == 13) loop_->stop();
  });
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_EQ(door.taken.size(), 3U);
  EXPECT_NE(door.taken[2].peer.port(), 0);
}

TEST(Engine, AutoTakesWhatIsPreferredAndToBeHad) {
  const auto works = [] { return Result<void>(); };
  const auto fails = [] { return Result<void>(failure("io_uring_setup", EPERM)); };
  EXPECT_EQ(choose_engine(Engine::Auto, Engine::Uring, works).engine, Engine::Uring);
  const EngineChoice fallen = choose_engine(Engine::Auto, Engine::Uring, fails);
  EXPECT_EQ(fallen.engine, Engine::Epoll);
  EXPECT_NE(fallen.note.find("io_uring_setup: Operation not permitted"), std::string::npos);
  EXPECT_EQ(choose_engine(Engine::Auto, Engine::Epoll, fails).engine, Engine::Epoll);
  EXPECT_EQ(choose_engine(Engine::Auto, Engine::Epoll, fails).note, "");
  EXPECT_EQ(choose_engine(Engine::Uring, Engine::Epoll, fails).engine, Engine::Uring);
}

TEST(Engine, ProbeIsQuick) {
  std::int64_t quickest = INT64_MAX;  // one of them may be interrupted for any time
  for (int i = 0; i < 10; ++i) {
    const std::int64_t start = sys::monotonic_ns();
    ASSERT_TRUE(probe_uring()) << "this machine's kernel has it";
    quickest = std::min(quickest, sys::monotonic_ns() - start);
  }
  EXPECT_LT(quickest, 50'000'000);
}

}  // namespace
}  // namespace pagewire::loop
