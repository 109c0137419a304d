// Request heads: what is refused, and with which status.
#include <gtest/gtest.h>

#include <span>
#include <string>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;
using std::string_view;
using namespace std::string_view_literals;

constexpr HeadLimits default_limits{};
using State = HeadScan::State;

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

struct FieldsRow {
  string_view fields;
  int status;
};

void expect_statuses(std::span<const FieldsRow> rows) {
  for (const FieldsRow& row : rows) {
    EXPECT_EQ(status_of(get_with(row.fields)), row.status) << testing::PrintToString(row.fields);
  }
}

TEST(ParseHead, FieldSyntax) {
  const FieldsRow rows[] = {
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
      {"Connection: close\r\n", 0},
      {"Connection: \r\n", 0},
  };
  expect_statuses(rows);
}

TEST(ParseHead, ContentLength) {
  const FieldsRow rows[] = {
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
  };
  expect_statuses(rows);
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\n"), 0);
}

TEST(ParseHead, TransferEncoding) {
  const FieldsRow rows[] = {
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
  };
  expect_statuses(rows);
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
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

}  // namespace
}  // namespace pagewire::http
