#include "sys/mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

constexpr std::size_t mountinfo_limit_bytes = 16U << 20;  // hosts of containers have thousands

std::string_view next_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

// White space and backslashes stand as \040 and the like.
std::string without_escapes(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    unsigned value = 0;
    const bool escaped =
        text.size() >= 4 && text.front() == '\\' &&
        std::from_chars(text.data() + 1, text.data() + 4, value, 8).ptr == text.data() + 4;
    plain.push_back(escaped ? static_cast<char>(value) : text.front());
    text.remove_prefix(escaped ? 4 : 1);
  }
  return plain;
}

}  // namespace

Result<Mount> mount_of(const std::string& path) {
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &status) != 0) return last_error("statx");
  if ((status.stx_mask & STATX_MNT_ID) == 0) return failure("statx(STATX_MNT_ID)", ENODATA);
  const Result<std::string> text = read_text("/proc/self/mountinfo", mountinfo_limit_bytes);
  if (!text) return tl::unexpected(text.error());
  return find_mount(*text, status.stx_mnt_id);
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
Result<Mount> find_mount(std::string_view mountinfo, std::uint64_t mount_id) {
  while (!mountinfo.empty()) {
    std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
    mountinfo.remove_prefix(std::min(line.size() + 1, mountinfo.size()));
    const std::string_view number = next_word(line);
    std::uint64_t id = 0;
    std::from_chars(number.data(), number.data() + number.size(), id);
    const std::size_t separator = line.find(" - ");
    if (id != mount_id || separator == line.npos) continue;
    line.remove_prefix(separator + 3);
    const std::string_view type = next_word(line);
    return Mount{.type = std::string(type), .source = without_escapes(next_word(line))};
  }
  return failure("mountinfo", ENODATA);
}

}  // namespace pagewire::sys
