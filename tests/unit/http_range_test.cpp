// Which bytes a Range field selects.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;
using std::string_view;
using Kind = RangeSelection::Kind;

constexpr RangeLimits default_limits{};

struct Part {
  std::uint64_t first;
  std::uint64_t last;
  friend bool operator==(const Part&, const Part&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Part& part) {
    return out << part.first << "-" << part.last;
  }
};

struct Row {
  string field;
  std::uint64_t size;
  Kind kind;
  std::vector<Part> parts = {};
};

void check(const std::vector<Row>& rows, const RangeLimits& limits = default_limits) {
  for (const Row& row : rows) {
    const RangeSelection selection = select_ranges(row.field, ByteCount{row.size}, limits);
    EXPECT_EQ(selection.kind, row.kind) << row.field << " of " << row.size;
    std::vector<Part> parts;
    for (std::size_t i = 0; i < selection.count; ++i) {
      const ByteRange part = selection.parts[i];
      parts.push_back({part.offset.value, part.end().value - 1});
    }
    EXPECT_EQ(parts, row.parts) << row.field << " of " << row.size;
  }
}

string repeated(string_view text, std::size_t times) {
  string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// "bytes=0-0,10-10,20-20 ...": `count` specs that neither overlap nor touch.
string scattered(std::size_t count) {
  string field = "bytes=";
  for (std::size_t i = 0; i < count; ++i) {
    field += (i > 0 ? "," : "") + std::to_string(i * 10) + "-" + std::to_string(i * 10);
  }
  return field;
}

TEST(SelectRanges, SingleRange) {
  check({
      {"bytes=0-0", 1000, Kind::Partial, {{0, 0}}},
      {"bytes=0-499", 1000, Kind::Partial, {{0, 499}}},
      {"bytes=500-", 1000, Kind::Partial, {{500, 999}}},
      {"bytes=999-", 1000, Kind::Partial, {{999, 999}}},
      {"bytes=999-999", 1000, Kind::Partial, {{999, 999}}},
      {"bytes=990-5000", 1000, Kind::Partial, {{990, 999}}},
      {"bytes=0-", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=0-999", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=007-0009", 1000, Kind::Partial, {{7, 9}}},
      {"bytes=1000-", 1000, Kind::Unsatisfiable},
      {"bytes=1000-2000", 1000, Kind::Unsatisfiable},
      {"bytes=5000-", 1000, Kind::Unsatisfiable},
  });
}

TEST(SelectRanges, Suffix) {
  check({
      {"bytes=-1", 1000, Kind::Partial, {{999, 999}}},
      {"bytes=-500", 1000, Kind::Partial, {{500, 999}}},
      {"bytes=-1000", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=-1001", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=-99999999999999999999999", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=-0", 1000, Kind::Unsatisfiable},
      {"bytes=-000", 1000, Kind::Unsatisfiable},
      {"bytes=-0,0-0", 1000, Kind::Partial, {{0, 0}}},
  });
}

TEST(SelectRanges, OfAnEmptyRepresentation) {
  check({
      {"bytes=0-", 0, Kind::Unsatisfiable},
      {"bytes=0-0", 0, Kind::Unsatisfiable},
      {"bytes=-1", 0, Kind::Unsatisfiable},
      {"bytes=-0", 0, Kind::Unsatisfiable},
      {"bytes=5-,-5,0-9", 0, Kind::Unsatisfiable},
      {"bytes=x", 0, Kind::Whole},
  });
}

TEST(SelectRanges, SyntaxErrorsAndOtherUnitsSelectTheWhole) {
  std::vector<Row> rows;
  for (const char* field :
       {"", "bytes", "bytes=", "bytes=,", "bytes= , ,", "bytes=-", "bytes=--1", "bytes=1",
        "bytes=a-b", "bytes=1-b", "bytes=a-1", "bytes=1-2-3", "bytes=5-4", "bytes=+1-2",
        "bytes=1-+2", "bytes=0x0-1", "bytes=0 - 1", "bytes=0- 1", "bytes=0 -1", "bytes = 0-1",
        "bytes =0-1", " bytes=0-1", "bytes:0-1", "bytes 0-1", "byte=0-1", "bytess=0-1", "items=0-1",
        "=0-1", "bytes==0-1", "bytes=0-1;", "bytes=1.0-2", "bytes=\"0-1\"", "bytes=0-1 2-3",
        // One bad spec spoils the set, wherever it stands.
        "bytes=0-1,5-4", "bytes=5-4,0-1", "bytes=0-1,x", "bytes=5000-,x", "bytes=0-1,bytes=2-3"}) {
    rows.push_back({field, 1000, Kind::Whole});
  }
  rows.push_back({string("bytes=0-\0", 9), 1000, Kind::Whole});
  check(rows);
}

TEST(SelectRanges, UnitIgnoresCaseAndListsMayHaveSpacesAndEmptyElements) {
  check({
      {"BYTES=0-1", 1000, Kind::Partial, {{0, 1}}},
      {"Bytes=0-1", 1000, Kind::Partial, {{0, 1}}},
      {"bytes= 0-1", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=0-1 ", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=0-1 ,\t5-6", 1000, Kind::Partial, {{0, 1}, {5, 6}}},
      {"bytes=,0-1", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=0-1,", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=,, 0-1 ,, ,5-6,,", 1000, Kind::Partial, {{0, 1}, {5, 6}}},
  });
}

TEST(SelectRanges, SeveralKeepTheOrderAsked) {
  check({
      {"bytes=0-1,10-11", 1000, Kind::Partial, {{0, 1}, {10, 11}}},
      {"bytes=10-11,0-1", 1000, Kind::Partial, {{10, 11}, {0, 1}}},
      {"bytes=-1,0-0", 1000, Kind::Partial, {{999, 999}, {0, 0}}},
      {"bytes=900-,0-9,500-509", 1000, Kind::Partial, {{900, 999}, {0, 9}, {500, 509}}},
      // What cannot be satisfied is left out while anything can.
      {"bytes=0-1,2000-3000", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=2000-3000,0-1", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=2000-3000,1000-", 1000, Kind::Unsatisfiable},
  });
}

TEST(SelectRanges, CoalescesWhatOverlapsOrTouches) {
  check({
      {"bytes=0-9,10-19", 1000, Kind::Partial, {{0, 19}}},
      {"bytes=10-19,0-9", 1000, Kind::Partial, {{0, 19}}},
      {"bytes=0-9,11-19", 1000, Kind::Partial, {{0, 9}, {11, 19}}},
      {"bytes=0-9,9-19", 1000, Kind::Partial, {{0, 19}}},
      {"bytes=0-9,5-19", 1000, Kind::Partial, {{0, 19}}},
      {"bytes=0-99,10-19", 1000, Kind::Partial, {{0, 99}}},
      {"bytes=10-19,0-99", 1000, Kind::Partial, {{0, 99}}},
      {"bytes=0-,0-", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=0-,-1", 1000, Kind::Partial, {{0, 999}}},
      // The one in the middle joins its two neighbours, in the place of the first of them.
      {"bytes=20-29,500-509,0-9,10-19", 1000, Kind::Partial, {{0, 29}, {500, 509}}},
      {"bytes=500-509,20-29,0-9,10-19", 1000, Kind::Partial, {{500, 509}, {0, 29}}},
      {"bytes=0-9,20-29,40-49,5-44", 1000, Kind::Refused},
      {"bytes=0-9,20-29,40-49,5-24", 1000, Kind::Partial, {{0, 29}, {40, 49}}},
      {"bytes=0-9,10-19,20-29,30-39,40-49", 1000, Kind::Partial, {{0, 49}}},
  });
}

TEST(SelectRanges, RefusesFloods) {
  check({
      // One pair and two pairs that overlap may be clumsiness; three are not.
      {"bytes=0-10,5-15,12-20", 1000, Kind::Partial, {{0, 20}}},
      {"bytes=0-,0-,0-", 1000, Kind::Refused},
      {"bytes=0-10,5-15,100-110,105-115", 1000, Kind::Partial, {{0, 15}, {100, 115}}},
      {"bytes=0-10,5-15,100-110,105-115,200-210,205-215", 1000, Kind::Refused},
      // Overlap beyond the end counts only as far as there are bytes.
      {"bytes=0-,2000-,2000-,2000-", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=" + repeated("0-,", 1300), 1000, Kind::Refused},
      {"bytes=" + repeated("5000-,", 65), 1000, Kind::Refused},
      {"bytes=" + repeated("5000-,", 64), 1000, Kind::Unsatisfiable},
      {"bytes=" + repeated(",", 5000) + "0-0", 1000, Kind::Partial, {{0, 0}}},
  });
}

TEST(SelectRanges, Limits) {
  const std::uint64_t size = 100'000;
  EXPECT_EQ(select_ranges(scattered(16), ByteCount{size}, {}).kind, Kind::Partial);
  EXPECT_EQ(select_ranges(scattered(17), ByteCount{size}, {}).kind, Kind::Whole);
  EXPECT_EQ(select_ranges(scattered(64), ByteCount{size}, {}).kind, Kind::Whole);
  EXPECT_EQ(select_ranges(scattered(65), ByteCount{size}, {}).kind, Kind::Refused);
  EXPECT_EQ(select_ranges(scattered(64), ByteCount{size}, {.parts = 64, .specs = 64}).count, 64U);
  // No setting goes beyond what the selection can hold.
  const RangeLimits huge{.parts = 1000, .specs = 1000};
  EXPECT_EQ(select_ranges(scattered(64), ByteCount{size}, huge).count, 64U);
  EXPECT_EQ(select_ranges(scattered(65), ByteCount{size}, huge).kind, Kind::Refused);
  const RangeLimits one{.parts = 1, .specs = 1};
  EXPECT_EQ(select_ranges("bytes=0-0", ByteCount{size}, one).kind, Kind::Partial);
  EXPECT_EQ(select_ranges("bytes=0-0,1-1", ByteCount{size}, one).kind, Kind::Refused);
  // Many that touch are few once coalesced.
  string touching = "bytes=";
  for (int i = 0; i < 60; ++i) touching += std::to_string(i) + "-" + std::to_string(i) + ",";
  check({{touching, size, Kind::Partial, {{0, 59}}}});
}

TEST(SelectRanges, NumbersNeverOverflow) {
  const std::uint64_t max = max_file_size_bytes;
  check({
      {"bytes=0-9223372036854775807", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=0-9223372036854775808", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=0-18446744073709551615", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=0-18446744073709551616", 1000, Kind::Partial, {{0, 999}}},
      {"bytes=0-" + repeated("9", 400), 1000, Kind::Partial, {{0, 999}}},
      {"bytes=18446744073709551616-", 1000, Kind::Unsatisfiable},
      {"bytes=18446744073709551617-18446744073709551618", 1000, Kind::Unsatisfiable},
      {"bytes=" + repeated("9", 400) + "-", 1000, Kind::Unsatisfiable},
      {"bytes=" + repeated("0", 400) + "-1", 1000, Kind::Partial, {{0, 1}}},
      {"bytes=0-", max, Kind::Partial, {{0, max - 1}}},
      {"bytes=-1", max, Kind::Partial, {{max - 1, max - 1}}},
      {"bytes=9223372036854775806-", max, Kind::Partial, {{max - 1, max - 1}}},
      {"bytes=9223372036854775807-", max, Kind::Unsatisfiable},
      {"bytes=-9223372036854775807", max, Kind::Partial, {{0, max - 1}}},
      {"bytes=0-0,9223372036854775806-9223372036854775806",
       max,
       Kind::Partial,
       {{0, 0}, {max - 1, max - 1}}},
      {"bytes=1-9223372036854775806,0-0", max, Kind::Partial, {{0, max - 1}}},
      {"bytes=4294967295-4294967296", 5'000'000'000, Kind::Partial, {{4294967295, 4294967296}}},
  });
}

}  // namespace
}  // namespace pagewire::http
