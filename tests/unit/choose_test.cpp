// The chooser's policy as a table, and the registry that it chooses from.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <vector>

#include "egress/egress.h"
#include "sys/page_cache.h"

namespace pagewire::egress {
namespace {

using content::FileRef;
using content::OpenFile;
using content::Segment;

/// choose() looks at sizes only, so the descriptor may be a closed one.
const FileRef file(new OpenFile(sys::Fd(), {}));

Segment memory(std::size_t size) {
  static const std::string bytes(100'000, 'm');
  return Segment::of_memory(std::string_view(bytes).substr(0, size));
}

Segment slice(std::uint64_t count) {
  return Segment::of_file(*file.get(), {FileOffset{1}, ByteCount{count}});
}

const Path& path(std::string_view name) {
  return *find_path(name);
}

PathSet all_but(std::initializer_list<std::string_view> names) {
  PathSet set = PathSet::all();
  for (const std::string_view name : names) set.erase(path(name));
  return set;
}

/// What holds beside the segments. `lends`: splice stands in for zerocopy, a path that lends memory
/// from a mapping, so that the table needs no path that a build may lack.
struct Given {
  ChooserSettings settings{};
  PathSet usable = PathSet::all();
  PathSet quarantined{};
  bool lends = false;
  Route route = Route::Network;
  Residency residency = Residency::Resident;
  std::uint64_t backlog = 0;

  Given over_loopback() const { return with(&Given::route, Route::Loopback); }
  Given cold() const { return with(&Given::residency, Residency::Cold); }
  Given unknown() const { return with(&Given::residency, Residency::Unknown); }
  Given holding(std::uint64_t bytes) const { return with(&Given::backlog, bytes); }
  Given lending() const { return with(&Given::lends, true); }
  Given without(std::initializer_list<std::string_view> names) const {
    return with(&Given::usable, all_but(names));
  }
  template <class Value>
  Given with(Value Given::*member, Value value) const {
    Given changed = *this;
    changed.*member = std::move(value);
    return changed;
  }
};

struct Case {
  const char* what;
  std::vector<Segment> segments;
  std::string_view path;
  Reason reason;
  Given given{};
  bool unless_cold = false;
};

constexpr std::uint64_t backlog_limit = 1000;

Choice choice_of(const Case& c) {
  WorkerFacts facts(c.given.settings, c.given.usable, c.given.quarantined);
  facts.backlog_limit = ByteCount{backlog_limit};
  if (c.given.lends) {
    facts.zerocopy = &path("splice");
    facts.splice = nullptr;
    facts.maps.insert(path("splice"));
    facts.pins.insert(path("splice"));
  }
  return choose({.segments = c.segments,
                 .transport = {},
                 .route = c.given.route,
                 .residency = c.given.residency,
                 .backlog = ByteCount{c.given.backlog}},
                facts);
}

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const Choice choice = choice_of(c);
    ASSERT_NE(choice.path, nullptr) << c.what;
    EXPECT_EQ(choice.path->name, c.path) << c.what;
    EXPECT_EQ(token(choice.reason), token(c.reason)) << c.what;
    EXPECT_EQ(choice.unless_cold, c.unless_cold) << c.what;
  }
}

std::vector<Segment> body(std::uint64_t size) {
  return {memory(200), slice(size)};
}
const std::vector<Segment> large = body(gib);
const std::vector<Segment> small = body(1);

TEST(Choose, BySize) {
  const Given small_4k{.settings = {.small_body = ByteCount{4096}}};
  const Given no_small{.settings = {.small_body = ByteCount{0}}};
  const std::vector<Segment> small_parts{memory(200), memory(90), slice(50),
                                         memory(90),  slice(60),  memory(40)};
  check({
      {"nothing", {}, "copy", Reason::HeadOnly},
      {"a head", {memory(200)}, "copy", Reason::HeadOnly},
      {"a large head", {memory(90'000)}, "copy", Reason::HeadOnly},
      {"memory", {memory(200), memory(99)}, "copy", Reason::InMemory},
      {"large memory", {memory(200), memory(100'000)}, "copy", Reason::InMemory},
      {"1 byte", small, "copy", Reason::SmallBody},
      {"break-even", body(16 * kib), "copy", Reason::SmallBody},
      {"above it", body(16 * kib + 1), "sendfile", Reason::LargeBody},
      {"set break-even", {memory(9000), slice(4096)}, "copy", Reason::SmallBody, small_4k},
      {"above that", body(4097), "sendfile", Reason::LargeBody, small_4k},
      {"no small bodies", small, "sendfile", Reason::LargeBody, no_small},
      {"the largest file", body(max_file_size_bytes), "sendfile", Reason::LargeBody},
      {"small parts", small_parts, "copy", Reason::SmallBody},
      {"large together", {memory(9), slice(9000), slice(9000)}, "sendfile", Reason::LargeBody},
      {"by part heads", {memory(9), memory(40'000), slice(1)}, "sendfile", Reason::LargeBody},
  });
}

TEST(Choose, Pinned) {
  const Given splice{.settings = {.pinned = find_path("splice")}};
  const Given copy{.settings = {.pinned = find_path("copy")}};
  const Given mmap{.settings = {.pinned = find_path("mmap")}};
  const Given absent = splice.without({"splice"});
  check({
      {"a head", {memory(200)}, "copy", Reason::HeadOnly, splice},
      {"memory", {memory(200), memory(99)}, "copy", Reason::InMemory, splice},
      {"large", large, "splice", Reason::Pinned, splice},
      {"small", small, "splice", Reason::Pinned, splice},
      {"to copy, large", large, "copy", Reason::Pinned, copy},
      {"absent, memory", {memory(200), memory(9)}, "copy", Reason::InMemory, absent},
      {"absent, small", small, "copy", Reason::PinUnfit, absent},
      {"absent, large", large, "sendfile", Reason::PinUnfit, absent},
      {"a pin is a pin, also for what is cold", large, "mmap", Reason::Pinned, mmap.cold()},
      {"nothing is asked for it", large, "mmap", Reason::Pinned, mmap.unknown()},
  });
}

TEST(Choose, WithoutSendfile) {
  const Given absent = Given{}.without({"sendfile"});
  const Given failed = absent.with(&Given::quarantined, PathSet{&path("sendfile")});
  const Given lends = failed.lending();
  check({
      {"small", small, "copy", Reason::SmallBody, failed},
      {"absent", large, "splice", Reason::NoSendfile, absent},
      {"and splice", large, "mmap", Reason::NoSendfile, absent.without({"sendfile", "splice"})},
      {"nothing but copy", large, "copy", Reason::NoSendfile,
       absent.without({"sendfile", "splice", "mmap"})},
      {"failed: not splice either", large, "mmap", Reason::Quarantined, failed},
      {"and mmap", large, "copy", Reason::Quarantined, failed.without({"sendfile", "mmap"})},
      {"zerocopy, to a network", large, "splice", Reason::Quarantined, lends},
      {"zerocopy, over loopback", large, "mmap", Reason::Quarantined, lends.over_loopback()},
      {"almost enough held", large, "splice", Reason::Quarantined,
       lends.holding(backlog_limit - 1)},
      {"enough held", large, "mmap", Reason::Backlog, lends.holding(backlog_limit)},
      {"cold: no mapping", large, "copy", Reason::ColdBody, lends.cold()},
      {"not known whether it is", large, "splice", Reason::Quarantined, lends.unknown(), true},
  });
}

TEST(Choose, ColdBodiesGoTheUsualWay) {
  for (const Given& given : {Given{}.cold(), Given{}.unknown()}) {
    check({{"large", large, "sendfile", Reason::LargeBody, given},
           {"small", small, "copy", Reason::SmallBody, given}});
  }
}

Cost cost(std::string_view name, double low, double high) {
  return {.path = find_path(name), .low = low, .high = high};
}

TEST(Choose, ByCalibration) {
  const std::vector<CostsAtSize> costs{
      {.size = ByteCount{4 * kib},
       .costs = {cost("mmap", 50, 60), cost("copy", 61, 70), cost("sendfile", 80, 90)}},
      {.size = ByteCount{64 * kib},
       .costs = {cost("splice", 20, 31), cost("sendfile", 30, 40), cost("copy", 70, 80)}},
      {.size = ByteCount{1 * mib},
       .costs = {cost("splice", 10, 11), cost("mmap", 12, 13), cost("sendfile", 20, 30)}},
      {.size = ByteCount{16 * mib}, .costs = {cost("splice", 10, 11)}},
  };
  const Given given{.settings = {.costs = costs}};
  const Given full = given.lending().holding(backlog_limit);
  check({
      {"below all sizes", body(2 * kib - 1), "copy", Reason::SmallBody, given},
      {"surely cheaper than copy", body(4 * kib), "mmap", Reason::Calibrated, given},
      {"nearer to the size below", body(15 * kib), "mmap", Reason::Calibrated, given},
      {"nearer to the size above", body(17 * kib), "sendfile", Reason::LargeBody, given},
      {"within the noise", body(64 * kib), "sendfile", Reason::LargeBody, given},
      {"surely cheaper than sendfile", body(mib), "splice", Reason::Calibrated, given},
      {"the next one", body(mib), "mmap", Reason::Calibrated, given.without({"splice"})},
      {"no figure of sendfile", body(16 * mib), "sendfile", Reason::LargeBody, given},
      {"above all sizes", large, "sendfile", Reason::LargeBody, given},
      {"memory", {memory(9), memory(4096)}, "copy", Reason::InMemory, given},
      {"cold, small", body(4 * kib), "copy", Reason::ColdBody, given.cold()},
      {"not known", body(4 * kib), "mmap", Reason::Calibrated, given.unknown(), true},
      {"cold, without a mapping", body(mib), "splice", Reason::Calibrated, given.cold()},
      {"enough held: the next one", body(mib), "mmap", Reason::Calibrated, full},
      {"and there is none", body(mib), "sendfile", Reason::Backlog, full.without({"mmap"})},
  });
}

/// Where the choice hangs on it, the kernel is asked whether the body is in memory.
TEST(ChooseNow, AsksWhetherTheBodyIsInMemory) {
  std::string name = ::testing::TempDir() + "choose-XXXXXX";
  sys::Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  ASSERT_TRUE(fd.is_open());
  ::unlink(name.c_str());
  const std::string bytes(100'000, 'b');
  ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), 100'000);
  const FileRef real(new OpenFile(std::move(fd), {}));
  const std::vector<Segment> segments{
      memory(200), Segment::of_file(*real.get(), {FileOffset{1}, ByteCount{90'000}})};
  const PathSet failed{&path("sendfile")};
  const WorkerFacts facts({}, all_but({"sendfile"}), failed);
  const ChooseInput input{.segments = segments, .transport = {}};
  EXPECT_EQ(choose_now(input, facts).path->name, "mmap");
  EXPECT_EQ(choose_now(input, facts).reason, Reason::Quarantined);

  ASSERT_TRUE(sys::drop_cached_pages(real->fd()).has_value());
  const bool there = sys::resident_prefix(real->fd(), {FileOffset{1}, ByteCount{1}}).value > 0;
  if (there) GTEST_SKIP() << "this filesystem keeps its pages or does not tell";
  // The question itself may have begun to read ahead: once more for the answer.
  ASSERT_TRUE(sys::drop_cached_pages(real->fd()).has_value());
  const Choice cold = choose_now(input, facts);
  EXPECT_EQ(cold.path->name, "copy");
  EXPECT_EQ(cold.reason, Reason::ColdBody);
}

/// A path without a file of its own, as tests elsewhere have them, is in no set and never chosen.
TEST(Choose, ForeignPathsAreInNoSet) {
  constexpr Path foreign{
      .name = "foreign", .probe = nullptr, .fits = nullptr, .step = nullptr, .cancel = nullptr};
  EXPECT_FALSE(PathSet::all().contains(foreign));
  const WorkerFacts facts(ChooserSettings{.pinned = &foreign});
  const Choice choice = choose({.segments = small, .transport = {}}, facts);
  EXPECT_EQ(choice.path->name, "copy");
  EXPECT_EQ(choice.reason, Reason::PinUnfit);
}

TEST(Choose, TlsInUserSpaceHasOnePath) {
  const Transport transport{.kind = Transport::Kind::UserTls};
  const WorkerFacts automatic;
  const WorkerFacts pinned(ChooserSettings{.pinned = &path("sendfile")});
  struct Expected {
    const WorkerFacts& facts;
    const std::vector<Segment> segments;
    Reason reason;
  };
  const Expected cases[] = {
      {automatic, {memory(9)}, Reason::HeadOnly},
      {automatic, {memory(9), memory(9)}, Reason::InMemory},
      {automatic, small, Reason::TlsUser},
      {automatic, large, Reason::TlsUser},
      {pinned, large, Reason::PinUnfit},
  };
  for (const Expected& each : cases) {
    const Choice choice = choose({.segments = each.segments, .transport = transport}, each.facts);
    EXPECT_EQ(choice.path->name, "tls_copy");
    EXPECT_EQ(choice.reason, each.reason) << token(choice.reason);
  }
}

TEST(Choose, KernelTlsGoesAsPlainSocketsDo) {
  const Transport transport{.kind = Transport::Kind::KernelTls};
  const WorkerFacts facts;
  EXPECT_EQ(choose({.segments = large, .transport = transport}, facts).path->name, "sendfile");
  EXPECT_EQ(choose({.segments = small, .transport = transport}, facts).path->name, "copy");
  SocketState state;
  for (const std::string_view name : {"zerocopy", "uring_zc", "uring_zc_sqpoll", "tls_copy"}) {
    const Transport lent{.kind = Transport::Kind::KernelTls, .state = &state};
    EXPECT_FALSE(path(name).fits(large, lent)) << name;
  }
}

TEST(Choose, EveryReasonHasATokenOfItsOwn) {
  std::set<std::string_view> tokens;
  for (std::size_t i = 0; i < reason_count; ++i) {
    tokens.insert(token(static_cast<Reason>(i)));
  }
  EXPECT_EQ(tokens.size(), reason_count);
  EXPECT_EQ(tokens.count(""), 0U);
}

TEST(Registry, CopyIsLastAndFitsEverything) {
  ASSERT_FALSE(paths().empty());
  EXPECT_EQ(paths().back()->name, "copy");
  for (const std::vector<Segment>& segments : {large, small, {memory(9)}, {memory(9), memory(9)}}) {
    EXPECT_TRUE(paths().back()->fits(segments, Transport{}));
    const Transport sealed{.kind = Transport::Kind::UserTls};
    for (const Path* path : paths()) {
      EXPECT_EQ(path->fits(segments, sealed), path->name == "tls_copy") << path->name;
    }
  }
}

TEST(Registry, TlsCopyAloneIsNoPathOfSocketsWithoutTls) {
  for (const Path* path : paths()) {
    const bool listed =
        std::find(socket_paths().begin(), socket_paths().end(), path) != socket_paths().end();
    EXPECT_EQ(listed, path->name != "tls_copy");
  }
}

TEST(Registry, FindsEachPathByItsName) {
  for (std::size_t i = 0; i < paths().size(); ++i) {
    EXPECT_EQ(find_path(paths()[i]->name), paths()[i]);
    EXPECT_EQ(index_of(*paths()[i]), i);
  }
  EXPECT_EQ(find_path(""), nullptr);
  EXPECT_EQ(find_path("Sendfile"), nullptr);
}

TEST(Registry, EveryPathIsAvailableOrSaysWhyNot) {
  for (const Path* path : paths()) {
    const Availability availability = path->probe();
    EXPECT_NE(availability.available, *availability.reason != '\0') << path->name;
  }
}

}  // namespace
}  // namespace pagewire::egress
