// The mirror into files: every byte that a lane took stands there, at its place, once; what it did
// not take is a marked gap; nothing ever waits.
#include "relay/mirror.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "unit/relay_mirror_fixture.h"

namespace pagewire::relay {
namespace {

TEST(MirrorHead, IsThirtyTwoLittleEndianBytes) {
  const MirrorHead head{.connection = 0x0102030405060708,
                        .offset = 0x1112131415161718,
                        .realtime_ns = 0x2122232425262728,
                        .length = 0x31323334,
                        .direction = Direction::Down,
                        .flags = mirror_flag::gap | mirror_flag::end};
  EncodedMirrorHead bytes = encode(head);
  const EncodedMirrorHead wanted = {8,    7,    6,    5,    4,    3,    2,    1,
                                    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
                                    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
                                    0x34, 0x33, 0x32, 0x31, 1,    12,   'P',  'W'};
  EXPECT_EQ(bytes, wanted);
  EXPECT_EQ(decode(bytes), head);
  bytes[30] = 'Q';
  EXPECT_FALSE(decode(bytes).has_value());
}

TEST(MirrorTarget, IsARecorderWithAPortAndNoSlash) {
  for (const char* name : {"127.0.0.1:9100", "[::1]:9100", "recorder:1"}) {
    EXPECT_TRUE(is_recorder(name)) << name;
  }
  for (const char* name : {"mirror", "./a:1", "/var/x:1", "a:", ":1", "a:1b", "a:123456"}) {
    EXPECT_FALSE(is_recorder(name)) << name;
  }
}

TEST(Mirror, HoldsBulkAndMessagesOfTwoConnections) {
  const MirrorFolder folder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = folder.file()});
  Talker first(mirror->lane(0), 1);
  Talker second(mirror->lane(0), 2);
  std::uint64_t bytes = 0;
  for (std::size_t round = 0; round < 100; ++round) {
    first.bulk(Direction::Down, 1 + round * 631);
    second.message(Direction::Up, 1 + round * 17);
    second.bulk(Direction::Up, 9'001);
    first.message(Direction::Up, 5'000);
    bytes += 1 + round * 631 + 1 + round * 17 + 9'001 + 5'000;
    // So that the lane has room for all of it.
    ASSERT_TRUE(comes([&] { return mirror->totals().mirrored_bytes == bytes; }));
  }
  first.end(StreamEnd::Fin);
  second.end(StreamEnd::Reset);
  mirror.reset();

  Mirrored seen;
  seen.read(folder.file(), [&](std::uint64_t connection) -> test::Generation {
    return connection == first.tap.connection ? 1 : 2;
  });
  EXPECT_EQ(seen.ends, std::vector{MirrorEnd::Whole});
  EXPECT_TRUE(seen.heads.front().has(mirror_flag::start));
  ASSERT_EQ(seen.connections.size(), 2U);
  for (const Talker* talker : {&first, &second}) {
    for (const std::size_t direction : {0U, 1U}) {
      const Mirrored::Stream& stream = seen.connections[talker->tap.connection][direction];
      EXPECT_TRUE(stream.right);
      EXPECT_EQ(stream.state.bytes(), talker->said[direction]);
      EXPECT_EQ(stream.state.missing_bytes, 0U);
      EXPECT_EQ(stream.state.end, talker == &first ? mirror_flag::end : mirror_flag::reset);
    }
  }
}

TEST(Mirror, LeavesOutADirectionThatIsNotWanted) {
  const MirrorFolder folder;
  std::unique_ptr<Mirror> mirror =
      open_mirror({.target = folder.file(), .directions = MirrorDirections::Down});
  Talker talker(mirror->lane(0), 1);
  talker.bulk(Direction::Up, 10'000);
  talker.message(Direction::Up, 100);
  talker.message(Direction::Down, 100);
  talker.end(StreamEnd::Fin);
  mirror.reset();
  Mirrored seen;
  seen.read(folder.file(), [](std::uint64_t) -> test::Generation { return 1; });
  EXPECT_EQ(seen.connections[talker.tap.connection][0].state.bytes(), 0U);
  EXPECT_EQ(seen.connections[talker.tap.connection][1].state.bytes(), 100U);
  EXPECT_EQ(seen.connections[talker.tap.connection][0].state.end, 0);
}

TEST(Mirror, MarksWhatTheLaneHadNoRoomFor) {
  const MirrorFolder folder;
  std::unique_ptr<Mirror> mirror =
      open_mirror({.target = folder.file(), .lane_capacity = ByteCount{16 * kib}});
  Talker talker(mirror->lane(0), 1);
  std::uint64_t said = 0;
  // A pipe of four pages cannot hold 64 KiB, however fast it is emptied.
  for (int round = 0; round < 50; ++round) {
    talker.bulk(Direction::Down, 64 * kib);
    talker.message(Direction::Down, 100);
    said += 64 * kib + 100;
  }
  talker.end(StreamEnd::Fin);
  ASSERT_TRUE(comes([&] {
    const MirrorTotals totals = mirror->totals();
    return totals.mirrored_bytes + totals.dropped_bytes == said;
  }));
  const MirrorTotals totals = mirror->totals();
  EXPECT_GE(totals.dropped_bytes, 50 * 48 * kib);
  mirror.reset();
  Mirrored seen;
  seen.read(folder.file(), [](std::uint64_t) -> test::Generation { return 1; });
  const Mirrored::Stream& stream = seen.connections[talker.tap.connection][1];
  EXPECT_TRUE(stream.right);
  EXPECT_EQ(stream.state.next_offset, said);
  EXPECT_EQ(stream.state.missing_bytes, totals.dropped_bytes);
  EXPECT_EQ(stream.gaps, totals.gaps);
  EXPECT_GT(stream.gaps, 0U);
}

TEST(Mirror, KeepsPlacesForTheEndsWhenTheQueueIsFull) {
  const MirrorFolder folder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = folder.file(), .lane_heads = 16});
  Talker talker(mirror->lane(0), 1);
  for (int i = 0; i < 100'000; ++i) talker.message(Direction::Up, 8);
  talker.end(StreamEnd::Fin);
  EXPECT_EQ(mirror->totals().dropped_records, 0U);
  mirror.reset();
  Mirrored seen;
  seen.read(folder.file(), [](std::uint64_t) -> test::Generation { return 1; });
  const Mirrored::Stream& stream = seen.connections[talker.tap.connection][0];
  EXPECT_TRUE(stream.right);
  EXPECT_EQ(stream.state.end, mirror_flag::end);
  EXPECT_EQ(stream.state.next_offset, 800'000U);
}

TEST(Mirror, RotatesAndNeverTouchesAFileThatWasThere) {
  const MirrorFolder folder;
  std::ofstream(folder.file()) << "somebody's";
  std::ofstream(folder.file("mirror.2")) << "somebody's, too";
  std::unique_ptr<Mirror> mirror =
      open_mirror({.target = folder.file(), .rotate = ByteCount{100 * kib}});
  Talker talker(mirror->lane(0), 1);
  for (std::uint64_t round = 1; round <= 10; ++round) {
    talker.bulk(Direction::Down, 40'000);
    ASSERT_TRUE(comes([&] { return mirror->totals().mirrored_bytes == round * 40'000; }));
  }
  mirror.reset();
  EXPECT_EQ(std::filesystem::file_size(folder.file()), 10U);
  EXPECT_EQ(std::filesystem::file_size(folder.file("mirror.2")), 15U);
  Mirrored seen;
  for (const char* name : {"mirror.1", "mirror.3", "mirror.4", "mirror.5", "mirror.6"}) {
    EXPECT_LE(std::filesystem::file_size(folder.file(name)), 100 * kib);
    seen.read(folder.file(name), [](std::uint64_t) -> test::Generation { return 1; });
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("mirror.7")));
  EXPECT_EQ(seen.connections[talker.tap.connection][1].state.bytes(), 400'000U);
  EXPECT_TRUE(seen.connections[talker.tap.connection][1].right);
}

TEST(Mirror, BeginsAFileWhenAskedTo) {
  const MirrorFolder folder;
  std::unique_ptr<Mirror> mirror = open_mirror({.target = folder.file()});
  mirror->reopen();
  EXPECT_TRUE(comes([&] { return mirror->totals().sinks_opened == 2; }));
  EXPECT_TRUE(std::filesystem::exists(folder.file("mirror.1")));
}

// RLIMIT_FSIZE stands for a full disk: the write that crosses it is cut short, the next says EFBIG.
TEST(Mirror, GoesOnWithWholeRecordsWhenThereIsRoomAgain) {
  for (const std::size_t count : {std::size_t{1'000}, std::size_t{50'000}}) {
    const MirrorFolder folder;
    std::unique_ptr<Mirror> mirror = open_mirror({.target = folder.file(), .retry_ms = 20});
    Talker talker(mirror->lane(0), 1);
    rlimit old{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    const rlimit small{.rlim_cur = 123'456, .rlim_max = old.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    std::uint64_t said = 0;
    while (mirror->totals().sink_failures < 3) {
      if (said < 200'000) talker.bulk(Direction::Down, count), said += count;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    // It tries again and again, and the file is torn until it has cut what did not fit.
    EXPECT_TRUE(comes([&] {
      Mirrored meanwhile;
      meanwhile.read(folder.file(), [](std::uint64_t) -> test::Generation { return 1; });
      return meanwhile.ends == std::vector{MirrorEnd::Whole};
    }));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    talker.end(StreamEnd::Fin);
    EXPECT_TRUE(comes([&] { return mirror->totals().mirrored_bytes == said; }));
    mirror.reset();
    Mirrored seen;
    seen.read(folder.file(), [](std::uint64_t) -> test::Generation { return 1; });
    EXPECT_EQ(seen.ends, std::vector{MirrorEnd::Whole});
    const Mirrored::Stream& stream = seen.connections[talker.tap.connection][1];
    EXPECT_TRUE(stream.right);
    EXPECT_EQ(stream.state.bytes(), said);
    EXPECT_EQ(stream.state.end, mirror_flag::end);
  }
}

TEST(Mirror, SaysWhyAFileCannotBeOpened) {
  const Result<std::unique_ptr<Mirror>> mirror = Mirror::open({.target = "/nowhere/at/all"});
  ASSERT_FALSE(mirror.has_value());
  EXPECT_EQ(mirror.error(), (Error{"open", ENOENT}));
}

TEST(MirrorMetrics, EscapeTheRelaysName) {
  MirrorFolder folder;
  const std::unique_ptr<Mirror> mirror = std::move(*Mirror::open({.target = folder.file()}));
  const NamedMirror named{.name = "a\"b", .mirror = *mirror};
  const std::string text = mirrors_text(std::span(&named, 1));
  EXPECT_NE(text.find("pagewire_relay_mirror_opened_total{relay=\"a\\\"b\"} 1\n"), text.npos)
      << text;
}

}  // namespace
}  // namespace pagewire::relay
