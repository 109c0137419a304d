// From the path of a request target to a name relative to ROOT. Pure.
//
// Invariant of every name that is handed out: no leading '/', no empty, "." or ".." component, no
// component that starts with a dot, no NUL or control byte, valid UTF-8. So it can neither leave
// ROOT nor name a hidden file, and two spellings of one file have one key in the open-file cache.
// The kernel confines the open all the same (symbolic links are its business). RFC 3986 2.1
// (escapes), 5.2.4 (dot segments); UTF-8 by table 3-7 of the Unicode standard.
#include <cstring>

#include "content/content.h"

namespace pagewire::content {

namespace {

bool needs_no_work(std::string_view path);
PathFault percent_decode(std::string_view encoded, std::string& decoded);
bool is_utf8(std::string_view text);
PathFault remove_dot_segments(std::string& path);

}  // namespace

PathFault resolve_path(std::string_view encoded_path, std::string& decoded) {
  decoded.clear();
  if (encoded_path.empty() || encoded_path.front() != '/') {
    return {.status = 400, .why = "the path does not start with a slash"};
  }
  if (needs_no_work(encoded_path)) {
    decoded.assign(encoded_path.substr(1));
    return {};
  }
  PathFault fault = percent_decode(encoded_path.substr(1), decoded);
  if (fault.status == 0 && !is_utf8(decoded)) {
    fault = {.status = 400, .why = "the path is not UTF-8"};
  }
  if (fault.status == 0) fault = remove_dot_segments(decoded);
  if (fault.status != 0) decoded.clear();
  return fault;
}

namespace {

// The common case, which is copied as it stands: printable ASCII without an escape, and no
// component that is empty or starts with a dot. One pass without an early exit, so that the
// compiler may keep it free of branches.
bool needs_no_work(std::string_view path) {
  bool special = false;
  char previous = 0;
  for (const char c : path) {
    const bool printable = c > 0x20 && c < 0x7f;  // char is signed or not: both bounds hold
    const bool starts_badly = (previous == '/') & ((c == '/') | (c == '.'));
    special |= !printable | (c == '%') | starts_badly;
    previous = c;
  }
  return !special;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

PathFault percent_decode(std::string_view encoded, std::string& decoded) {
  for (std::size_t at = 0; at < encoded.size(); ++at) {
    char byte = encoded[at];
    if (byte == '%') {
      if (encoded.size() - at < 3) return {.status = 400, .why = "a cut-off escape in the path"};
      const int high = hex_digit(encoded[at + 1]);
      const int low = hex_digit(encoded[at + 2]);
      if (high < 0 || low < 0) return {.status = 400, .why = "a bad escape in the path"};
      byte = static_cast<char>(high * 16 + low);
      at += 2;
      // A name cannot hold a slash; taking it as a separator would give one file two meanings to
      // whoever checks paths in front of us.
      if (byte == '/') return {.status = 400, .why = "an escaped slash in the path"};
    }
    const auto code = static_cast<unsigned char>(byte);
    if (code < 0x20 || code == 0x7f) return {.status = 400, .why = "a control byte in the path"};
    decoded.push_back(byte);
  }
  return {};
}

/// Bytes of the well-formed UTF-8 sequence at the start of `text`, 0 when there is none. The bounds
/// of the second byte keep out overlong forms (C0, C1, E0 80, F0 80), surrogates (ED A0) and what
/// is above U+10FFFF (F4 90).
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const auto continues = [&](std::size_t at) { return (byte(at) & 0xc0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned lowest = first == 0xe0 ? 0xa0 : 0x80;
    const unsigned highest = first == 0xed ? 0x9f : 0xbf;
    return byte(1) >= lowest && byte(1) <= highest && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned lowest = first == 0xf0 ? 0x90 : 0x80;
    const unsigned highest = first == 0xf4 ? 0x8f : 0xbf;
    return byte(1) >= lowest && byte(1) <= highest && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = utf8_sequence(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

/// In place: what is kept moves towards the front. Empty components vanish as in the filesystem
/// ("a//b" is "a/b"); ".." at the root stays at the root.
PathFault remove_dot_segments(std::string& path) {
  std::size_t kept = 0;  // path[0, kept) is done; it is empty or ends with '/' while the loop runs
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view segment(path.data() + at, slash - at);
    if (segment == "..") {
      if (kept > 0) {
        const std::size_t parent = kept < 2 ? std::string::npos : path.rfind('/', kept - 2);
        kept = parent == std::string::npos ? 0 : parent + 1;
      }
    } else if (!segment.empty() && segment != ".") {
      if (segment.front() == '.') return {.status = 404, .why = "no such file"};  // hidden
      std::memmove(path.data() + kept, segment.data(), segment.size());
      kept += segment.size();
      if (slash < path.size()) path[kept++] = '/';
    }
    at = slash + 1;
  }
  path.resize(kept);
  return {};
}

}  // namespace

}  // namespace pagewire::content
