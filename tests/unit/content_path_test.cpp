// resolve_path: what each spelling of a path becomes, and what is refused.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "content/content.h"

namespace pagewire::content {
namespace {

using namespace std::string_view_literals;

struct Accepted {
  std::string_view encoded;
  std::string_view name;
};

constexpr Accepted accepted[] = {
    {"/", ""},
    {"/a.ts", "a.ts"},
    {"/v0/seg_000.ts", "v0/seg_000.ts"},
    {"/dir/", "dir/"},
    {"//", ""},
    {"//a", "a"},
    {"/a//b///c", "a/b/c"},
    {"/a//", "a/"},
    {"/.", ""},
    {"/./", ""},
    {"/./a", "a"},
    {"/a/.", "a/"},
    {"/a/./b", "a/b"},
    {"/..", ""},
    {"/../", ""},
    {"/../a", "a"},
    {"/../../../etc/passwd", "etc/passwd"},
    {"/a/..", ""},
    {"/a/../b", "b"},
    {"/a/b/..", "a/"},
    {"/a/b/../", "a/"},
    {"/a/b/../c", "a/c"},
    {"/a/b/../../c", "c"},
    {"/a/b/../../../c", "c"},
    {"/a//../b", "b"},
    {"/ab/c/../d", "ab/d"},
    {"/%61", "a"},
    {"/%2e", ""},
    {"/%2e%2e/a", "a"},
    {"/a/%2E%2e/b", "b"},
    {"/a/.%2e/b", "b"},
    {"/a%20b", "a b"},
    {"/a+b", "a+b"},
    {"/100%25", "100%"},
    {"/%2525", "%25"},  // decoded once
    {"/%252e%252e/x", "%2e%2e/x"},
    {"/a%3Fb", "a?b"},
    {"/a%5Cb", "a\\b"},
    {"/a\\..\\b", "a\\..\\b"},
    {"/a.", "a."},
    {"/a../b", "a../b"},
    {"/a..b", "a..b"},
    {"/caf%C3%A9", "caf\xc3\xa9"},
    {"/caf\xc3\xa9", "caf\xc3\xa9"},
    {"/%E2%82%AC", "\xe2\x82\xac"},
    {"/%F0%9F%8E%AC", "\xf0\x9f\x8e\xac"},
    {"/%ED%9F%BF", "\xed\x9f\xbf"},         // the last before the surrogates
    {"/%EE%80%80", "\xee\x80\x80"},         // the first after them
    {"/%F4%8F%BF%BF", "\xf4\x8f\xbf\xbf"},  // U+10FFFF
};

TEST(ResolvePath, Accepts) {
  std::string name = "left over";
  for (const Accepted& item : accepted) {
    const PathFault fault = resolve_path(item.encoded, name);
    EXPECT_EQ(fault.status, 0) << item.encoded << ": " << fault.why;
    EXPECT_EQ(name, item.name) << item.encoded;
  }
}

struct Refused {
  std::string_view encoded;
  int status;
};

constexpr Refused refused[] = {
    {""sv, 400},
    {"a"sv, 400},
    {"*"sv, 400},
    {"/%"sv, 400},
    {"/%4"sv, 400},
    {"/%zz"sv, 400},
    {"/%4g"sv, 400},
    {"/%-1"sv, 400},
    {"/a%00.ts"sv, 400},
    {"/a\0.ts"sv, 400},
    {"/a%2fb"sv, 400},
    {"/a%2Fb"sv, 400},
    {"/..%2f..%2fetc/passwd"sv, 400},
    {"/a%0a"sv, 400},
    {"/a%0d%0aX: y"sv, 400},
    {"/a%1f"sv, 400},
    {"/a%7f"sv, 400},
    {"/a\x01"sv, 400},
    {"/%80"sv, 400},             // a continuation byte alone
    {"/%C0%AE%C0%AE/x"sv, 400},  // overlong "."
    {"/%C0%AF"sv, 400},          // overlong "/"
    {"/%C1%BF"sv, 400},
    {"/%E0%80%AF"sv, 400},
    {"/%E0%9F%BF"sv, 400},
    {"/%F0%80%80%AF"sv, 400},
    {"/%F0%8F%BF%BF"sv, 400},
    {"/%ED%A0%80"sv, 400},     // a surrogate
    {"/%F4%90%80%80"sv, 400},  // above U+10FFFF
    {"/%F5%80%80%80"sv, 400},
    {"/%FF"sv, 400},
    {"/%C3"sv, 400},  // cut off
    {"/%E2%82"sv, 400},
    {"/%F0%9F%8E"sv, 400},
    {"/%E2%82/"sv, 400},
    {"/.git/config"sv, 404},
    {"/.htaccess"sv, 404},
    {"/a/.hidden"sv, 404},
    {"/a/.hidden/b"sv, 404},
    {"/%2egit"sv, 404},
    {"/..."sv, 404},
    {"/..a"sv, 404},
    {"/.git/../a"sv, 404},
};

TEST(ResolvePath, Refuses) {
  for (const Refused& item : refused) {
    std::string name = "left over";
    const PathFault fault = resolve_path(item.encoded, name);
    EXPECT_EQ(fault.status, item.status) << item.encoded;
    EXPECT_STRNE(fault.why, "") << item.encoded;
    EXPECT_EQ(name, "") << item.encoded;
  }
}

// Both ways through the function, the quick one and the whole one, give one name.
TEST(ResolvePath, QuickWayAgrees) {
  for (const Accepted& item : accepted) {
    if (item.name.find_first_of("%") != std::string_view::npos) continue;
    const std::string plain = "/" + std::string(item.name);
    std::string quick;
    std::string whole;
    ASSERT_EQ(resolve_path(plain, quick).status, 0) << plain;
    ASSERT_EQ(resolve_path("/%61/.." + plain, whole).status, 0) << plain;
    EXPECT_EQ(quick, item.name);
    EXPECT_EQ(whole, item.name);
  }
}

}  // namespace
}  // namespace pagewire::content
