// Cache-Control by pattern (RFC 9111 5.2, RFC 8246 for `immutable`).
//
// The defaults are those of a video edge. A playlist of a live stream changes every few seconds, so
// a cache may keep it for one second only. Segments, init segments and fonts are never rewritten
// under one name, so they may be kept for a year and need not be asked for again on reload. A page
// must be revalidated (a 304 costs nothing) so that a new version is seen. Everything else says
// nothing: caches then go by Last-Modified, and the ETag is there for revalidation.
#include "content/cache_rules.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>

namespace pagewire::content {

namespace {

bool matches(const std::string& glob, const std::string& path);

}  // namespace

std::span<const CacheRule> default_cache_rules() {
  static const auto rules = [] {
    const std::string brief = "max-age=1";
    const std::string forever = "public, max-age=31536000, immutable";
    const std::string ask = "no-cache";
    return std::to_array<CacheRule>({
        {"*.m3u8", brief},   {"*.mpd", brief},    {"*.ts", forever},   {"*.m2ts", forever},
        {"*.m4s", forever},  {"*.m4f", forever},  {"*.mp4", forever},  {"*.m4v", forever},
        {"*.m4a", forever},  {"*.cmfv", forever}, {"*.cmfa", forever}, {"*.cmft", forever},
        {"*.aac", forever},  {"*.ac3", forever},  {"*.ec3", forever},  {"*.woff2", forever},
        {"*.woff", forever}, {"*.ttf", forever},  {"*.otf", forever},  {"*.html", ask},
        {"*.htm", ask},
    });
  }();
  return rules;
}

std::string_view cache_control_for(std::span<const CacheRule> rules, const std::string& path) {
  for (const std::span<const CacheRule> list : {rules, default_cache_rules()}) {
    for (const CacheRule& rule : list) {
      if (matches(rule.glob, path)) return rule.cache_control;
    }
  }
  return {};
}

Result<void> check_cache_rules(std::span<const CacheRule> rules) {
  constexpr std::size_t longest = 512;  // of the 2 KiB that a head may take
  for (const CacheRule& rule : rules) {
    const bool printable = std::ranges::all_of(
        rule.cache_control, [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); });
    if (!printable || rule.cache_control.size() > longest) return failure("cache rule", EINVAL);
  }
  return {};
}

namespace {

// No FNM_PATHNAME: "vod/*" then holds for the whole tree under vod/, which is what one wants to
// say, and fnmatch(3) has no "**" to say it with. A leading slash is taken as ROOT's.
bool matches(const std::string& glob, const std::string& path) {
  const std::size_t slash = glob.find('/');
  if (slash == std::string::npos) {
    const std::size_t name = path.rfind('/') + 1;  // npos + 1 is 0
    return ::fnmatch(glob.c_str(), path.c_str() + name, 0) == 0;
  }
  return ::fnmatch(glob.c_str() + (slash == 0 ? 1 : 0), path.c_str(), 0) == 0;
}

}  // namespace

}  // namespace pagewire::content
