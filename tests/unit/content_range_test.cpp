// Ranges, multipart/byteranges, conditions and precompressed siblings, from request to bytes.
#include "unit/content_fixture.h"

namespace pagewire::content {
namespace {

using testing::Answer;
using testing::position_coded;

// Each runs twice: with the body kept in memory, and with slices of the file.
class RangeTest : public testing::SiteTest, public ::testing::WithParamInterface<bool> {
 protected:
  RangeTest() {
    if (GetParam()) settings.small_body = ByteCount{64 * kib};
    if (!GetParam()) settings.small_body = ByteCount{0};
    tree.write("a.ts", bytes);
  }
  const std::string bytes = position_coded(10'000);
};

INSTANTIATE_TEST_SUITE_P(Bodies, RangeTest, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "memory" : "file"; });

struct Single {
  const char* range;
  std::size_t offset;
  std::size_t count;
};

TEST_P(RangeTest, Single) {
  constexpr Single ranges[] = {
      {"0-0", 0, 1},
      {"0-9999", 0, 10'000},
      {"0-", 0, 10'000},
      {"1000-1999", 1000, 1000},
      {"4095-4097", 4095, 3},
      {"9999-", 9999, 1},
      {"9999-9999", 9999, 1},
      {"-1", 9999, 1},
      {"-5", 9995, 5},
      {"-20000", 0, 10'000},
      {"5-9223372036854775807", 5, 9995},
      {"5-99999999999999999999999", 5, 9995},
  };
  for (const Single& item : ranges) {
    const Answer answer = get("/a.ts", {std::string("Range: bytes=") + item.range});
    EXPECT_EQ(answer.status, 206) << item.range;
    EXPECT_EQ(answer.body, bytes.substr(item.offset, item.count)) << item.range;
    EXPECT_EQ(answer.field("Content-Range"), "bytes " + std::to_string(item.offset) + "-" +
                                                 std::to_string(item.offset + item.count - 1) +
                                                 "/10000");
    EXPECT_EQ(answer.field("Content-Type"), "video/mp2t");
    EXPECT_TRUE(answer.field("ETag").has_value());
    EXPECT_EQ(response.segments()[1].kind,
              GetParam() ? Segment::Kind::Memory : Segment::Kind::File);
  }
}

TEST_P(RangeTest, Unsatisfiable) {
  for (const char* range : {"10000-", "10000-10001", "-0", "99999999999999999999-"}) {
    const Answer answer = get("/a.ts", {std::string("Range: bytes=") + range});
    EXPECT_EQ(answer.status, 416) << range;
    EXPECT_EQ(answer.field("Content-Range"), "bytes */10000");
    EXPECT_FALSE(response.file.has_file());
  }
}

TEST_P(RangeTest, IgnoredWhenItIsNone) {
  for (const char* range : {"lines=0-1", "bytes=9-5", "bytes=a-b", "bytes"}) {
    const Answer answer = get("/a.ts", {std::string("Range: ") + range});
    EXPECT_EQ(answer.status, 200) << range;
    EXPECT_EQ(answer.body, bytes);
  }
}

TEST_P(RangeTest, Multipart) {
  const Answer answer = get("/a.ts", {"Range: bytes=0-9,4096-4200,-3"});
  EXPECT_EQ(answer.status, 206);
  EXPECT_EQ(answer.field("Content-Range"), std::nullopt);
  const std::string type = answer.field("Content-Type").value_or("");
  const std::string prefix = "multipart/byteranges; boundary=";
  ASSERT_TRUE(type.starts_with(prefix)) << type;
  const std::string boundary = type.substr(prefix.size());
  EXPECT_GE(boundary.size(), 16U);
  const auto part = [&](const std::string& range, std::size_t offset, std::size_t count) {
    return "--" + boundary + "\r\nContent-Type: video/mp2t\r\nContent-Range: bytes " + range +
           "/10000\r\n\r\n" + bytes.substr(offset, count) + "\r\n";
  };
  EXPECT_EQ(answer.body, part("0-9", 0, 10) + part("4096-4200", 4096, 105) +
                             part("9997-9999", 9997, 3) + "--" + boundary + "--\r\n");
  EXPECT_EQ(answer.field("Content-Length"), std::to_string(answer.body.size()));
  ASSERT_EQ(response.segments().size(), 8U);
  const Answer again = get("/a.ts", {"Range: bytes=0-9,4096-4200,-3"});
  EXPECT_NE(again.field("Content-Type"), type) << "a boundary is used once";
}

TEST_P(RangeTest, TouchingRangesAreOnePart) {
  const Answer answer = get("/a.ts", {"Range: bytes=0-9,10-19,5-14"});
  EXPECT_EQ(answer.status, 206);
  EXPECT_EQ(answer.body, bytes.substr(0, 20));
  EXPECT_EQ(answer.field("Content-Range"), "bytes 0-19/10000");
}

TEST_P(RangeTest, FloodIsRefused) {
  std::string field = "Range: bytes=0-";
  for (int i = 0; i < 200; ++i) field += ",0-";
  const Answer answer = get("/a.ts", {field});
  EXPECT_EQ(answer.status, 416);
  EXPECT_EQ(answer.field("Content-Range"), "bytes */10000");
}

TEST_P(RangeTest, IfRange) {
  const std::string range = "Range: bytes=10-19";
  const std::string etag = get("/a.ts").field("ETag").value_or("");
  EXPECT_EQ(get("/a.ts", {range, "If-Range: " + etag}).status, 206);
  EXPECT_EQ(get("/a.ts", {range, "If-Range: W/" + etag}).status, 200);
  EXPECT_EQ(get("/a.ts", {range, "If-Range: \"other\""}).body, bytes);
  EXPECT_EQ(get("/a.ts", {range, "If-Range: Tue, 14 Nov 2023 22:13:20 GMT"}).status, 206);
  EXPECT_EQ(get("/a.ts", {range, "If-Range: Tue, 14 Nov 2023 22:13:21 GMT"}).status, 200);
}

TEST_P(RangeTest, Conditions) {
  const Answer full = get("/a.ts");
  const std::string etag = full.field("ETag").value_or("");
  const std::string same = "Tue, 14 Nov 2023 22:13:20 GMT";
  const std::string before = "Tue, 14 Nov 2023 22:13:19 GMT";
  for (const std::string& condition :
       {"If-None-Match: " + etag, "If-None-Match: W/" + etag, std::string("If-None-Match: *"),
        "If-None-Match: \"x\", " + etag, "If-Modified-Since: " + same}) {
    const Answer answer = get("/a.ts", {condition});
    EXPECT_EQ(answer.status, 304) << condition;
    EXPECT_EQ(response.segments().size(), 1U);
    EXPECT_FALSE(response.file.has_file());
    for (const char* field : {"ETag", "Cache-Control", "Last-Modified", "Server"}) {
      EXPECT_EQ(answer.field(field), full.field(field)) << field;
    }
    EXPECT_EQ(answer.field("Content-Type"), std::nullopt);
    EXPECT_EQ(ask("HEAD /a.ts", {condition}).status, 304);
  }
  for (const std::string& condition :
       {std::string("If-None-Match: \"x\""), "If-Modified-Since: " + before, "If-Match: " + etag,
        std::string("If-Match: *"), "If-Unmodified-Since: " + same,
        std::string("If-Modified-Since: yesterday")}) {
    EXPECT_EQ(get("/a.ts", {condition}).status, 200) << condition;
  }
  for (const std::string& condition :
       {std::string("If-Match: \"x\""), "If-Match: W/" + etag, "If-Unmodified-Since: " + before}) {
    EXPECT_EQ(get("/a.ts", {condition, "Range: bytes=0-1"}).status, 412) << condition;
  }
  // The ETag has the last word over the date.
  EXPECT_EQ(get("/a.ts", {"If-None-Match: \"x\"", "If-Modified-Since: " + same}).status, 200);
  EXPECT_EQ(get("/none.ts", {"If-None-Match: *"}).status, 404);
}

class ConditionTest : public testing::SiteTest {};

TEST_F(ConditionTest, TimesThatAreNoUsableDate) {
  for (const std::int64_t mtime_s : {std::int64_t{0}, now.realtime_s + 60}) {
    tree.write("a.ts", position_coded(100), mtime_s);
    pass_validity();
    const Answer answer = get("/a.ts");
    EXPECT_EQ(answer.field("Last-Modified"), std::nullopt) << mtime_s;
    const std::string later = "Sat, 15 Jan 2028 08:00:00 GMT";
    EXPECT_EQ(get("/a.ts", {"If-Modified-Since: " + later}).status, 200) << mtime_s;
    EXPECT_EQ(get("/a.ts", {"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"}).status, 200);
    EXPECT_EQ(get("/a.ts", {"Range: bytes=0-1", "If-Range: Thu, 01 Jan 1970 00:00:00 GMT"}).status,
              200);
    const std::string etag = answer.field("ETag").value_or("");
    EXPECT_EQ(get("/a.ts", {"If-None-Match: " + etag, "If-Modified-Since: " + later}).status, 304);
  }
}

class PrecompressedTest : public testing::SiteTest {
 protected:
  PrecompressedTest() {
    tree.write("app.js", "plain");
    tree.write("app.js.gz", "gzipped");
    tree.write("app.js.br", "brotli");
    tree.write("only.css", "plain");
    tree.write("a.ts", "plain");
    tree.write("a.ts.gz", "gzipped");
  }
};

struct Negotiated {
  const char* accept_encoding;
  const char* body;
  const char* content_encoding;  ///< "" for none
};

TEST_F(PrecompressedTest, ByWeight) {
  constexpr Negotiated table[] = {
      {"gzip, deflate, br, zstd", "brotli", "br"},
      {"gzip", "gzipped", "gzip"},
      {"br;q=0.5, gzip;q=0.9", "gzipped", "gzip"},
      {"zstd", "plain", ""},
      {"zstd, gzip;q=0.1", "gzipped", "gzip"},
      {"br;q=0, *", "gzipped", "gzip"},
      {"identity, gzip;q=0.5", "plain", ""},
      {"identity;q=0", "plain", ""},
      {"*;q=0", "plain", ""},
      {"", "plain", ""},
  };
  for (const Negotiated& item : table) {
    const Answer answer = get("/app.js", {std::string("Accept-Encoding: ") + item.accept_encoding});
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, item.body) << item.accept_encoding;
    EXPECT_EQ(answer.field("Content-Encoding").value_or(""), item.content_encoding);
    EXPECT_EQ(answer.field("Content-Type"), "text/javascript; charset=utf-8");
    EXPECT_EQ(answer.field("Vary"), "Accept-Encoding");
  }
  const Answer plain = get("/app.js");
  EXPECT_EQ(plain.body, "plain");
  EXPECT_EQ(plain.field("Vary"), "Accept-Encoding");
}

TEST_F(PrecompressedTest, EachFormHasItsOwnValidator) {
  const std::vector<std::string> gzip = {"Accept-Encoding: gzip"};
  const std::string plain_tag = get("/app.js").field("ETag").value_or("");
  const std::string gzip_tag = get("/app.js", gzip).field("ETag").value_or("");
  EXPECT_NE(plain_tag, gzip_tag);
  const Answer same = get("/app.js", {gzip[0], "If-None-Match: " + gzip_tag});
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.field("Vary"), "Accept-Encoding");
  EXPECT_EQ(same.field("ETag"), gzip_tag);
  EXPECT_EQ(get("/app.js", {gzip[0], "If-None-Match: " + plain_tag}).status, 200);
  const Answer part = get("/app.js", {gzip[0], "Range: bytes=1-2"});
  EXPECT_EQ(part.body, "zi");
  EXPECT_EQ(part.field("Content-Encoding"), "gzip");
  EXPECT_EQ(part.field("Content-Range"), "bytes 1-2/7");
}

TEST_F(PrecompressedTest, SiblingAskedForByItsOwnName) {
  EXPECT_EQ(get("/app.js", {"Accept-Encoding: gzip"}).field("Content-Encoding"), "gzip");
  const Answer answer = get("/app.js.gz", {"Accept-Encoding: gzip"});
  EXPECT_EQ(answer.body, "gzipped");
  EXPECT_EQ(answer.field("Content-Encoding"), std::nullopt);
  EXPECT_EQ(answer.field("Content-Type"), "application/gzip");
}

TEST_F(PrecompressedTest, NotForMediaAndNotWithoutThePlainFile) {
  const Answer media = get("/a.ts", {"Accept-Encoding: gzip"});
  EXPECT_EQ(media.body, "plain");
  EXPECT_EQ(media.field("Vary"), std::nullopt);
  tree.write("lone.js.gz", "gzipped");
  EXPECT_EQ(get("/lone.js", {"Accept-Encoding: gzip"}).status, 404);
}

TEST_F(PrecompressedTest, SiblingThatAppearsIsSeenAfterValidity) {
  const std::vector<std::string> gzip = {"Accept-Encoding: gzip"};
  EXPECT_EQ(get("/only.css", gzip).body, "plain");
  tree.write("only.css.gz", "gzipped");
  EXPECT_EQ(get("/only.css", gzip).body, "plain");
  pass_validity();
  EXPECT_EQ(get("/only.css", gzip).body, "gzipped");
  std::filesystem::remove(tree.path("only.css.gz"));
  pass_validity();
  EXPECT_EQ(get("/only.css", gzip).body, "plain");
}

TEST_F(PrecompressedTest, OfTheIndex) {
  tree.write("index.html", "plain");
  tree.write("index.html.br", "brotli");
  EXPECT_EQ(get("/", {"Accept-Encoding: br"}).body, "brotli");
}

TEST_F(PrecompressedTest, CanBeOff) {
  settings.precompressed = false;
  const Answer answer = get("/app.js", {"Accept-Encoding: gzip"});
  EXPECT_EQ(answer.body, "plain");
  EXPECT_EQ(answer.field("Vary"), std::nullopt);
}

}  // namespace
}  // namespace pagewire::content
