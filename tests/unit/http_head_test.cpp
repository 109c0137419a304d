// Request heads: where they end (scan_head), what they say and what is refused (parse_head).
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

void expect_inside(string_view view, string_view input, const char* what) {
  if (view.empty() || view == "/") return;  // "/" of an empty path is ours
  EXPECT_GE(view.data(), input.data()) << what;
  EXPECT_LE(view.data() + view.size(), input.data() + input.size()) << what;
}

struct Parsed {
  string input;  // the views of `request` point into it
  HeadFault fault;
  Request request;
};

// Takes a head the way a connection does: first to its end, then apart.
void parse(string_view text, Parsed& into, const HeadLimits& limits = default_limits) {
  into.input = string(text);
  const HeadScan scan = scan_head(into.input, 0, limits);
  ASSERT_EQ(scan.state, State::Complete) << text;
  const string_view head = string_view(into.input).substr(scan.leading, scan.end - scan.leading);
  into.fault = parse_head(head, limits, into.request);
  expect_inside(into.request.target, head, "target");
  expect_inside(into.request.path, head, "path");
  expect_inside(into.request.host, head, "host");
}

int status_of(string_view text) {
  const HeadScan scan = scan_head(text, 0, default_limits);
  switch (scan.state) {
    case State::Incomplete:
      return -1;
    case State::Malformed:
      return 400;
    case State::TargetTooLong:
      return 414;
    case State::TooLarge:
      return 431;
    case State::Complete:
      break;
  }
  Request request;
  const string_view head = text.substr(scan.leading, scan.end - scan.leading);
  return parse_head(head, default_limits, request).status;
}

string get_with(string_view fields) {
  return "GET /f HTTP/1.1\r\nHost: h\r\n" + string(fields) + "\r\n";
}

// ---------------------------------------------------------------- where a head ends

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
  inputs.push_back(get_with("A: b\r\nLong: " + string(90, 'x') + "\r\n"));
  inputs.push_back("GET /" + string(200, 'y') + " HTTP/1.1\r\n\r\n");
  inputs.push_back("\r\n" + get_with(""));
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

// ---------------------------------------------------------------- what is refused

struct StatusRow {
  string_view head;
  int status;
};

