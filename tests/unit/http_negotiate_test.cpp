// Accept-Encoding and Accept.
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;
using std::string_view;

FieldLines lines_of(std::initializer_list<string_view> values) {
  FieldLines lines;
  for (const string_view value : values) lines.add(value);
  return lines;
}

string order_of(const CodingWeights& weights) {
  string text;
  const CodingOrder order = preferred_codings(weights);
  for (std::size_t i = 0; i < order.count; ++i) {
    if (i > 0) text += ' ';
    text += coding_token(order.codings[i]);
  }
  return text;
}

TEST(AcceptEncoding, Weights) {
  struct Row {
    std::initializer_list<string_view> lines;
    CodingWeights expected;  // br, zstd, gzip, identity
  };
  const Row rows[] = {
      {{}, {0, 0, 0, 1000}},
      {{""}, {0, 0, 0, 1}},
      {{"gzip"}, {0, 0, 1000, 1}},
      {{"GZip, BR"}, {1000, 0, 1000, 1}},
      {{"x-gzip"}, {0, 0, 1000, 1}},
      {{"gzip, deflate, br, zstd"}, {1000, 1000, 1000, 1}},
      {{"gzip;q=0.5, br;q=0.25, zstd;q=0.125"}, {250, 125, 500, 1}},
      {{"gzip ; q=0.5\t,\tbr ;Q=1.000"}, {1000, 0, 500, 1}},
      {{"gzip;q=0"}, {0, 0, 0, 1}},
      {{"gzip;q=0.000, br;q=1."}, {1000, 0, 0, 1}},
      {{"*"}, {1000, 1000, 1000, 1000}},
      {{"*;q=0.3"}, {300, 300, 300, 300}},
      {{"br;q=0, *"}, {0, 1000, 1000, 1000}},
      {{"*, br;q=0"}, {0, 1000, 1000, 1000}},
      {{"gzip, *;q=0"}, {0, 0, 1000, 0}},
      {{"gzip, identity;q=0"}, {0, 0, 1000, 0}},
      {{"identity;q=0.5, *;q=0"}, {0, 0, 0, 500}},
      {{"identity"}, {0, 0, 0, 1000}},
      {{"gzip", "br;q=0.5"}, {500, 0, 1000, 1}},
      {{",, gzip ,,"}, {0, 0, 1000, 1}},
      // What is not a weight spoils its own element only.
      {{"gzip;q=2, br"}, {1000, 0, 0, 1}},
      {{"gzip;q=1.001, br"}, {1000, 0, 0, 1}},
      {{"gzip;q=0.1234, br"}, {1000, 0, 0, 1}},
      {{"gzip;q=-1, br"}, {1000, 0, 0, 1}},
      {{"gzip;q=, br"}, {1000, 0, 0, 1}},
      {{"gzip;q=.5, br"}, {1000, 0, 0, 1}},
      {{"gzip;q=0.x, br"}, {1000, 0, 0, 1}},
      {{"gzipped, brr, compress, ;q=1"}, {0, 0, 0, 1}},
  };
  for (const Row& row : rows) {
    const CodingWeights weights = parse_accept_encoding(lines_of(row.lines));
    const string what = row.lines.size() > 0 ? string(*row.lines.begin()) : "(absent)";
    EXPECT_EQ(weights.brotli, row.expected.brotli) << what;
    EXPECT_EQ(weights.zstd, row.expected.zstd) << what;
    EXPECT_EQ(weights.gzip, row.expected.gzip) << what;
    EXPECT_EQ(weights.identity, row.expected.identity) << what;
  }
}

TEST(AcceptEncoding, Order) {
  struct Row {
    CodingWeights weights;
    string_view order;
  };
  const Row rows[] = {
      {{0, 0, 0, 1000}, "identity"},
      {{1000, 1000, 1000, 1}, "br zstd gzip identity"},
      {{1000, 1000, 1000, 1000}, "br zstd gzip identity"},
      {{500, 1000, 750, 1}, "zstd gzip br identity"},
      {{500, 0, 500, 501}, "identity br gzip"},
      {{500, 0, 500, 500}, "br gzip identity"},
      {{0, 100, 200, 150}, "gzip identity zstd"},
      {{0, 0, 1000, 0}, "gzip"},
      {{0, 0, 0, 0}, ""},
  };
  for (const Row& row : rows) EXPECT_EQ(order_of(row.weights), row.order);
}

TEST(AcceptEncoding, SuffixesAndTokens) {
  EXPECT_EQ(file_suffix(Coding::Identity), "");
  EXPECT_EQ(file_suffix(Coding::Brotli), "br");
  EXPECT_EQ(file_suffix(Coding::Zstd), "zst");
  EXPECT_EQ(file_suffix(Coding::Gzip), "gz");
  EXPECT_EQ(coding_token(Coding::Identity), "identity");
  EXPECT_EQ(coding_token(Coding::Brotli), "br");
  EXPECT_EQ(coding_token(Coding::Zstd), "zstd");
  EXPECT_EQ(coding_token(Coding::Gzip), "gzip");
}

TEST(Accept, PrefersJson) {
  struct Row {
    std::initializer_list<string_view> lines;
    bool json;
  };
  const Row rows[] = {
      {{}, false},
      {{""}, false},
      {{"*/*"}, false},
      {{"text/plain"}, false},
      {{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, false},
      {{"application/json"}, true},
      {{"Application/JSON"}, true},
      {{"application/json; charset=utf-8"}, true},
      {{"application/*"}, true},
      {{"application/json, */*"}, true},
      {{"application/json, text/plain, */*"}, false},
      {{"application/json, text/plain;q=0.9"}, true},
      {{"application/json;q=0.9, text/plain"}, false},
      {{"application/json;q=0.5, text/*;q=0.4"}, true},
      {{"application/json;q=0"}, false},
      {{"application/json;q=0, text/plain;q=0"}, false},
      {{"text/plain;q=0, */*"}, true},
      {{"text/plain;q=0.1", "application/json;q=0.2"}, true},
      {{"application/jsonp"}, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(prefers_json(lines_of(row.lines)), row.json)
        << (row.lines.size() > 0 ? *row.lines.begin() : "(absent)");
  }
}

}  // namespace
}  // namespace pagewire::http
