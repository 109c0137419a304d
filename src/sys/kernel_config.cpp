#include "sys/kernel_config.h"

#include <sys/utsname.h>
#include <zlib.h>

#include <array>

namespace pagewire::sys {

namespace {

constexpr std::size_t limit_bytes = 4U << 20;  // a configuration has some 150 to 300 KB

// gzread(3) takes a file that is not compressed as it is.
std::optional<std::string> read_perhaps_compressed(const std::string& path) {
  const gzFile file = ::gzopen(path.c_str(), "re");
  if (file == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 16 * 1024> piece;
  int n = 0;
  while (text.size() < limit_bytes && (n = ::gzread(file, piece.data(), piece.size())) > 0) {
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
  ::gzclose(file);
  if (n < 0 || text.empty()) return std::nullopt;  // damaged
  return text;
}

}  // namespace

std::optional<KernelConfig> KernelConfig::load() {
  std::optional<std::string> text = read_perhaps_compressed("/proc/config.gz");
  utsname kernel{};
  if (!text && ::uname(&kernel) == 0) {
    text = read_perhaps_compressed(std::string("/boot/config-") + kernel.release);
  }
  if (!text) return std::nullopt;
  return KernelConfig(std::move(*text));
}

std::string KernelConfig::value_of(std::string_view name) const {
  const std::string key = "CONFIG_" + std::string(name) + "=";
  const std::string_view text = text_;
  for (std::size_t at = text.find(key); at != text.npos; at = text.find(key, at + 1)) {
    if (at != 0 && text[at - 1] != '\n') continue;  // the end of a longer name
    std::string_view value = text.substr(at + key.size());
    value = value.substr(0, value.find('\n'));
    if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
    return std::string(value);
  }
  return "n";
}

}  // namespace pagewire::sys
