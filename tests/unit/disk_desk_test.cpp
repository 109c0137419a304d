// DiskDesk and DiskHelpers: what becomes of jobs whose clients have gone, of a full queue, and of
// one job that many wait for. The helpers' threads are started only when a test wants the queue to
// move.
#include <memory>
#include <thread>
#include <vector>

#include "server/disk.h"
#include "unit/content_fixture.h"

namespace pagewire::server {
namespace {

using content::testing::position_coded;

constexpr std::uint64_t size = 8 * mib;
constexpr std::uint64_t queue_limit = 4096;
constexpr std::uint64_t ahead_limit = 64;

struct Client final : DiskWaiter {
  void pages_fetched(ByteRange range, const Result<ByteCount>& read) override {
    ++told;
    got = range;
    bytes = read.value_or(ByteCount{}).value;
  }
  void name_resolved(const content::FoundName& found) override {
    ++told;
    outcome = found.lookup.outcome;
  }
  int told = 0;
  ByteRange got;
  std::uint64_t bytes = 0;
  content::Outcome outcome = content::Outcome::Unresolved;
};

class DiskDeskTest : public content::testing::SiteTest {
 protected:
  void SetUp() override {
    tree.write("file", position_coded(size));
    get("/file");
    file = response.file;
    loop = *loop::make_epoll_loop({});
    desk = std::make_unique<DiskDesk>(DiskDesk::Parts{.helpers = helpers,
                                                      .loop = *loop,
                                                      .site = site(),
                                                      .metrics = metrics,
                                                      .small_body = ByteCount{16 * kib}});
  }
  void TearDown() override { helpers.stop(); }

  static ByteRange page(std::uint64_t number) { return {{number * kib}, ByteCount{kib}}; }
  content::NameWish wish(const std::string& name) const {
    return {.key = name, .path = name, .coding = {}, .relative_path = name};
  }
  /// Clients that each ask for something else, the first for `first`.
  std::vector<std::unique_ptr<Client>> ask(std::uint64_t first, std::uint64_t count) {
    std::vector<std::unique_ptr<Client>> clients;
    for (std::uint64_t i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<Client>());
      desk->fetch(*clients.back(), file, page(first + i));
    }
    return clients;
  }
  void run_until_no_job_is_left() {
    loop->run([this] {
      desk->tick();
      if (metrics.pending.value() == 0) loop->stop();
    });
  }

  DiskHelpers helpers;
  metrics::DiskMetrics metrics;
  content::FileRef file;
  std::unique_ptr<loop::Loop> loop;
  std::unique_ptr<DiskDesk> desk;
};

TEST_F(DiskDeskTest, JobsWhoseClientsHaveGoneAreNotDone) {
  ask(0, 300);
  Client nameless;
  desk->resolve(nameless, wish("file"));
  nameless.unlink();
  Client live;
  desk->fetch(live, file, page(1000));
  desk->tick();
  helpers.start(1);
  run_until_no_job_is_left();
  EXPECT_EQ(live.told, 1);
  EXPECT_EQ(live.bytes, kib);
  EXPECT_EQ(nameless.told, 0);
  EXPECT_EQ(metrics.dropped.value(), 301U);
  EXPECT_EQ(metrics.fetched_bytes.value(), kib);
}

TEST_F(DiskDeskTest, WhatFoundTheQueueFullIsForgottenWithItsClient) {
  for (int round = 0; round < 5; ++round) {
    ask(0, queue_limit + 500);
    desk->tick();
    EXPECT_EQ(metrics.pending.value(), queue_limit);
  }
  Client live;
  desk->fetch(live, file, page(queue_limit + 1));
  desk->tick();
  EXPECT_EQ(metrics.pending.value(), queue_limit + 1);
  helpers.start(1);
  run_until_no_job_is_left();
  EXPECT_EQ(live.bytes, kib);
  EXPECT_EQ(metrics.fetched_bytes.value(), kib);
}

TEST_F(DiskDeskTest, WhoComesLateIsNotToldOfAJobThatWasPassedOver) {
  ask(0, 1);
  Client first_name;
  desk->resolve(first_name, wish("file"));
  first_name.unlink();
  Client last;
  desk->fetch(last, file, page(1));
  desk->tick();
  helpers.start(1);
  while (helpers.queued() > 0) std::this_thread::yield();  // both are passed over by now
  Client late;
  Client late_name;
  desk->fetch(late, file, page(0));
  desk->resolve(late_name, wish("file"));
  run_until_no_job_is_left();
  EXPECT_EQ(last.bytes, kib);
  EXPECT_EQ(late.told, 1);
  EXPECT_EQ(late.bytes, kib);
  EXPECT_EQ(late_name.told, 1);
  EXPECT_EQ(late_name.outcome, content::Outcome::File);
  EXPECT_EQ(metrics.fetched_bytes.value(), 2 * kib);
  EXPECT_EQ(metrics.dropped.value(), 0U);
}

TEST_F(DiskDeskTest, TooMuchReadingAheadIsLeftOut) {
  for (std::uint64_t i = 0; i < 3 * ahead_limit; ++i) desk->read_ahead(file, page(i));
  EXPECT_EQ(metrics.pending.value(), ahead_limit);
  EXPECT_EQ(metrics.dropped.value(), 2 * ahead_limit);
  Client live;
  desk->fetch(live, file, page(0));
  helpers.start(1);
  run_until_no_job_is_left();
  EXPECT_EQ(live.bytes, kib);
}

TEST_F(DiskDeskTest, AJobIsSharedUnlessItMustNotBe) {
  const ByteRange first{{0}, ByteCount{4 * kib}};
  const ByteRange second{{kib}, ByteCount{4 * kib}};
  Client one;
  Client two;
  Client alone;
  Client alone_too;
  desk->fetch(one, file, first);
  desk->fetch(two, file, second);
  EXPECT_EQ(metrics.pending.value(), 1U);
  desk->fetch_alone(alone, file, second);
  desk->fetch_alone(alone_too, file, second);
  EXPECT_EQ(metrics.pending.value(), 2U);
  helpers.start(2);
  run_until_no_job_is_left();
  EXPECT_EQ(one.got, first);
  EXPECT_EQ(two.got, first);
  EXPECT_EQ(alone.got, second);
  EXPECT_EQ(alone_too.got, second);
}

}  // namespace
}  // namespace pagewire::server
