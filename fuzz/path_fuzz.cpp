// resolve_path must never hand out a name that leaves ROOT or names a hidden file, whatever the
// path.
//
// The invariants are checked with code of their own, not with the room's. A failure aborts.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "content/content.h"

namespace {

using pagewire::content::PathFault;
using pagewire::content::resolve_path;

void check_name(std::string_view name) {
  for (const char c : name) {
    const auto code = static_cast<unsigned char>(c);
    PW_CHECK(code >= 0x20 && code != 0x7f);
    PW_CHECK(code != 0xc0 && code != 0xc1 && code < 0xf5);  // never in UTF-8
  }
  std::size_t start = 0;
  while (start < name.size()) {
    std::size_t end = start;
    while (end < name.size() && name[end] != '/') ++end;
    PW_CHECK(end > start);         // no empty component, hence no leading '/'
    PW_CHECK(name[start] != '.');  // no "..", no ".", nothing hidden
    start = end + 1;
  }
}

std::string escape_all(std::string_view name) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string escaped = "/";
  for (const char c : name) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '/') {
      escaped += c;
    } else {
      escaped += '%';
      escaped += digits[code / 16U];
      escaped += digits[code % 16U];
    }
  }
  return escaped;
}

void check_same(const std::string& path, const std::string& name) {
  std::string again;
  PW_CHECK(resolve_path(path, again).status == 0);
  PW_CHECK(again == name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path(reinterpret_cast<const char*>(data), size);
  std::string name = "left over";
  const PathFault fault = resolve_path(path, name);
  if (fault.status != 0) {
    PW_CHECK(fault.status == 400 || fault.status == 404);
    PW_CHECK(*fault.why != '\0' && name.empty());
    return 0;
  }
  check_name(name);
  PW_CHECK(name.size() <= path.size());
  // A name, written as a path again, is the same name: escaped as a whole (the slow way), and as it
  // stands when nothing in it would be decoded (the quick way, if it is ASCII).
  check_same(escape_all(name), name);
  if (name.find('%') == std::string::npos) check_same("/" + name, name);
  return 0;
}
