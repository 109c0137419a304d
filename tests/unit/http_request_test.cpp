// Request heads: what parse_head understands of them.
#include <gtest/gtest.h>

#include <string>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;
using std::string_view;

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
  ASSERT_EQ(scan.state, HeadScan::State::Complete) << text;
  const string_view head = string_view(into.input).substr(scan.leading, scan.end - scan.leading);
  into.fault = parse_head(head, limits, into.request);
  expect_inside(into.request.target, head, "target");
  expect_inside(into.request.path, head, "path");
  expect_inside(into.request.host, head, "host");
}

string get_with(string_view fields) {
  return "GET /f HTTP/1.1\r\nHost: h\r\n" + string(fields) + "\r\n";
}

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
