// Media types and Cache-Control by pattern.
#include "content/cache_rules.h"
#include "content/mime.h"
#include "unit/content_fixture.h"

namespace pagewire::content {
namespace {

struct Type {
  const char* path;
  const char* name;
};

TEST(MimeType, ByExtension) {
  constexpr Type types[] = {
      {"master.m3u8", "application/vnd.apple.mpegurl"},
      {"v0/seg_000.ts", "video/mp2t"},
      {"a.m4s", "video/iso.segment"},
      {"a.mp4", "video/mp4"},
      {"a.m4v", "video/mp4"},
      {"a.m4a", "audio/mp4"},
      {"a.cmfv", "video/mp4"},
      {"a.cmfa", "audio/mp4"},
      {"a.mpd", "application/dash+xml"},
      {"a.vtt", "text/vtt; charset=utf-8"},
      {"a.aac", "audio/aac"},
      {"a.ac3", "audio/ac3"},
      {"a.ec3", "audio/eac3"},
      {"a.key", "application/octet-stream"},
      {"index.html", "text/html; charset=utf-8"},
      {"a.js", "text/javascript; charset=utf-8"},
      {"a.css", "text/css; charset=utf-8"},
      {"a.json", "application/json"},
      {"a.wasm", "application/wasm"},
      {"a.svg", "image/svg+xml"},
      {"a.webp", "image/webp"},
      {"a.woff2", "font/woff2"},
      {"a.zst", "application/zstd"},
      {"a.3gp", "video/3gpp"},
      {"A.TS", "video/mp2t"},
      {"a.b.Html", "text/html; charset=utf-8"},
      {"noextension", "application/octet-stream"},
      {"dir.ts/noextension", "application/octet-stream"},
      {"a.", "application/octet-stream"},
      {"a.unknown", "application/octet-stream"},
      {"a.averyveryverylongextension", "application/octet-stream"},
      {"", "application/octet-stream"},
  };
  for (const Type& type : types) EXPECT_EQ(mime_type(type.path), type.name) << type.path;
}

TEST(MimeType, SiblingsOnlyOfWhatCompresses) {
  for (const char* path : {"a.html", "a.js", "a.m3u8", "a.mpd", "a.svg", "a.wasm", "a.json"}) {
    EXPECT_TRUE(media_type(path).compressible) << path;
  }
  for (const char* path : {"a.ts", "a.m4s", "a.mp4", "a.jpg", "a.woff2", "a.gz", "a"}) {
    EXPECT_FALSE(media_type(path).compressible) << path;
  }
}

TEST(CacheRules, Defaults) {
  constexpr std::string_view forever = "public, max-age=31536000, immutable";
  EXPECT_EQ(cache_control_for({}, "live/index.m3u8"), "max-age=1");
  EXPECT_EQ(cache_control_for({}, "manifest.mpd"), "max-age=1");
  for (const char* path : {"v0/seg.ts", "a.m4s", "init.mp4", "a.m4a", "a.cmfv", "f.woff2"}) {
    EXPECT_EQ(cache_control_for({}, path), forever) << path;
  }
  EXPECT_EQ(cache_control_for({}, "index.html"), "no-cache");
  EXPECT_EQ(cache_control_for({}, "a.js"), "");
}

TEST(CacheRules, FirstOfTheUsersDecides) {
  const std::vector<CacheRule> rules = {{"live/*.ts", "max-age=5"},
                                        {"*.ts", ""},
                                        {"/top.js", "max-age=7"},
                                        {"vod/*", "max-age=9"},
                                        {"data-??.bin", "max-age=3"}};
  EXPECT_EQ(cache_control_for(rules, "live/a.ts"), "max-age=5");
  EXPECT_EQ(cache_control_for(rules, "vod/a.ts"), "");
  EXPECT_EQ(cache_control_for(rules, "top.js"), "max-age=7");
  EXPECT_EQ(cache_control_for(rules, "deep/top.js"), "");
  EXPECT_EQ(cache_control_for(rules, "vod/deep/down.js"), "max-age=9");
  EXPECT_EQ(cache_control_for(rules, "x/data-01.bin"), "max-age=3");
  EXPECT_EQ(cache_control_for(rules, "x/data-001.bin"), "");
  EXPECT_EQ(cache_control_for(rules, "x.m3u8"), "max-age=1");
}

using CacheRulesOfSite = testing::SiteTest;

TEST_F(CacheRulesOfSite, AreInTheHead) {
  settings.cache_rules = {{"*.ts", "max-age=42"}, {"*.html", ""}};
  tree.write("a.ts", "x");
  tree.write("a.html", "x");
  EXPECT_EQ(get("/a.ts").field("Cache-Control"), "max-age=42");
  EXPECT_EQ(get("/a.html").field("Cache-Control"), std::nullopt);
}

TEST_F(CacheRulesOfSite, ThatBreakAHeadAreRefused) {
  for (const std::string& value : {std::string("a\r\nX: y"), std::string(600, 'a')}) {
    settings.cache_rules = {{"*.ts", value}};
    const auto opened = Site::open(settings);
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().errno_value, EINVAL);
  }
  settings.cache_rules = {{"*.ts", std::string(512, 'a')}};
  settings.cors = true;
  tree.write("a.ts", "x");
  EXPECT_EQ(get("/a.ts", {"Range: bytes=0-0"}).status, 206);
}

}  // namespace
}  // namespace pagewire::content
