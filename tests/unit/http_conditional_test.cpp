// Preconditions in the order of RFC 9110 section 13.2.2, and If-Range.
#include <gtest/gtest.h>

#include <initializer_list>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string_view;

// 784111777 is Sun, 06 Nov 1994 08:49:37 GMT.
constexpr Validators validators{.etag = "\"abc,d\"", .last_modified_s = 784'111'777};
constexpr string_view same = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr string_view before = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr string_view after = "Sun, 06 Nov 1994 08:49:38 GMT";

struct Row {
  std::initializer_list<string_view> if_match = {};
  string_view if_unmodified_since = {};
  std::initializer_list<string_view> if_none_match = {};
  string_view if_modified_since = {};
  Precondition expected = Precondition::Proceed;
};

Request request_of(const Row& row) {
  Request request;
  request.method = Method::Get;
  for (const string_view line : row.if_match) request.if_match.add(line);
  for (const string_view line : row.if_none_match) request.if_none_match.add(line);
  request.if_unmodified_since = row.if_unmodified_since;
  request.if_modified_since = row.if_modified_since;
  return request;
}

void check(std::initializer_list<Row> rows) {
  int number = 0;
  for (const Row& row : rows) {
    EXPECT_EQ(evaluate_preconditions(request_of(row), validators), row.expected)
        << "row " << number;
    ++number;
  }
}

constexpr auto Proceed = Precondition::Proceed;
constexpr auto NotModified = Precondition::NotModified;
constexpr auto Failed = Precondition::Failed;

TEST(Preconditions, IfMatchComparesStrongly) {
  check({
      {.expected = Proceed},
      {.if_match = {"\"abc,d\""}, .expected = Proceed},
      {.if_match = {"*"}, .expected = Proceed},
      {.if_match = {"\"x\", \"abc,d\""}, .expected = Proceed},
      {.if_match = {"\"x\",\"abc,d\",\"y\""}, .expected = Proceed},
      {.if_match = {", ,\"x\" ,\t\"abc,d\" ,"}, .expected = Proceed},
      {.if_match = {"\"x\"", "\"abc,d\""}, .expected = Proceed},
      {.if_match = {"W/\"abc,d\""}, .expected = Failed},
      {.if_match = {"W/\"abc,d\", \"abc,d\""}, .expected = Proceed},
      {.if_match = {"\"x\""}, .expected = Failed},
      {.if_match = {"\"ABC,D\""}, .expected = Failed},
      {.if_match = {"abc,d"}, .expected = Failed},
      {.if_match = {"\"abc\""}, .expected = Failed},
      {.if_match = {"\"abc,d"}, .expected = Failed},
      {.if_match = {"\"\""}, .expected = Failed},
      {.if_match = {""}, .expected = Failed},
      {.if_match = {"**"}, .expected = Failed},
      {.if_match = {"x, \"abc,d\""}, .expected = Failed},
      {.if_match = {"\"x\"\"abc,d\""}, .expected = Failed},
      {.if_match = {"\"abc,d\"x"}, .expected = Failed},
  });
}

TEST(Preconditions, IfNoneMatchComparesWeakly) {
  check({
      {.if_none_match = {"\"abc,d\""}, .expected = NotModified},
      {.if_none_match = {"W/\"abc,d\""}, .expected = NotModified},
      {.if_none_match = {"w/\"abc,d\""}, .expected = Proceed},
      {.if_none_match = {"*"}, .expected = NotModified},
      {.if_none_match = {" * "}, .expected = NotModified},
      {.if_none_match = {"\"x\", W/\"abc,d\""}, .expected = NotModified},
      {.if_none_match = {"\"x\"", "\"y\"", "\"abc,d\""}, .expected = NotModified},
      {.if_none_match = {"\"x\""}, .expected = Proceed},
      {.if_none_match = {"\"d\""}, .expected = Proceed},
      {.if_none_match = {""}, .expected = Proceed},
      {.if_none_match = {"abc,d"}, .expected = Proceed},
      {.if_none_match = {"\"abc,d"}, .expected = Proceed},
      {.if_none_match = {"W/ \"abc,d\""}, .expected = Proceed},
  });
}

