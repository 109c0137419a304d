// Names that only the disk knows: a site that may not wait for it says which name it wants opened,
// takes what was found, and asks for no name twice.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "content_fixture.h"

namespace pagewire::content {
namespace {

class ResolutionTest : public testing::SiteTest {
 protected:
  /// Puts the request without waiting. False: resolution.wish is wanted.
  bool put(const std::string& target, const std::vector<std::string>& fields = {}) {
    parse("GET " + target, fields, "HTTP/1.1");
    return site().respond(request, now, false, response, &resolution);
  }
  /// As a helper does; for a disk that says `error` when that is not 0.
  void serve_wish(int error = 0) {
    const NameWish wish = resolution.wish;
    wishes.push_back(wish.relative_path);
    Result<OpenedName> opened = error != 0 ? Result<OpenedName>(failure("openat2", error))
                                           : open_name(site().root_fd(), wish, ByteCount{16 * kib});
    resolution.found.push_back(site().resolved(wish, std::move(opened), now));
  }
  /// Until it is answered; the number of wishes.
  std::size_t put_until_answered(const std::string& target,
                                 const std::vector<std::string>& fields = {}) {
    resolution.found.clear();
    wishes.clear();
    while (!put(target, fields)) {
      EXPECT_LT(wishes.size(), 10U);
      if (wishes.size() == 10) break;
      serve_wish();
    }
    return wishes.size();
  }

