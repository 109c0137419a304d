// Readahead: which open files are advised, once each; and that asking ahead reads.
#include <algorithm>
#include <chrono>
#include <thread>

#include "sys/file_advice.h"
#include "sys/page_cache.h"
#include "unit/content_fixture.h"

namespace pagewire::content {
namespace {

using testing::position_coded;
using testing::SiteTest;

constexpr std::uint64_t size = streamed_from.value + 5;

TEST_F(SiteTest, AStreamedFileIsAdvisedOnce) {
  tree.write("large", position_coded(size));
  tree.write("other", position_coded(size));
  get("/large");
  EXPECT_EQ(site().counters().readahead_files, 1U);
  get("/large");
  get("/large", {"Range: bytes=5-"});
  EXPECT_EQ(site().counters().readahead_files, 1U);
  get("/other", {"Range: bytes=5-"});
  EXPECT_EQ(site().counters().readahead_files, 2U);
  EXPECT_EQ(site().counters().readahead_bytes, 0U);
}

TEST_F(SiteTest, SmallFilesAndScatteredRangesAreNotAdvised) {
  tree.write("large", position_coded(3 * size));
  tree.write("small", position_coded(streamed_from.value - 1));
  get("/small");
  get("/large", {"Range: bytes=6-" + std::to_string(streamed_from.value + 4)});
  get("/large", {"Range: bytes=0-1048576,2000000-3048576"});
  ask("HEAD /large");
  get("/missing");
  EXPECT_EQ(site().counters().readahead_files, 0U);
}

TEST_F(SiteTest, ReadaheadOff) {
  settings.readahead.sequential = false;
  tree.write("large", position_coded(size));
  get("/large");
  EXPECT_EQ(site().counters().readahead_files, 0U);
}

TEST_F(SiteTest, BytesAreAskedAheadFromWhereTheSliceBegins) {
  settings.readahead.ahead = ByteCount{4 * mib};
  tree.write("large", position_coded(6 * mib));
  get("/large", {"Range: bytes=4194304-"});
  EXPECT_EQ(site().counters().readahead_bytes, 2 * mib) << "no more than is sent";
  EXPECT_EQ(response.ahead, (ByteRange{{4 * mib}, {2 * mib}}));
  get("/large");
  EXPECT_EQ(site().counters().readahead_bytes, 2 * mib) << "once for each open file";
  EXPECT_EQ(response.ahead, ByteRange{});
}

/// On the disk that the build is on: /tmp may be a tmpfs, whose pages cannot be dropped.
TEST(FileAdvice, ReadAheadReadsMoreThanOneWindow) {
  std::string name = "readahead-XXXXXX";
  const sys::Fd fd(::mkstemp(name.data()));
  ASSERT_TRUE(fd.is_open());
  ::unlink(name.c_str());
  const std::string bytes = position_coded(8 * mib);
  ASSERT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_TRUE(sys::advise_sequential(fd.get()).has_value());
  ASSERT_TRUE(sys::drop_cached_pages(fd.get()).has_value());
  const auto resident = [&fd] {
    const Result<std::optional<ByteCount>> told = sys::resident_bytes(fd.get());
    return told && *told ? (*told)->value : std::uint64_t{0};
  };
  if (resident() != 0) GTEST_SKIP() << "pages cannot be dropped here";
  ASSERT_TRUE(sys::read_ahead(fd.get(), {{mib}, {4 * mib}}).has_value());
  std::uint64_t most = 0;  // what is there may go again (DAMON)
  for (int ms = 0; ms < 60'000 && most < 4 * mib; ++ms) {
    most = std::max(most, resident());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GE(most, 4 * mib);
  EXPECT_LT(most, 8 * mib) << "only what was asked for";
}

TEST(FileAdvice, APipeHasNoPages) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const sys::Fd in(ends[0]);
  const sys::Fd out(ends[1]);
  EXPECT_FALSE(sys::advise_sequential(in.get()).has_value());
  EXPECT_FALSE(sys::read_ahead(in.get(), {{0}, {1}}).has_value());
}

}  // namespace
}  // namespace pagewire::content