TEST(ParseHead, RequestLines) {
  const StatusRow rows[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET / HTTP/1.0\r\n\r\n", 0},
      {"FROB / HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/9.9\r\nHost: h\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\n", 505},
      {"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/11.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1,1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/a.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTPS/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/+1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / \r\nHost: h\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"G\xc3\x89T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
  };
  for (const StatusRow& row : rows) EXPECT_EQ(status_of(row.head), row.status) << row.head;
}

TEST(ParseHead, Targets) {
  const StatusRow rows[] = {
      {"GET /a/b?c=d HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET // HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET /{a}|b HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"POST * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://a/b HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET HTTPS://a:443/b HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET http://a HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET http:///b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://?q HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://u@a/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://a:b/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http:/a/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET ftp://a/b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET ://a/b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      // Absolute-form does not make Host needless (RFC 9112 3.2.2).
      {"GET http://a/b HTTP/1.1\r\n\r\n", 400},
      {"GET http://a/b HTTP/1.1\r\nHost: h h\r\n\r\n", 400},
      {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /a\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400},
  };
  for (const StatusRow& row : rows) EXPECT_EQ(status_of(row.head), row.status) << row.head;
}

TEST(ParseHead, Hosts) {
  const StatusRow rows[] = {
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:8080\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: my_host-1.example.\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: a%20b\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nhost:127.0.0.1:8080 \t\r\n\r\n", 0},
  };
  for (const StatusRow& row : rows) EXPECT_EQ(status_of(row.head), row.status) << row.head;
}

TEST(ParseHead, FieldsAndFraming) {
  struct Row {
    string_view fields;
    int status;
  };
  const Row rows[] = {
      {"", 0},
      {"A: b\r\n", 0},
      {"A:\r\n", 0},
      {"A: \xc3\xa4\r\n", 0},
      {"A : b\r\n", 400},
      {"A\t: b\r\n", 400},
      {"A b: c\r\n", 400},
      {": b\r\n", 400},
      {"A\r\n", 400},
      {"A(: b\r\n", 400},
      {"A\xc3: b\r\n", 400},
      {"A: b\x7f\r\n", 400},
      {"A: b\r\n c\r\n", 400},
      {"A: b\r\n\tc\r\n", 400},
      {"A: \r\n c\r\n", 400},
      {"A: b\rc\r\n", 400},
      {"A: b\nB: c\r\n", 400},
      {"A: b\x01\r\n", 400},
      {"Content-Length: 0\r\n", 0},
      {"Content-Length: 00017\r\n", 0},
      {"Content-Length: 9223372036854775807\r\n", 0},
      {"Content-Length: 9223372036854775808\r\n", 400},
      {"Content-Length: 18446744073709551615\r\n", 400},
      {"Content-Length: 18446744073709551616\r\n", 400},
      {"Content-Length: 99999999999999999999999999\r\n", 400},
      {"Content-Length: +5\r\n", 400},
      {"Content-Length: -5\r\n", 400},
      {"Content-Length: 0x5\r\n", 400},
      {"Content-Length: 5 5\r\n", 400},
      {"Content-Length: 5,5\r\n", 400},
      {"Content-Length: 5, 5\r\n", 400},
      {"Content-Length: ,5\r\n", 400},
      {"Content-Length: 5,\r\n", 400},
      {"Content-Length: 5.0\r\n", 400},
      {"Content-Length: 5e1\r\n", 400},
      {"Content-Length: \"5\"\r\n", 400},
      {"Content-Length:\r\n", 400},
      {"Content-Length: a\r\n", 400},
      {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
      {"Content-Length: 5\r\nContent-Length: 6\r\n", 400},
      {"Content-Length: 5\r\ncontent-length: 5\r\n", 400},
      {"Content-Length : 5\r\n", 400},
      {"Transfer-Encoding: chunked\r\n", 0},
      {"Transfer-Encoding: CHUNKED\r\n", 0},
      {"Transfer-Encoding: ,chunked,\r\n", 0},
      {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400},
      {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", 400},
      {"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", 400},
      {"Transfer-Encoding: ,chunked\r\nContent-Length: 5\r\n", 400},
      {"Transfer-Encoding: gzip;a=b, chunked\r\nContent-Length: 5\r\n", 400},
      {"Transfer-Encoding: chunked, chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding: chunked, gzip\r\n", 400},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", 400},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400},
      {"Transfer-Encoding: gzip\r\n", 400},
      {"Transfer-Encoding: identity\r\n", 400},
      {"Transfer-Encoding:\r\n", 400},
      {"Transfer-Encoding: xchunked\r\n", 400},
      {"Transfer-Encoding: chunkedx\r\n", 400},
      {"Transfer-Encoding: chunked;q=1\r\n", 400},
      {"Transfer-Encoding: \"chunked\"\r\n", 400},
      {"Transfer-Encoding: \x0b"
       "chunked\r\n",
       400},
      {"Transfer-Encoding : chunked\r\n", 400},
      {"Transfer-Encoding: gzip, chunked\r\n", 501},
      {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501},
      {"Transfer-Encoding: identity, chunked\r\n", 501},
      {"Connection: close\r\n", 0},
      {"Connection: \r\n", 0},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(status_of(get_with(row.fields)), row.status) << testing::PrintToString(row.fields);
  }
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\n"), 0);
}

TEST(ParseHead, Limits) {
  const HeadLimits limits{.head_bytes = 400, .target_bytes = 40, .fields = 5};
  const auto status = [&limits](const string& head) {
    Request request;
    return parse_head(head, limits, request).status;
  };
  const string host = " HTTP/1.1\r\nHost: h\r\n";
  EXPECT_EQ(status("GET /" + string(39, 'a') + host + "\r\n"), 0);
  EXPECT_EQ(status("GET /" + string(40, 'a') + host + "\r\n"), 414);
  EXPECT_EQ(status("GET /" + string(40, 'a') + " HTTP/3.0\r\n\r\n"), 414);
  EXPECT_EQ(status("GET /" + host + "A:1\r\nA:2\r\nA:3\r\nA:4\r\n\r\n"), 0);
  EXPECT_EQ(status("GET /" + host + "A:1\r\nA:2\r\nA:3\r\nA:4\r\nA:5\r\n\r\n"), 431);
  EXPECT_EQ(status("GET /" + host + "A: " + string(400, 'a') + "\r\n\r\n"), 431);
}

// parse_head alone must hold what scan_head promises it, so that no caller can get a view that
// points elsewhere.
TEST(ParseHead, RefusesWhatScanHeadWouldNotHaveGivenIt) {
  for (const string_view head :
       {""sv, "\r\n"sv, "\r\n\r\n"sv, "GET / HTTP/1.1\r\nHost: h\r\n"sv,
        "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"sv, "GET / HTTP/1.1\r\nHost: h\r\n\r\nX"sv,
        "GET / HTTP/1.1\nHost: h\n\n"sv, "GET / HTTP/1.1\r\nHost: h\r\nIf-Range: a\r\n b\r\n\r\n"sv,
        "GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n"sv}) {
    Request request;
    EXPECT_EQ(parse_head(head, default_limits, request).status, 400) << head;
  }
}

// ---------------------------------------------------------------- what is understood

TEST(ParseHead, Methods) {
  struct Row {
    string_view text;
    Method method;
  };
  const Row rows[] = {
      {"GET", Method::Get},          {"HEAD", Method::Head},
      {"OPTIONS", Method::Options},  {"POST", Method::NotAllowed},
      {"PUT", Method::NotAllowed},   {"DELETE", Method::NotAllowed},
      {"TRACE", Method::NotAllowed}, {"PATCH", Method::NotAllowed},
      {"get", Method::Unknown},      {"Get", Method::Unknown},
      {"PROPFIND", Method::Unknown}, {"GETX", Method::Unknown},
      {"X", Method::Unknown},        {"!#$%&'*+-.^_`|~1", Method::Unknown},
  };
  for (const Row& row : rows) {
    Parsed parsed;
    parse(string(row.text) + " / HTTP/1.1\r\nHost: h\r\n\r\n", parsed);
    EXPECT_EQ(parsed.fault.status, 0) << row.text << " " << parsed.fault.why;
    EXPECT_EQ(parsed.request.method, row.method) << row.text;
    EXPECT_EQ(parsed.request.method_text, row.text);
  }
  Parsed connect;
  parse("CONNECT a:443 HTTP/1.1\r\nHost: h\r\n\r\n", connect);
  EXPECT_EQ(connect.request.method, Method::NotAllowed);
  EXPECT_EQ(connect.request.host, "a:443");
}

TEST(ParseHead, TargetParts) {
  struct Row {
    string_view target;
    string_view path;
    string_view query;
    string_view host;
  };
  const Row rows[] = {
      {"/", "/", "", "h"},
      {"/a/b.ts", "/a/b.ts", "", "h"},
      {"/a?b", "/a", "b", "h"},
      {"/a?", "/a", "", "h"},
      {"/a?b?c/d", "/a", "b?c/d", "h"},
      {"/a%2Fb%00", "/a%2Fb%00", "", "h"},
      {"//a", "//a", "", "h"},
      {"/http://x/y", "/http://x/y", "", "h"},
      {"http://other:80/a?b", "/a", "b", "other:80"},
      {"http://other", "/", "", "other"},
      {"http://other?q", "/", "q", "other"},
      {"hTTp://[::1]:80/x", "/x", "", "[::1]:80"},
      {"https://other/", "/", "", "other"},
  };
  for (const Row& row : rows) {
    Parsed parsed;
    parse("GET " + string(row.target) + " HTTP/1.1\r\nHost: h\r\n\r\n", parsed);
    EXPECT_EQ(parsed.fault.status, 0) << row.target;
    EXPECT_EQ(parsed.request.target, row.target);
    EXPECT_EQ(parsed.request.path, row.path) << row.target;
    EXPECT_EQ(parsed.request.query, row.query) << row.target;
    EXPECT_EQ(parsed.request.host, row.host) << row.target;
    EXPECT_FALSE(parsed.request.asterisk);
  }
  Parsed asterisk;
  parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", asterisk);
  EXPECT_TRUE(asterisk.request.asterisk);
  EXPECT_EQ(asterisk.request.path, "/");
}

TEST(ParseHead, KeepAlive) {
  struct Row {
    string_view version;
    string_view fields;
    bool keep_alive;
  };
  const Row rows[] = {
      {"1.1", "", true},
      {"1.1", "Connection: close\r\n", false},
      {"1.1", "connection: CLOSE\r\n", false},
      {"1.1", "Connection: keep-alive\r\n", true},
      {"1.1", "Connection: keep-alive, close\r\n", false},
      {"1.1", "Connection: close, keep-alive\r\n", false},
      {"1.1", "Connection: upgrade,, close ,\r\n", false},
      {"1.1", "Connection: keep-alive\r\nConnection: close\r\n", false},
      {"1.1", "Connection: closed\r\n", true},
      {"1.1", "Proxy-Connection: close\r\n", true},
      {"1.0", "", false},
      {"1.0", "Connection: keep-alive\r\n", true},
      {"1.0", "Connection: Keep-Alive\r\n", true},
      {"1.0", "Connection: close\r\n", false},
      {"1.0", "Connection: keep-alive, close\r\n", false},
      {"1.0", "Connection: close\r\nConnection: keep-alive\r\n", false},
      {"1.0", "Proxy-Connection: keep-alive\r\n", false},
  };
  for (const Row& row : rows) {
    Parsed parsed;
    parse("GET / HTTP/" + string(row.version) + "\r\nHost: h\r\n" + string(row.fields) + "\r\n",
          parsed);
    EXPECT_EQ(parsed.fault.status, 0) << row.fields;
    EXPECT_EQ(parsed.request.keep_alive, row.keep_alive) << row.version << " " << row.fields;
  }
}

TEST(ParseHead, Expect) {
  struct Row {
    string_view version;
    string_view value;
    bool is_continue;
    bool is_unknown;
  };
  const Row rows[] = {
      {"1.1", "100-continue", true, false},   {"1.1", "100-Continue", true, false},
      {"1.1", "200-ok", false, true},         {"1.1", "100-continue, x", true, true},
      {"1.1", "100-continue=1", false, true}, {"1.1", "", false, false},
      {"1.0", "100-continue", false, false},
  };
  for (const Row& row : rows) {
    Parsed parsed;
    parse("GET / HTTP/" + string(row.version) + "\r\nHost: h\r\nExpect: " + string(row.value) +
              "\r\n\r\n",
          parsed);
    EXPECT_EQ(parsed.request.expect_continue, row.is_continue) << row.value;
    EXPECT_EQ(parsed.request.expect_unknown, row.is_unknown) << row.value;
  }
}

TEST(ParseHead, Bodies) {
  Parsed none;
  parse(get_with(""), none);
  EXPECT_EQ(none.request.body, BodyKind::None);
  Parsed length;
  parse(get_with("Content-Length: 9223372036854775807\r\n"), length);
  EXPECT_EQ(length.request.body, BodyKind::Length);
  EXPECT_EQ(length.request.content_length.value, max_file_size_bytes);
  Parsed chunked;
  parse(get_with("Transfer-Encoding: chunked\r\n"), chunked);
  EXPECT_EQ(chunked.request.body, BodyKind::Chunked);
}

TEST(ParseHead, Fields) {
  Parsed parsed;
  parse(get_with("rAnGe: \t bytes=0-1 \t\r\n"
                 "If-Range: \"e\"\r\n"
                 "If-Match: \"a\"\r\nIf-Match: \"b\"\r\n"
                 "If-None-Match: *\r\n"
                 "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                 "If-Unmodified-Since: x\r\n"
                 "Accept-Encoding: br\r\nAccept: */*\r\nOrigin: null\r\n"
                 "Access-Control-Request-Method: GET\r\n"
                 "User-Agent: curl/7 (a; b)\r\nReferer: http://r/\r\n"),
        parsed);
  const Request& request = parsed.request;
  ASSERT_EQ(parsed.fault.status, 0);
  EXPECT_EQ(request.range, "bytes=0-1");
  EXPECT_EQ(request.if_range, "\"e\"");
  ASSERT_EQ(request.if_match.count, 2);
  EXPECT_EQ(request.if_match.lines[0], "\"a\"");
  EXPECT_EQ(request.if_match.lines[1], "\"b\"");
  EXPECT_EQ(request.if_none_match.lines[0], "*");
  EXPECT_EQ(request.if_modified_since, "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(request.if_unmodified_since, "x");
  EXPECT_EQ(request.accept_encoding.lines[0], "br");
  EXPECT_EQ(request.accept.lines[0], "*/*");
  EXPECT_EQ(request.origin, "null");
  EXPECT_TRUE(request.is_preflight);
  EXPECT_EQ(request.user_agent, "curl/7 (a; b)");
  EXPECT_EQ(request.referer, "http://r/");
}

TEST(ParseHead, RepeatedSingletonsAreNotThere) {
  Parsed parsed;
  parse(get_with("Range: bytes=0-1\r\nRange: bytes=0-1\r\n"
                 "If-Modified-Since: a\r\nIf-Modified-Since: b\r\nIf-Modified-Since: c\r\n"
                 "If-Unmodified-Since: a\r\nIf-Unmodified-Since: b\r\n"),
        parsed);
  EXPECT_FALSE(parsed.request.range.has_value());
  EXPECT_TRUE(parsed.request.if_modified_since.empty());
  EXPECT_TRUE(parsed.request.if_unmodified_since.empty());
  // An If-Range without one meaning cannot hold: the whole file, never a part of another version.
  for (const string_view if_range : {"If-Range: \"a\"\r\nIf-Range: \"a\"\r\n", "If-Range:\r\n"}) {
    Parsed conditional;
    parse(get_with("Range: bytes=0-1\r\n" + string(if_range)), conditional);
    EXPECT_FALSE(conditional.request.range.has_value()) << if_range;
  }
}

TEST(ParseHead, TooManyLinesOfAListOverflow) {
  Parsed parsed;
  parse(get_with("If-Match: 1\r\nIf-Match: 2\r\nIf-Match: 3\r\nIf-Match: 4\r\n"), parsed);
  EXPECT_FALSE(parsed.request.if_match.overflowed);
  parse(get_with("If-Match: 1\r\nIf-Match: 2\r\nIf-Match: 3\r\nIf-Match: 4\r\nIf-Match: 5\r\n"),
        parsed);
  EXPECT_TRUE(parsed.request.if_match.overflowed);
  EXPECT_EQ(parsed.request.if_match.count, 4);
}

// The log wants to say what was refused.
TEST(ParseHead, KeepsTheRequestLineOfARefusedHead) {
  for (const string_view head :
       {"GET /x HTTP/3.0\r\n\r\n", "GET /x\r\n\r\n", "GET /x HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET /x HTTP/1.1\r\n\r\n"}) {
    Parsed parsed;
    parse(head, parsed);
    EXPECT_NE(parsed.fault.status, 0);
    EXPECT_STRNE(parsed.fault.why, "");
    EXPECT_EQ(parsed.request.method_text, "GET") << head;
    EXPECT_EQ(parsed.request.target, "/x") << head;
  }
}

// Nothing of an earlier request may shine through on a keep-alive connection.
TEST(ParseHead, ForgetsTheRequestBefore) {
  Parsed parsed;
  parse(get_with("Range: bytes=0-1\r\nConnection: close\r\nContent-Length: 4\r\n"), parsed);
  parse(get_with(""), parsed);
  EXPECT_FALSE(parsed.request.range.has_value());
  EXPECT_TRUE(parsed.request.keep_alive);
  EXPECT_EQ(parsed.request.body, BodyKind::None);
}

}  // namespace
}  // namespace pagewire::http
