// Where a request head ends (scan_head), however its bytes arrive.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;
using std::string_view;
using namespace std::string_view_literals;
using State = HeadScan::State;

constexpr HeadLimits default_limits{};

struct ScanRow {
  string_view input;
  State state;
  std::size_t leading;
  std::size_t end;
};

const ScanRow scan_rows[] = {
    {""sv, State::Incomplete, 0, 0},
    {"\r"sv, State::Incomplete, 0, 0},
    {"\r\n"sv, State::Incomplete, 2, 0},
    {"G"sv, State::Incomplete, 0, 0},
    {"GET / HTTP/1.1\r"sv, State::Incomplete, 0, 0},
    {"GET / HTTP/1.1\r\n"sv, State::Incomplete, 0, 0},
    {"GET / HTTP/1.1\r\n\r"sv, State::Incomplete, 0, 0},
    {"GET / HTTP/1.1\r\n\r\n"sv, State::Complete, 0, 18},
    {"GET / HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n"sv, State::Complete, 0, 18},
    {"GET / HTTP/1.1\r\n\r\n\0\n\r"sv, State::Complete, 0, 18},
    {"\r\nGET / HTTP/1.1\r\n\r\n"sv, State::Complete, 2, 20},
    {"GET / HTTP/1.1\r\nA:\tb\r\n\r\n"sv, State::Complete, 0, 24},
    // One leading empty line is let pass, two are not, and a bare LF is not one.
    {"\r\n\r\n"sv, State::Malformed, 2, 0},
    {"\r\n\r\nGET / HTTP/1.1\r\n\r\n"sv, State::Malformed, 2, 0},
    {"\nGET / HTTP/1.1\r\n\r\n"sv, State::Malformed, 0, 0},
    {"\rGET / HTTP/1.1\r\n\r\n"sv, State::Malformed, 0, 0},
    // Told at once, while the rest has not come.
    {"GET / HTTP/1.1\n"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\nHost: x\n\n"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nHost: x\n"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nHost: x\r\n\n"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\rH"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\r\n"sv, State::Malformed, 0, 0},
    {"GET /\0"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nA: \0"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nA: \x01"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nA: \x0b"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nA: \x1b"sv, State::Malformed, 0, 0},
    {"\x16\x03\x01\x02\x00"sv, State::Malformed, 0, 0},  // a TLS hello on a plain port
    // obs-fold, and white space before the first field.
    {"GET / HTTP/1.1\r\nA: b\r\n c"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\nA: b\r\n\tc"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\n Host: h\r\n\r\n"sv, State::Malformed, 0, 0},
    {"GET / HTTP/1.1\r\n \r\n\r\n"sv, State::Malformed, 0, 0},
    // obs-text and DEL are no matter of line ends.
    {"GET / HTTP/1.1\r\nA: \xff\x80\x7f\r\n\r\n"sv, State::Complete, 0, 26},
};

TEST(ScanHead, TellsWhereAHeadEnds) {
  for (const ScanRow& row : scan_rows) {
    const HeadScan scan = scan_head(row.input, 0, default_limits);
    EXPECT_EQ(scan.state, row.state) << testing::PrintToString(row.input);
    EXPECT_EQ(scan.leading, row.leading) << testing::PrintToString(row.input);
    EXPECT_EQ(scan.end, row.end) << testing::PrintToString(row.input);
  }
}

TEST(ScanHead, FindsAControlByteAtEveryAlignment) {
  for (std::size_t at = 0; at < 40; ++at) {
    for (const char control : {'\0', '\x01', '\n', '\x1f', '\x0b'}) {
      string text = "GET /" + string(40, 'a');
      text[at] = control;
      EXPECT_EQ(scan_head(text, 0, default_limits).state, State::Malformed) << at;
    }
    string text = "GET /" + string(40, 'a');
    text[at] = '\x80';  // the sign bit must not look like a control byte
    EXPECT_EQ(scan_head(text, 0, default_limits).state, State::Incomplete) << at;
  }
}

// However the bytes come, the verdict is that of the whole, and it comes at the same byte.
TEST(ScanHead, DoesNotDependOnHowBytesArrive) {
  std::vector<string> inputs;
  for (const ScanRow& row : scan_rows) inputs.emplace_back(row.input);
  inputs.push_back("GET / HTTP/1.1\r\nA: b\r\nLong: " + string(90, 'x') + "\r\n\r\n");
  inputs.push_back("GET /" + string(200, 'y') + " HTTP/1.1\r\n\r\n");
  inputs.push_back("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const HeadLimits small{.head_bytes = 100, .target_bytes = 10, .fields = 5};
  for (const HeadLimits& limits : {default_limits, small}) {
    for (const string& input : inputs) {
      const HeadScan whole = scan_head(input, 0, limits);
      HeadScan scan;
      for (std::size_t size = 0; size <= input.size(); ++size) {
        scan = scan_head(string_view(input).substr(0, size), scan.resume, limits);
        ASSERT_LE(scan.resume, size);
        if (scan.state != State::Incomplete) break;
      }
      EXPECT_EQ(scan.state, whole.state) << testing::PrintToString(input);
      EXPECT_EQ(scan.leading, whole.leading) << testing::PrintToString(input);
      EXPECT_EQ(scan.end, whole.end) << testing::PrintToString(input);
    }
  }
}

TEST(ScanHead, KeepsLimitsWithoutWaitingForTheEnd) {
  const HeadLimits limits{.head_bytes = 1024, .target_bytes = 256, .fields = 100};
  // No CRLF yet: 256 bytes of target and 64 of the rest of the line may come.
  EXPECT_EQ(scan_head("GET /" + string(315, 'a'), 0, limits).state, State::Incomplete);
  EXPECT_EQ(scan_head("GET /" + string(316, 'a'), 0, limits).state, State::TargetTooLong);
  EXPECT_EQ(scan_head("GET /" + string(5000, 'a'), 0, limits).state, State::TargetTooLong);

  const string line = "GET / HTTP/1.1\r\n";
  EXPECT_EQ(scan_head(line + string(1024 - line.size(), 'a'), 0, limits).state, State::Incomplete);
  EXPECT_EQ(scan_head(line + string(1025 - line.size(), 'a'), 0, limits).state, State::TooLarge);
  const string full = line + "A: " + string(1024 - line.size() - 7, 'a') + "\r\n\r\n";
  ASSERT_EQ(full.size(), 1024U);
  EXPECT_EQ(scan_head(full, 0, limits).state, State::Complete);
  EXPECT_EQ(scan_head("\r\n" + full, 0, limits).state, State::Complete);
  EXPECT_EQ(scan_head(line + "B" + full.substr(line.size()), 0, limits).state, State::TooLarge);
}

}  // namespace
}  // namespace pagewire::http
