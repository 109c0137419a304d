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

bool fits_nothing(std::span<const Segment>, const Transport&) {
  return false;
}
constexpr Path unfit{
    .name = "unfit", .probe = nullptr, .fits = fits_nothing, .step = nullptr, .cancel = nullptr};

struct Case {
  const char* what;
  std::vector<Segment> segments;
  ChooserSettings settings;
  std::string_view path;
  Reason reason;
};

std::vector<Case> cases() {
  const ChooserSettings automatic;
  const ChooserSettings small_4k{.small_body = ByteCount{4096}};
  const ChooserSettings no_small{.small_body = ByteCount{0}};
  const ChooserSettings pin_splice{.pinned = find_path("splice")};
  const ChooserSettings pin_copy{.pinned = find_path("copy")};
  const ChooserSettings pin_absent{.pinned = find_path("splice"), .pinned_available = false};
  const ChooserSettings pin_unfit{.pinned = &unfit};
  return {
      {"nothing", {}, automatic, "copy", Reason::HeadOnly},
      {"a head", {memory(200)}, automatic, "copy", Reason::HeadOnly},
      {"a large head", {memory(90'000)}, automatic, "copy", Reason::HeadOnly},
      {"a head, pinned", {memory(200)}, pin_splice, "copy", Reason::HeadOnly},
      {"memory", {memory(200), memory(99)}, automatic, "copy", Reason::InMemory},
      {"large memory", {memory(200), memory(100'000)}, automatic, "copy", Reason::InMemory},
      {"memory, pinned", {memory(200), memory(99)}, pin_splice, "copy", Reason::InMemory},
      {"memory, bad pin", {memory(200), memory(99)}, pin_unfit, "copy", Reason::InMemory},
      {"1 byte", {memory(200), slice(1)}, automatic, "copy", Reason::SmallBody},
      {"break-even", {memory(200), slice(16 * kib)}, automatic, "copy", Reason::SmallBody},
      {"above it", {memory(200), slice(16 * kib + 1)}, automatic, "sendfile", Reason::LargeBody},
      {"set break-even", {memory(9000), slice(4096)}, small_4k, "copy", Reason::SmallBody},
      {"above that", {memory(200), slice(4097)}, small_4k, "sendfile", Reason::LargeBody},
      {"no small bodies", {memory(200), slice(1)}, no_small, "sendfile", Reason::LargeBody},
      {"the largest file",
       {memory(200), slice(max_file_size_bytes)},
       automatic,
       "sendfile",
       Reason::LargeBody},
      {"small parts",
       {memory(200), memory(90), slice(50), memory(90), slice(60), memory(40)},
       automatic,
       "copy",
       Reason::SmallBody},
      {"parts, large together",
       {memory(200), slice(20'000), memory(90), slice(20'000)},
       automatic,
       "sendfile",
       Reason::LargeBody},
      {"large by part heads",
       {memory(200), memory(40'000), slice(1)},
       automatic,
       "sendfile",
       Reason::LargeBody},
      {"pinned, large", {memory(200), slice(1 * gib)}, pin_splice, "splice", Reason::Pinned},
      {"pinned, small", {memory(200), slice(1)}, pin_splice, "splice", Reason::Pinned},
      {"pinned to copy, large", {memory(200), slice(1 * gib)}, pin_copy, "copy", Reason::Pinned},
      {"pin absent, small", {memory(200), slice(1)}, pin_absent, "copy", Reason::PinUnfit},
      {"pin absent, large",
       {memory(200), slice(1 * gib)},
       pin_absent,
       "sendfile",
       Reason::PinUnfit},
      {"pin unfit, small", {memory(200), slice(1)}, pin_unfit, "copy", Reason::PinUnfit},
      {"pin unfit, large", {memory(200), slice(1 * gib)}, pin_unfit, "sendfile", Reason::PinUnfit},
  };
}

TEST(Choose, Table) {
  for (const Case& c : cases()) {
    const Choice choice = choose(c.segments, Transport{}, c.settings);
    ASSERT_NE(choice.path, nullptr) << c.what;
    EXPECT_EQ(choice.path->name, c.path) << c.what;
    EXPECT_EQ(token(choice.reason), token(c.reason)) << c.what;
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
  for (const Case& c : cases()) EXPECT_TRUE(paths().back()->fits(c.segments, Transport{}));
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