TEST(Preconditions, Dates) {
  check({
      {.if_modified_since = same, .expected = NotModified},
      {.if_modified_since = after, .expected = NotModified},
      {.if_modified_since = before, .expected = Proceed},
      {.if_modified_since = "Sunday, 06-Nov-94 08:49:37 GMT", .expected = NotModified},
      {.if_modified_since = "Sun Nov  6 08:49:36 1994", .expected = Proceed},
      {.if_modified_since = "yesterday", .expected = Proceed},
      {.if_modified_since = "784111777", .expected = Proceed},
      {.if_unmodified_since = same, .expected = Proceed},
      {.if_unmodified_since = after, .expected = Proceed},
      {.if_unmodified_since = before, .expected = Failed},
      {.if_unmodified_since = "yesterday", .expected = Proceed},
  });
}

TEST(Preconditions, OrderOfPrecedence) {
  check({
      // If-Match makes If-Unmodified-Since not count, either way.
      {.if_match = {"\"abc,d\""}, .if_unmodified_since = before, .expected = Proceed},
      {.if_match = {"\"x\""}, .if_unmodified_since = after, .expected = Failed},
      // If-None-Match makes If-Modified-Since not count, either way.
      {.if_none_match = {"\"x\""}, .if_modified_since = same, .expected = Proceed},
      {.if_none_match = {"\"abc,d\""}, .if_modified_since = before, .expected = NotModified},
      // 412 comes before 304.
      {.if_match = {"\"x\""}, .if_none_match = {"\"abc,d\""}, .expected = Failed},
      {.if_unmodified_since = before, .if_none_match = {"\"abc,d\""}, .expected = Failed},
      {.if_unmodified_since = before, .if_modified_since = same, .expected = Failed},
      // Held preconditions go on to the next step.
      {.if_match = {"*"}, .if_none_match = {"\"abc,d\""}, .expected = NotModified},
      {.if_match = {"\"abc,d\""}, .if_modified_since = same, .expected = NotModified},
      {.if_unmodified_since = same, .if_none_match = {"*"}, .expected = NotModified},
  });
}

TEST(Preconditions, LinesThatDidNotFitNeverMatch) {
  check({
      {.if_match = {"\"1\"", "\"2\"", "\"3\"", "\"4\"", "\"abc,d\""}, .expected = Failed},
      {.if_none_match = {"\"1\"", "\"2\"", "\"3\"", "\"4\"", "\"abc,d\""}, .expected = Proceed},
  });
}

TEST(Preconditions, OnlyForGetAndHead) {
  const Row row{.if_none_match = {"\"abc,d\""}};
  for (const auto& [method, expected] :
       {std::pair{Method::Get, NotModified}, std::pair{Method::Head, NotModified},
        std::pair{Method::Options, Proceed}, std::pair{Method::NotAllowed, Proceed},
        std::pair{Method::Unknown, Proceed}}) {
    Request request = request_of(row);
    request.method = method;
    EXPECT_EQ(evaluate_preconditions(request, validators), expected);
  }
}

TEST(IfRange, HoldsOnlyForThisVersion) {
  struct IfRangeRow {
    string_view value;
    bool holds;
  };
  const IfRangeRow rows[] = {
      {"", true},
      {"\"abc,d\"", true},
      {"W/\"abc,d\"", false},
      {"\"x\"", false},
      {"\"abc,d\", \"x\"", false},
      {"*", false},
      {"abc,d", false},
      {same, true},
      {before, false},
      {after, false},  // not "unmodified since": exactly equal (13.1.5)
      {"Sunday, 06-Nov-94 08:49:37 GMT", true},
      {"nonsense", false},
  };
  for (const IfRangeRow& row : rows) {
    Request request;
    request.if_range = row.value;
    EXPECT_EQ(if_range_holds(request, validators), row.holds) << row.value;
  }
}

}  // namespace
}  // namespace pagewire::http
