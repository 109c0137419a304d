// The access log's lines: both formats, and what hostile bytes become in them.
#include <gtest/gtest.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <string>

#include "log/log.h"

namespace pagewire::log {
namespace {

AccessRecord record() {
  AccessRecord record;
  record.realtime_ns = 1'000'000'000'123'456'789;  // 2001-09-09T01:46:40.123456789Z
  record.duration_ns = 123'456;
  record.bytes = 1234;
  record.body_bytes = 1000;
  record.status = 206;
  record.path = "sendfile";
  record.reason = "large-body";
  record.peer.assign("192.0.2.7");
  record.method.assign("GET");
  record.target.assign("/v0/seg_000.ts?a=b");
  record.user_agent.assign("player/1.0");
  record.range.assign("bytes=0-999");
  return record;
}

std::string combined(const AccessRecord& record) {
  std::string line = "left over";
  format_line(record, Format::Combined, line);
  return line;
}

nlohmann::json json(const AccessRecord& record) {
  std::string line = "left over";
  format_line(record, Format::Json, line);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  return nlohmann::json::parse(line);  // throws on bad JSON and on bad UTF-8
}

TEST(Combined, IsWhatParsersOfCombinedExpect) {
  EXPECT_EQ(
      combined(record()),
      "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"GET /v0/seg_000.ts?a=b HTTP/1.1\" 206 1000 "
      "\"-\" \"player/1.0\" rt=0.000123 path=sendfile reason=large-body\n");
}

TEST(Combined, SaysWhoEncrypted) {
  AccessRecord secure = record();
  secure.tls = {.version = "TLSv1.3",
                .cipher = "TLS_AES_128_GCM_SHA256",
                .kernel = "none",
                .kernel_reason = "no-kernel-tls"};
  EXPECT_TRUE(combined(secure).ends_with(
      " reason=large-body tls=TLSv1.3 cipher=TLS_AES_128_GCM_SHA256 ktls=none:no-kernel-tls\n"));
  secure.tls.kernel = "kernel";
  secure.tls.kernel_reason = "";
  secure.complete = false;
  EXPECT_TRUE(combined(secure).ends_with(" ktls=kernel incomplete\n"));
  EXPECT_EQ(json(secure)["ktls"], "kernel");
  EXPECT_FALSE(json(secure).contains("ktls_rx"));
  EXPECT_EQ(json(secure)["tls"], "TLSv1.3");
  EXPECT_FALSE(json(record()).contains("tls"));
}

TEST(Combined, SaysWhoDecryptedWhereThatIsAsked) {
  AccessRecord secure = record();
  secure.tls = {.version = "TLSv1.3",
                .cipher = "TLS_AES_128_GCM_SHA256",
                .kernel = "kernel",
                .kernel_reason = "",
                .receive = "none",
                .receive_reason = "cipher"};
  EXPECT_TRUE(combined(secure).ends_with(" ktls=kernel ktls_rx=none:cipher\n"));
  EXPECT_EQ(json(secure)["ktls_rx"], "none");
  EXPECT_EQ(json(secure)["ktls_rx_reason"], "cipher");
  secure.tls.receive = "kernel";
  secure.tls.receive_reason = "";
  EXPECT_TRUE(combined(secure).ends_with(" ktls_rx=kernel\n"));
}

TEST(Combined, MarksWhatIsIncompleteCutOrMissing) {
  AccessRecord odd = record();
  odd.complete = false;
  odd.http10 = true;
  odd.target.assign("/" + std::string(400, 'x'));
  EXPECT_EQ(combined(odd),
            "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"GET /" + std::string(255, 'x') +
                "... HTTP/1.0\" 206 1000 \"-\" \"player/1.0\" rt=0.000123 path=sendfile "
                "reason=large-body incomplete\n");
  odd = record();
  odd.method.assign("");
  odd.path = odd.reason = {};
  odd.status = 400;
  EXPECT_NE(
      combined(odd).find("] \"-\" 400 1000 \"-\" \"player/1.0\" rt=0.000123 path=- reason=-\n"),
      std::string::npos);
}

TEST(Combined, NoByteCanEndTheQuotesOrTheLine) {
  for (int byte = 0; byte < 256; ++byte) {
    AccessRecord hostile = record();
    hostile.user_agent.assign(std::string("a") + static_cast<char>(byte) + "b");
    const std::string line = combined(hostile);
    EXPECT_EQ(line.find('\n'), line.size() - 1) << byte;
    EXPECT_EQ(std::count(line.begin(), line.end(), '"'), 6) << byte;
    for (const char c : line.substr(0, line.size() - 1)) {
      EXPECT_TRUE(c >= 0x20 && c < 0x7f) << byte;
    }
  }
  AccessRecord hostile = record();
  hostile.user_agent.assign("\"\\\n\x1b\xff");
  EXPECT_NE(combined(hostile).find("\"\\x22\\x5C\\x0A\\x1B\\xFF\""), std::string::npos);
}

TEST(Json, HasEveryMember) {
  const nlohmann::json got = json(record());
  EXPECT_EQ(got["time"], "2001-09-09T01:46:40.123456Z");
  EXPECT_EQ(got["peer"], "192.0.2.7");
  EXPECT_EQ(got["method"], "GET");
  EXPECT_EQ(got["target"], "/v0/seg_000.ts?a=b");
  EXPECT_EQ(got["version"], "HTTP/1.1");
  EXPECT_EQ(got["status"], 206);
  EXPECT_EQ(got["bytes"], 1234);
  EXPECT_EQ(got["body_bytes"], 1000);
  EXPECT_EQ(got["duration_s"], 0.000123);
  EXPECT_EQ(got["path"], "sendfile");
  EXPECT_EQ(got["reason"], "large-body");
  EXPECT_EQ(got["complete"], true);
  EXPECT_EQ(got["range"], "bytes=0-999");
  EXPECT_EQ(got["referer"], "");
  EXPECT_EQ(got["user_agent"], "player/1.0");
}

TEST(Json, IsValidWhateverTwoOrThreeBytesWereSent) {
  // Every lead byte with every second byte, followed by a continuation and by an ASCII letter.
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      for (const char third : {'\x80', 'z'}) {
        AccessRecord hostile = record();
        const std::string bytes{static_cast<char>(first), static_cast<char>(second), third};
        hostile.target.assign("/" + bytes);
        ASSERT_NO_THROW(json(hostile)) << first << " " << second;
      }
    }
  }
}

TEST(Json, KeepsGoodUtf8AndReplacesBad) {
  AccessRecord odd = record();
  odd.target.assign("/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\t\"\\");
  EXPECT_EQ(json(odd)["target"], "/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\t\"\\");
  odd.target.assign("/\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82");  // overlong, surrogate, too
                                                                       // large, cut short
  std::string expected = "/";
  for (int i = 0; i < 11; ++i) expected += "\xef\xbf\xbd";
  EXPECT_EQ(json(odd)["target"], expected);
  odd.target.assign(std::string(300, 'x'));
  EXPECT_EQ(json(odd)["target"], std::string(256, 'x') + "...");
}

}  // namespace
}  // namespace pagewire::log
