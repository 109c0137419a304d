// The chooser's policy as a table, and the registry that it chooses from.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "egress/egress.h"

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

/// One response and what holds for the run; splice stands in for a path that lends memory from a
/// mapping where `splice_as_zerocopy` is set, so that the table needs no other path.
struct Case {
  const char* what;
  std::vector<Segment> segments;
  std::string_view path;
  Reason reason;
  ChooserSettings settings{};
  PathSet usable = PathSet::all();
  PathSet quarantined{};
  Route route = Route::Network;
  Residency residency = Residency::Resident;
  std::uint64_t backlog = 0;
  bool splice_as_zerocopy = false;
  bool unless_cold = false;
};

Choice choice_of(const Case& c) {
  WorkerFacts facts(c.settings, c.usable, c.quarantined);
  if (c.splice_as_zerocopy) {
    facts.zerocopy = &path("splice");
    facts.splice = nullptr;
    facts.maps.insert(path("splice"));
    facts.pins.insert(path("splice"));
    facts.backlog_limit = ByteCount{1000};
  }
  return choose({.segments = c.segments,
                 .transport = {},
                 .route = c.route,
                 .residency = c.residency,
                 .backlog = ByteCount{c.backlog}},
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

const std::vector<Segment> large{memory(200), slice(1 * gib)};
const std::vector<Segment> small{memory(200), slice(1)};

TEST(Choose, BySize) {
  const ChooserSettings small_4k{.small_body = ByteCount{4096}};
  const ChooserSettings no_small{.small_body = ByteCount{0}};
  check({
      {"nothing", {}, "copy", Reason::HeadOnly},
      {"a head", {memory(200)}, "copy", Reason::HeadOnly},
      {"a large head", {memory(90'000)}, "copy", Reason::HeadOnly},
      {"memory", {memory(200), memory(99)}, "copy", Reason::InMemory},
      {"large memory", {memory(200), memory(100'000)}, "copy", Reason::InMemory},
      {"1 byte", small, "copy", Reason::SmallBody},
      {"break-even", {memory(200), slice(16 * kib)}, "copy", Reason::SmallBody},
      {"above it", {memory(200), slice(16 * kib + 1)}, "sendfile", Reason::LargeBody},
      {"set break-even", {memory(9000), slice(4096)}, "copy", Reason::SmallBody, small_4k},
      {"above that", {memory(200), slice(4097)}, "sendfile", Reason::LargeBody, small_4k},
      {"no small bodies", small, "sendfile", Reason::LargeBody, no_small},
      {"the largest file",
       {memory(200), slice(max_file_size_bytes)},
       "sendfile",
       Reason::LargeBody},
      {"small parts",
       {memory(200), memory(90), slice(50), memory(90), slice(60), memory(40)},
       "copy",
       Reason::SmallBody},
      {"parts, large together",
       {memory(200), slice(20'000), memory(90), slice(20'000)},
       "sendfile",
       Reason::LargeBody},
      {"large by part heads",
       {memory(200), memory(40'000), slice(1)},
       "sendfile",
       Reason::LargeBody},
  });
}

TEST(Choose, Pinned) {
  const ChooserSettings pin_splice{.pinned = find_path("splice")};
  const ChooserSettings pin_mmap{.pinned = find_path("mmap")};
  const ChooserSettings pin_copy{.pinned = find_path("copy")};
  const PathSet no_splice = all_but({"splice"});
  check({
      {"a head", {memory(200)}, "copy", Reason::HeadOnly, pin_splice},
      {"memory", {memory(200), memory(99)}, "copy", Reason::InMemory, pin_splice},
      {"large", large, "splice", Reason::Pinned, pin_splice},
      {"small", small, "splice", Reason::Pinned, pin_splice},
      {"to copy, large", large, "copy", Reason::Pinned, pin_copy},
      {"absent, memory", {memory(200), memory(9)}, "copy", Reason::InMemory, pin_splice, no_splice},
      {"absent, small", small, "copy", Reason::PinUnfit, pin_splice, no_splice},
      {"absent, large", large, "sendfile", Reason::PinUnfit, pin_splice, no_splice},
      {.what = "a pin is a pin, also for what is cold",
       .segments = large,
       .path = "mmap",
       .reason = Reason::Pinned,
       .settings = pin_mmap,
       .residency = Residency::Cold},
  });
}

TEST(Choose, WithoutSendfile) {
  const PathSet no_sendfile = all_but({"sendfile"});
  const PathSet failed{&path("sendfile")};
  const auto off_host = Route::Network;
  const auto local = Route::Loopback;
  check({
      {"small", small, "copy", Reason::SmallBody, {}, no_sendfile, failed},
      {"absent", large, "splice", Reason::NoSendfile, {}, no_sendfile},
      {"absent, and splice",
       large,
       "mmap",
       Reason::NoSendfile,
       {},
       all_but({"sendfile", "splice"})},
      {"nothing but copy",
       large,
       "copy",
       Reason::NoSendfile,
       {},
       all_but({"sendfile", "splice", "mmap"})},
      {"failed: not splice either", large, "mmap", Reason::Quarantined, {}, no_sendfile, failed},
      {"failed, and mmap",
       large,
       "copy",
       Reason::Quarantined,
       {},
       all_but({"sendfile", "mmap"}),
       failed},
      {"failed, to a network, with zerocopy",
       large,
       "splice",
       Reason::Quarantined,
       {},
       no_sendfile,
       failed,
       off_host,
       Residency::Resident,
       999,
       true},
      {"failed, over loopback, with zerocopy",
       large,
       "mmap",
       Reason::Quarantined,
       {},
       no_sendfile,
       failed,
       local,
       Residency::Resident,
       0,
       true},
      {"the kernel holds enough",
       large,
       "mmap",
       Reason::Backlog,
       {},
       no_sendfile,
       failed,
       off_host,
       Residency::Resident,
       1000,
       true},
      {"no mapping for a cold body",
       large,
       "copy",
       Reason::ColdBody,
       {},
       no_sendfile,
       failed,
       off_host,
       Residency::Cold,
       0,
       true},
      {"not known whether it is",
       large,
       "splice",
       Reason::Quarantined,
       {},
       no_sendfile,
       failed,
       off_host,
       Residency::Unknown,
       0,
       true,
       true},
  });
}

TEST(Choose, ColdBodiesGoTheUsualWay) {
  for (const Residency residency : {Residency::Cold, Residency::Unknown}) {
    check({
        {.what = "large",
         .segments = large,
         .path = "sendfile",
         .reason = Reason::LargeBody,
         .residency = residency},
        {.what = "small",
         .segments = small,
         .path = "copy",
         .reason = Reason::SmallBody,
         .residency = residency},
    });
  }
}

TEST(Choose, ByCalibration) {
  const auto cost = [](std::string_view name, double low, double high) {
    return Cost{.path = find_path(name), .low = low, .high = high};
  };
  const ChooserSettings measured{
      .costs = {
          {.size = ByteCount{4 * kib},
           .costs = {cost("mmap", 50, 60), cost("copy", 61, 70), cost("sendfile", 80, 90)}},
          {.size = ByteCount{64 * kib},
           .costs = {cost("splice", 20, 31), cost("sendfile", 30, 40), cost("copy", 70, 80)}},
          {.size = ByteCount{1 * mib},
           .costs = {cost("splice", 10, 11), cost("mmap", 12, 13), cost("sendfile", 20, 30)}},
          {.size = ByteCount{16 * mib}, .costs = {cost("splice", 10, 11)}},
      }};
  const auto body = [](std::uint64_t size) { return std::vector{memory(200), slice(size)}; };
  const PathSet no_splice = all_but({"splice"});
  const auto cold = Residency::Cold;
  const auto warm = Residency::Resident;
  const auto far = Route::Network;
  check({
      {"below all sizes", body(2 * kib - 1), "copy", Reason::SmallBody, measured},
      {"surely cheaper than copy", body(4 * kib), "mmap", Reason::Calibrated, measured},
      {"nearer to the size below", body(15 * kib), "mmap", Reason::Calibrated, measured},
      {"nearer to the size above", body(17 * kib), "sendfile", Reason::LargeBody, measured},
      {"within the noise", body(64 * kib), "sendfile", Reason::LargeBody, measured},
      {"surely cheaper than sendfile", body(1 * mib), "splice", Reason::Calibrated, measured},
      {"the next one", body(1 * mib), "mmap", Reason::Calibrated, measured, no_splice},
      {"no figure of sendfile", body(16 * mib), "sendfile", Reason::LargeBody, measured},
      {"above all sizes", large, "sendfile", Reason::LargeBody, measured},
      {"memory", {memory(9), memory(4096)}, "copy", Reason::InMemory, measured},
      {"cold, small",
       body(4 * kib),
       "copy",
       Reason::ColdBody,
       measured,
       PathSet::all(),
       {},
       far,
       cold},
      {"not known",
       body(4 * kib),
       "mmap",
       Reason::Calibrated,
       measured,
       PathSet::all(),
       {},
       far,
       Residency::Unknown,
       0,
       false,
       true},
      {"cold, large: figures of a path without a mapping",
       body(1 * mib),
       "splice",
       Reason::Calibrated,
       measured,
       PathSet::all(),
       {},
       far,
       cold},
      {"the kernel holds enough: the next one",
       body(1 * mib),
       "mmap",
       Reason::Calibrated,
       measured,
       PathSet::all(),
       {},
       far,
       warm,
       1000,
       true},
      {"it does, and there is no next one",
       body(1 * mib),
       "sendfile",
       Reason::Backlog,
       measured,
       all_but({"mmap"}),
       {},
       far,
       warm,
       1000,
       true},
  });
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
