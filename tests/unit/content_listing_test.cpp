// Directory listings: what is shown, how it is escaped, and that every link can be followed.
#include "unit/content_fixture.h"

namespace pagewire::content {
namespace {

using testing::Answer;

class ListingTest : public testing::SiteTest {
 protected:
  ListingTest() { settings.listing = true; }

  static std::vector<std::string> links(const std::string& page) {
    std::vector<std::string> found;
    const std::string start = "<a href=\"";
    for (std::size_t at = page.find(start); at != std::string::npos; at = page.find(start, at)) {
      at += start.size();
      found.push_back(page.substr(at, page.find('"', at) - at));
    }
    return found;
  }
};

TEST_F(ListingTest, SortedWithDirectoriesMarkedAndDotfilesHidden) {
  tree.write("b.ts", "x");
  tree.write("a.ts", "x");
  tree.write("dir/inner.ts", "x");
  tree.write(".hidden", "x");
  const Answer root = get("/");
  EXPECT_EQ(root.status, 200);
  EXPECT_EQ(root.field("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(links(root.body), (std::vector<std::string>{"a.ts", "b.ts", "dir/"}));
  EXPECT_NE(root.body.find("<title>Index of /</title>"), std::string::npos);
  EXPECT_EQ(links(get("/dir/").body), (std::vector<std::string>{"../", "inner.ts"}));
  EXPECT_EQ(get("/dir").status, 301);
  EXPECT_EQ(get("/a.ts/").status, 404);
  EXPECT_EQ(get("/none/").status, 404);
  const Answer head = ask("HEAD /dir/");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.field("Content-Length"), std::to_string(get("/dir/").body.size()));
}

TEST_F(ListingTest, IndexComesFirst) {
  tree.write("dir/index.html", "index");
  EXPECT_EQ(get("/dir/").body, "index");
}

TEST_F(ListingTest, HostileNamesAreEscapedAndTheirLinksWork) {
  const std::vector<std::string> names = {
      "<script>alert(1)<",
      "a\"b",
      "a'b",
      "a&amp;b",
      "javascript:x",
      "100%",
      "a b",
      "a?b=1",
      "a#b",
      "caf\xc3\xa9",
      "a\\b",
      "x;y=z",
  };
  for (const std::string& name : names) tree.write("d<i>/" + name, name);
  tree.write("d<i>/bad\xff", "not UTF-8");
  tree.write("d<i>/line\nbreak", "control");
  const Answer answer = get("/d%3Ci%3E/");
  EXPECT_EQ(answer.body.find("<script"), std::string::npos);
  EXPECT_EQ(answer.body.find("<i>"), std::string::npos);
  EXPECT_NE(answer.body.find("Index of /d&lt;i&gt;/"), std::string::npos);
  const std::vector<std::string> found = links(answer.body);
  EXPECT_EQ(found.size(), names.size() + 1);  // and "../"
  std::size_t followed = 0;
  for (const std::string& link : found) {
    if (link == "../") continue;
    EXPECT_EQ(link.find(':'), std::string::npos) << link;
    const Answer file = get("/d%3Ci%3E/" + link);
    EXPECT_EQ(file.status, 200) << link;
    EXPECT_NE(std::find(names.begin(), names.end(), file.body), names.end()) << link;
    ++followed;
  }
  EXPECT_EQ(followed, names.size());
}

TEST_F(ListingTest, LinksToTheOutsideAreNotLookedAt) {
  testing::TempTree outside;
  outside.write("secret", "x");
  tree.link(outside.path(), "out");
  EXPECT_EQ(links(get("/").body), (std::vector<std::string>{"out"}));
  EXPECT_EQ(get("/out/").status, 404);
}

TEST_F(ListingTest, IsBounded) {
  std::filesystem::create_directory(tree.path("d"));
  for (int i = 0; i < 10'001; ++i) {
    std::ofstream(tree.path("d/" + std::to_string(i)));
  }
  const Answer answer = get("/d/");
  EXPECT_EQ(links(answer.body).size(), 10'001U);  // 10'000 and "../"
  EXPECT_NE(answer.body.find("more names than are shown"), std::string::npos);
}

}  // namespace
}  // namespace pagewire::content
