// The table of media types: sorted by extension and looked up by bisection (only when a file is
// opened, so speed does not matter).
//
// Text types carry charset=utf-8, because a browser otherwise guesses. XML types carry none: their
// documents say it themselves, and a parameter would override them (RFC 7303). HLS: RFC 8216
// section 4, DASH: ISO/IEC 23009-1 annex C, WebVTT and the fonts: RFC 8081, the W3C's
// registrations.
#include "content/mime.h"

#include <algorithm>
#include <array>

#include "content/content.h"

namespace pagewire::content {

namespace {

constexpr auto types = std::to_array<MediaType>({
    {"3gp", "video/3gpp"},
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"ac3", "audio/ac3"},
    {"ac4", "audio/ac4"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml", true},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp", true},
    {"br", "application/x-brotli"},
    {"bz2", "application/x-bzip2"},
    {"cmfa", "audio/mp4"},
    {"cmft", "application/mp4"},
    {"cmfv", "video/mp4"},
    {"css", "text/css; charset=utf-8", true},
    {"csv", "text/csv; charset=utf-8", true},
    {"ec3", "audio/eac3"},
    {"eot", "application/vnd.ms-fontobject", true},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"flv", "video/x-flv"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"heic", "image/heic"},
    {"htm", "text/html; charset=utf-8", true},
    {"html", "text/html; charset=utf-8", true},
    {"ico", "image/x-icon", true},
    {"ics", "text/calendar; charset=utf-8", true},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8", true},
    {"json", "application/json", true},
    {"jsonld", "application/ld+json", true},
    {"jxl", "image/jxl"},
    {"key", "application/octet-stream"},
    {"log", "text/plain; charset=utf-8", true},
    {"m2ts", "video/mp2t"},
    {"m3u8", "application/vnd.apple.mpegurl", true},
    {"m4a", "audio/mp4"},
    {"m4f", "video/iso.segment"},
    {"m4s", "video/iso.segment"},
    {"m4v", "video/mp4"},
    {"map", "application/json", true},
    {"md", "text/markdown; charset=utf-8", true},
    {"mjs", "text/javascript; charset=utf-8", true},
    {"mkv", "video/x-matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpd", "application/dash+xml", true},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf", true},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"rss", "application/rss+xml", true},
    {"srt", "application/x-subrip", true},
    {"svg", "image/svg+xml", true},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"ts", "video/mp2t"},
    {"ttc", "font/collection", true},
    {"ttf", "font/ttf", true},
    {"ttml", "application/ttml+xml", true},
    {"txt", "text/plain; charset=utf-8", true},
    {"vtt", "text/vtt; charset=utf-8", true},
    {"wasm", "application/wasm", true},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json", true},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml", true},
    {"xml", "application/xml", true},
    {"xz", "application/x-xz"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
});
static_assert(std::ranges::is_sorted(types, {}, &MediaType::extension));

constexpr MediaType unknown_type{"", "application/octet-stream"};

}  // namespace

const MediaType& media_type(std::string_view path) {
  const std::size_t dot = path.find_last_of("./");
  if (dot == std::string_view::npos || path[dot] == '/') return unknown_type;
  const std::string_view extension = path.substr(dot + 1);

  std::array<char, 16> lower{};  // longer than any extension of the table
  if (extension.size() > lower.size()) return unknown_type;
  std::ranges::transform(extension, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const std::string_view wanted(lower.data(), extension.size());
  const auto* const found = std::ranges::lower_bound(types, wanted, {}, &MediaType::extension);
  return found != types.end() && found->extension == wanted ? *found : unknown_type;
}

std::string_view mime_type(std::string_view path) {
  return media_type(path).name;
}

}  // namespace pagewire::content