  Resolution resolution;
  std::vector<std::string> wishes;
};

// A name that nobody has looked for is in no cache, not even as missing.
TEST_F(ResolutionTest, UnknownNameIsWished) {
  ASSERT_FALSE(put("/never-looked-for.ts"));
  EXPECT_EQ(resolution.wish.relative_path, "never-looked-for.ts");
  serve_wish();
  ASSERT_TRUE(put("/never-looked-for.ts"));
  EXPECT_EQ(response.status, 404);
}

TEST_F(ResolutionTest, KnownNameIsNot) {
  tree.write("a.ts", "x");
  EXPECT_EQ(put_until_answered("/a.ts"), 0U);
  EXPECT_EQ(response.status, 200);
}

TEST_F(ResolutionTest, FoundIsUsedAndRemembered) {
  tree.write("a.ts", "x");
  ASSERT_FALSE(put("/other.ts"));
  resolution.wish = {.key = "a.ts", .path = "a.ts", .relative_path = "a.ts"};
  serve_wish();
  ASSERT_TRUE(put("/a.ts"));
  EXPECT_EQ(gather().body, "x");
  const std::uint64_t misses = site().counters().cache_misses;
  EXPECT_EQ(get("/a.ts").body, "x");
  EXPECT_EQ(site().counters().cache_misses, misses);
}

// Another name may take the disk seconds after this one was found.
TEST_F(ResolutionTest, FoundAndOverwrittenSinceIsNotAnsweredUnderTheOldHead) {
  const std::string old_body(20'000, 'o');
  const std::string new_body(20'000, 'n');
  tree.write("big.bin", old_body);
  ASSERT_FALSE(put("/other.bin"));
  resolution.wish = {.key = "big.bin", .path = "big.bin", .relative_path = "big.bin"};
  serve_wish();
  ASSERT_TRUE(put("/big.bin"));
  const std::string old_etag(response.file->etag());
  const int fd = ::open((tree.path() + "/big.bin").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(fd, new_body.data(), new_body.size(), 0), 20'000);
  ::futimens(fd, std::array<timespec, 2>{{{1'600'000'000, 0}, {1'600'000'000, 0}}}.data());
  ::close(fd);
  while (!put("/big.bin")) serve_wish();
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(response.file->etag(), old_etag);
}

TEST_F(ResolutionTest, EveryOutcomeOfTheDiskIsAnAnswer) {
  const std::vector<std::pair<int, int>> table = {
      {ENOENT, 404}, {EACCES, 403}, {EIO, 500}, {ENOMEM, 503}, {EXDEV, 404}};
  for (const auto& [error, status] : table) {
    resolution.found.clear();
    const std::string target = "/none" + std::to_string(error) + ".ts";
    ASSERT_FALSE(put(target));
    serve_wish(error);
    ASSERT_TRUE(put(target)) << "asked again after errno " << error;
    EXPECT_EQ(response.status, status);
  }
}

// Longer than what the cache remembers of a missing name: the answer is the resolution's own.
TEST_F(ResolutionTest, NamesThatAreNotRememberedEndToo) {
  const std::string target = "/" + std::string(200, 'a') + "/" + std::string(200, 'b') + "/" +
                             std::string(200, 'c') + ".ts";
  EXPECT_LE(put_until_answered(target), 1U);
  EXPECT_EQ(response.status, 404);
}

TEST_F(ResolutionTest, SiblingsAreWishedInTurnEachOnce) {
  tree.write("page.js", "plain");
  EXPECT_EQ(put_until_answered("/page.js", {"Accept-Encoding: br, zstd, gzip"}), 3U);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(gather().body, "plain");
  EXPECT_EQ(put_until_answered("/page.js", {"Accept-Encoding: br, zstd, gzip"}), 0U);
}

// Nothing in the cache holds: what was found for this request does, so it still ends.
TEST_F(ResolutionTest, EndsThoughNothingStaysValid) {
  settings.validity_ms = 0;
  settings.open_files = 1;
  tree.write("page.js", "plain");
  EXPECT_LE(put_until_answered("/page.js", {"Accept-Encoding: br, zstd, gzip"}), 3U);
  EXPECT_EQ(gather().body, "plain");
}

TEST_F(ResolutionTest, SameFileKeepsWhatHangsOnIt) {
  tree.write("a.ts", "x");
  ASSERT_EQ(put_until_answered("/a.ts"), 0U);
  const OpenFile* const before = response.file.get();
  resolution.wish = {.key = "a.ts", .path = "a.ts", .relative_path = "a.ts"};
  serve_wish();
  EXPECT_EQ(resolution.found.back().lookup.file.get(), before);
  EXPECT_EQ(site().counters().cache_entries, 1U);
  tree.write("a.ts", "longer");
  serve_wish();
  EXPECT_NE(resolution.found.back().lookup.file.get(), before);
  EXPECT_EQ(site().counters().cache_entries, 1U);
}

TEST_F(ResolutionTest, MoreNamesThanARequestHasAreWaitedFor) {
  const Lookup missing{.outcome = Outcome::Missing, .file = {}};
  for (std::size_t i = 0; i < Resolution::most_names; ++i) {
    resolution.found.push_back({"other" + std::to_string(i), missing, ""});
  }
  ASSERT_TRUE(put("/not-looked-for-either.ts"));
  EXPECT_EQ(response.status, 404);
}

// Whatever is in memory: nothing tells that of a directory's blocks.
TEST_F(ResolutionTest, ListingsAreWished) {
  settings.listing = true;
  tree.write("dir/a.ts", "x");
  EXPECT_GE(put_until_answered("/dir/"), 1U);
  EXPECT_EQ(wishes.back(), "dir/");
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(gather().body.find("<a href=\"a.ts\">"), std::string::npos);
  EXPECT_GE(put_until_answered("/"), 1U);
  EXPECT_EQ(wishes.back(), ".");
  EXPECT_NE(gather().body.find("<a href=\"dir/\">"), std::string::npos);
  put_until_answered("/dir/a.ts/");
  EXPECT_EQ(response.status, 404);
}

TEST_F(ResolutionTest, ConfinementHolds) {
  tree.link("/etc/passwd", "out.ts");
  put_until_answered("/out.ts");
  EXPECT_EQ(response.status, 404);
}

}  // namespace
}  // namespace pagewire::content
