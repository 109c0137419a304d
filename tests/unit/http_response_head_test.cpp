// Response heads in a buffer of fixed size.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;

void write_typical_head(HeadWriter& writer) {
  writer.status(206);
  writer.field("Content-Type", "video/mp2t");
  writer.field("Content-Length", std::uint64_t{100});
  writer.raw("A: b\r\nC: d\r\n");
  writer.content_range({.offset = FileOffset{0}, .count = ByteCount{100}}, ByteCount{1000});
  writer.end();
}

constexpr std::string_view typical_head =
    "HTTP/1.1 206 Partial Content\r\n"
    "Content-Type: video/mp2t\r\n"
    "Content-Length: 100\r\n"
    "A: b\r\nC: d\r\n"
    "Content-Range: bytes 0-99/1000\r\n"
    "\r\n";

TEST(HeadWriter, WritesAHead) {
  std::array<char, 512> buffer;
  HeadWriter writer(buffer);
  write_typical_head(writer);
  EXPECT_EQ(writer.text(), typical_head);
  EXPECT_EQ(writer.size(), typical_head.size());
  EXPECT_FALSE(writer.overflowed());
  EXPECT_EQ(writer.text().data(), buffer.data());
}

TEST(HeadWriter, NumbersOfEverySize) {
  std::array<char, 512> buffer;
  HeadWriter writer(buffer);
  const std::uint64_t max = max_file_size_bytes;
  writer.field("A", std::uint64_t{0});
  writer.field("B", ~std::uint64_t{0});
  writer.content_range({.offset = FileOffset{max - 1}, .count = ByteCount{1}}, ByteCount{max});
  writer.content_range_unsatisfied(ByteCount{max});
  writer.content_range_unsatisfied(ByteCount{0});
  EXPECT_EQ(writer.text(),
            "A: 0\r\n"
            "B: 18446744073709551615\r\n"
            "Content-Range: bytes 9223372036854775806-9223372036854775806/9223372036854775807\r\n"
            "Content-Range: bytes */9223372036854775807\r\n"
            "Content-Range: bytes */0\r\n");
}

// At every size that is too small: no byte past the buffer, a prefix in it, and it says so.
TEST(HeadWriter, NeverOverruns) {
  for (std::size_t size = 0; size <= typical_head.size(); ++size) {
    string buffer(size + 16, '#');
    HeadWriter writer(std::span<char>(buffer.data(), size));
    write_typical_head(writer);
    EXPECT_EQ(writer.overflowed(), size < typical_head.size()) << size;
    EXPECT_LE(writer.size(), size);
    EXPECT_TRUE(typical_head.starts_with(writer.text())) << size;
    EXPECT_EQ(buffer.substr(size), string(16, '#')) << size;
  }
}

TEST(HeadWriter, AddsNothingAfterAnOverflow) {
  std::array<char, 20> buffer;
  HeadWriter writer(buffer);
  writer.raw("12345678901234567890-");
  writer.raw("ab");
  EXPECT_TRUE(writer.overflowed());
  EXPECT_EQ(writer.text(), "");
}

TEST(ReasonPhrase, EveryStatusHasItsOwn) {
  EXPECT_EQ(reason_phrase(200), "OK");
  EXPECT_EQ(reason_phrase(304), "Not Modified");
  EXPECT_EQ(reason_phrase(404), "Not Found");
  EXPECT_EQ(reason_phrase(416), "Range Not Satisfiable");
  for (const int status : {100, 200, 204, 206, 301, 304, 308, 400, 403, 404, 405,
                           408, 412, 413, 414, 416, 417, 431, 500, 501, 503, 505}) {
    EXPECT_NE(reason_phrase(status), "Unknown") << status;
  }
  EXPECT_EQ(reason_phrase(0), "Unknown");
  EXPECT_EQ(reason_phrase(999), "Unknown");
}

}  // namespace
}  // namespace pagewire::http
