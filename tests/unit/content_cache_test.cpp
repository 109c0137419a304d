// The open-file cache, seen through a Site: what is trusted, when it is looked at again, what it
// holds.
#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "unit/content_fixture.h"

namespace pagewire::content {
namespace {

using testing::Answer;
using testing::position_coded;

int open_descriptors() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

class CacheTest : public testing::SiteTest {
 protected:
  void replace(const std::string& name, const std::string& bytes) {
    tree.write("replacement.tmp", bytes);
    std::filesystem::rename(tree.path("replacement.tmp"), tree.path(name));
  }
};

TEST_F(CacheTest, CountsHitsMissesAndRevalidations) {
  tree.write("a.ts", "x");
  get("/a.ts");
  EXPECT_EQ(site().counters().cache_misses, 1U);
  get("/a.ts");
  get("/%61.ts");
  EXPECT_EQ(site().counters().cache_hits, 2U);
  EXPECT_EQ(site().counters().cache_revalidated, 0U);
  pass_validity();
  get("/a.ts");
  EXPECT_EQ(site().counters().cache_hits, 3U);
  EXPECT_EQ(site().counters().cache_revalidated, 1U);
  get("/a.ts");
  EXPECT_EQ(site().counters().cache_revalidated, 1U);
  EXPECT_EQ(site().counters().cache_misses, 1U);
  EXPECT_EQ(site().counters().cache_entries, 1U);
}

TEST_F(CacheTest, ReplacedFileIsSeenWithinValidity) {
  const std::string first = position_coded(50'000, 'a');
  const std::string second = position_coded(50'000, 'b');
  tree.write("a.ts", first);
  const Answer before = get("/a.ts");
  EXPECT_EQ(before.body, first);
  replace("a.ts", second);
  now.monotonic_ms += settings.validity_ms - 1;
  EXPECT_EQ(get("/a.ts").body, first);
  now.monotonic_ms += 1;
  const Answer after = get("/a.ts");
  EXPECT_EQ(after.body, second);
  EXPECT_NE(after.field("ETag"), before.field("ETag"));
}

TEST_F(CacheTest, ResponseKeepsItsFileAfterTheCacheDroppedIt) {
  const std::string first = position_coded(50'000, 'a');
  tree.write("a.ts", first);
  get("/a.ts");
  const FileRef kept = response.file;
  Response other;
  replace("a.ts", position_coded(50'000, 'b'));
  pass_validity();
  site().respond(request, now, false, other);
  EXPECT_NE(other.file.get(), kept.get());
  EXPECT_EQ(testing::bytes_of(response.segments()[1]), first);
  EXPECT_TRUE(kept->unchanged());
}

TEST_F(CacheTest, DeletedFileIsGoneAfterValidity) {
  tree.write("a.ts", "x");
  EXPECT_EQ(get("/a.ts").status, 200);
  std::filesystem::remove(tree.path("a.ts"));
  EXPECT_EQ(get("/a.ts").status, 200);
  pass_validity();
  EXPECT_EQ(get("/a.ts").status, 404);
}

TEST_F(CacheTest, MissingFileIsRememberedForValidity) {
  EXPECT_EQ(get("/a.ts").status, 404);
  tree.write("a.ts", "x");
  EXPECT_EQ(get("/a.ts").status, 404);
  EXPECT_EQ(site().counters().cache_hits, 1U);
  pass_validity();
  EXPECT_EQ(get("/a.ts").status, 200);
}

TEST_F(CacheTest, FileBecomesDirectoryAndBack) {
  tree.write("a", "x");
  EXPECT_EQ(get("/a").status, 200);
  std::filesystem::remove(tree.path("a"));
  tree.write("a/index.html", "index");
  pass_validity();
  EXPECT_EQ(get("/a").status, 301);
  EXPECT_EQ(get("/a").status, 301);
  std::filesystem::remove_all(tree.path("a"));
  tree.write("a", "again");
  pass_validity();
  EXPECT_EQ(get("/a").body, "again");
}

TEST_F(CacheTest, ValidityOfZeroLooksEachTime) {
  settings.validity_ms = 0;
  tree.write("a.ts", "x");
  EXPECT_EQ(get("/a.ts").body, "x");
  replace("a.ts", "y");
  EXPECT_EQ(get("/a.ts").body, "y");
}

TEST_F(CacheTest, WrittenInPlace) {
  tree.write("large.ts", position_coded(50'000));
  get("/large.ts");
  const FileRef old = response.file;
  EXPECT_TRUE(old->unchanged());
  tree.write("large.ts", position_coded(40'000), 1700000001);
  EXPECT_FALSE(old->unchanged());
  pass_validity();
  EXPECT_EQ(get("/large.ts").body, position_coded(40'000));
  EXPECT_NE(response.file.get(), old.get());
}

// Body and ETag belong together: what was read with the old status goes out with the old ETag.
TEST_F(CacheTest, SmallBodyStaysWithItsValidator) {
  tree.write("a.ts", "old bytes");
  const Answer before = get("/a.ts");
  tree.write("a.ts", "new bytes", 1700000001);
  const Answer cached = get("/a.ts");
  EXPECT_EQ(cached.body, "old bytes");
  EXPECT_EQ(cached.field("ETag"), before.field("ETag"));
  pass_validity();
  const Answer after = get("/a.ts");
  EXPECT_EQ(after.body, "new bytes");
  EXPECT_NE(after.field("ETag"), before.field("ETag"));
}

// Two writes within one step of the file clock have one mtime: a body read between them would stay.
TEST_F(CacheTest, BodyOfAFileJustWrittenIsNotKeptUntilItHasAged) {
  tree.write("a.ts", "young", now.realtime_s);
  EXPECT_EQ(get("/a.ts").body, "young");
  EXPECT_EQ(response.segments()[1].kind, Segment::Kind::File);
  tree.write("a.ts", "again", now.realtime_s);
  EXPECT_EQ(get("/a.ts").body, "again");
  now.realtime_s += 2;
  pass_validity();
  EXPECT_EQ(get("/a.ts").body, "again");
  EXPECT_EQ(response.segments()[1].kind, Segment::Kind::Memory);
  EXPECT_EQ(site().counters().small_body_bytes, 5U);
}

TEST_F(CacheTest, IsBoundedAndDropsTheLeastRecentlyUsed) {
  settings.open_files = 8;
  for (int i = 0; i < 20; ++i) tree.write(std::to_string(i) + ".ts", position_coded(50'000));
  get("/0.ts");
  response.clear();
  const int before = open_descriptors();
  for (int i = 1; i < 20; ++i) {
    get("/" + std::to_string(i) + ".ts");
    get("/0.ts");  // always recent
  }
  response.clear();
  EXPECT_EQ(site().counters().cache_entries, 8U);
  EXPECT_EQ(open_descriptors(), before + 7);
  EXPECT_EQ(site().counters().cache_misses, 20U);
  get("/19.ts");
  EXPECT_EQ(site().counters().cache_misses, 20U);
  get("/1.ts");
  EXPECT_EQ(site().counters().cache_misses, 21U);
}

TEST_F(CacheTest, FloodOfUnknownNamesLeavesFilesAlone) {
  settings.open_files = 8;
  tree.write("a.ts", "x");
  get("/a.ts");
  for (int i = 0; i < 1000; ++i) get("/none-" + std::to_string(i));
  EXPECT_EQ(site().counters().cache_entries, 1U + 8U * 4U);
  const std::uint64_t misses = site().counters().cache_misses;
  EXPECT_EQ(get("/a.ts").status, 200);
  EXPECT_EQ(site().counters().cache_misses, misses);
  get("/" + std::string(200, 'd') + "/" + std::string(200, 'd') + "/" + std::string(200, 'd'));
  EXPECT_EQ(site().counters().cache_entries, 1U + 8U * 4U) << "long names are not remembered";
}

TEST_F(CacheTest, WithoutEntries) {
  settings.open_files = 0;
  tree.write("a.ts", "x");
  EXPECT_EQ(get("/a.ts").body, "x");
  EXPECT_EQ(get("/none").status, 404);
  EXPECT_EQ(site().counters().cache_entries, 0U);
}

TEST_F(CacheTest, SmallBodiesAreBounded) {
  settings.small_bodies_total = ByteCount{2500};
  for (const char* name : {"a.ts", "b.ts", "c.ts"}) tree.write(name, position_coded(1000));
  for (const char* name : {"/a.ts", "/b.ts", "/c.ts"}) {
    EXPECT_EQ(get(name).body, position_coded(1000));
  }
  EXPECT_EQ(response.segments()[1].kind, Segment::Kind::File);
  EXPECT_EQ(site().counters().small_body_bytes, 2000U);
  std::filesystem::remove(tree.path("a.ts"));
  pass_validity();
  EXPECT_EQ(get("/a.ts").status, 404);
  EXPECT_EQ(site().counters().small_body_bytes, 1000U);
  EXPECT_EQ(get("/c.ts").body, position_coded(1000));
  EXPECT_EQ(response.segments()[1].kind, Segment::Kind::Memory);
}

// In a child, because the limit is the whole process's.
TEST_F(CacheTest, OutOfDescriptors) {
  for (const char* name : {"a.ts", "b.ts", "c.ts"}) tree.write(name, position_coded(50'000));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Nothing to give up: 503. One idle file in the cache: it makes room for the next. A file that
    // is being sent keeps its descriptor, so then it is 503 again. And nothing of this is
    // remembered.
    site();
    const int lowest = sys::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get();
    const auto allow = [&](int descriptors) {
      rlimit limits{};
      static_cast<void>(::getrlimit(RLIMIT_NOFILE, &limits));
      limits.rlim_cur = static_cast<rlim_t>(lowest + descriptors);
      static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limits));
    };
    allow(0);
    const Answer none = get("/a.ts");
    if (none.status != 503 || none.field("Retry-After") != "1") ::_exit(1);
    allow(1);
    if (get("/a.ts").status != 200) ::_exit(2);
    response.clear();
    if (get("/b.ts").body != position_coded(50'000)) ::_exit(3);
    Response other;
    parse("GET /c.ts", {});
    site().respond(request, now, false, other);
    if (other.status != 503) ::_exit(4);
    response.clear();
    if (get("/c.ts").status != 200) ::_exit(5);
    ::_exit(0);
  }
  int ended = 0;
  ASSERT_EQ(::waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended));
  EXPECT_EQ(WEXITSTATUS(ended), 0);
}

}  // namespace
}  // namespace pagewire::content
