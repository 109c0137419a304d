#include "profile/jit_symbols.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "profile/target.h"
#include "sys/clock.h"
#include "sys/fd.h"

namespace pagewire::profile {

namespace {

constexpr std::size_t limit_bytes = 64U << 20;

/// The list, as long as it is the process's owner's or root's: anybody may write to /tmp.
std::string read_list(pid_t process) {
  const std::string name =
      fmt::format("/proc/{}/root/tmp/perf-{}.map", process, number_in_its_namespace(process));
  // EACCES: the root of another user's process; ENOENT: it writes none, as most.
  const sys::Fd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat owner {};
  struct stat status {};
  if (!file.is_open() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      ::stat(fmt::format("/proc/{}", process).c_str(), &owner) != 0 ||
      (status.st_uid != owner.st_uid && status.st_uid != 0)) {
    return {};
  }
  std::string text(std::min<std::size_t>(static_cast<std::size_t>(status.st_size), limit_bytes),
                   '\0');
  const ssize_t n = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));  // EIO: what was read is enough
  return text;
}

std::optional<std::uint64_t> next_number(std::string_view& line) {
  std::uint64_t value = 0;
  if (line.starts_with("0x")) line.remove_prefix(2);
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), value, 16);
  if (parsed.ec != std::errc() || parsed.ptr == line.data() + line.size() || *parsed.ptr != ' ') {
    return std::nullopt;
  }
  line.remove_prefix(static_cast<std::size_t>(parsed.ptr - line.data()) + 1);
  return value;
}

}  // namespace

std::optional<std::string> JitSymbols::find(std::uint64_t address) {
  constexpr std::int64_t pause_ns = 1'000'000'000;
  const Function* found = at(address);
  if (found == nullptr && sys::monotonic_ns() >= next_load_ns_) {
    parse(read_list(process_));
    next_load_ns_ = sys::monotonic_ns() + pause_ns;
    found = at(address);
  }
  return found == nullptr ? std::nullopt : std::optional(found->name);
}

void JitSymbols::parse(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto begin = next_number(line);
    const auto size = begin ? next_number(line) : std::nullopt;
    if (size && !line.empty()) {
      functions_.insert_or_assign(*begin,
                                  Function{.end = *begin + *size, .name = std::string(line)});
    }
  }
}

const JitSymbols::Function* JitSymbols::at(std::uint64_t address) const {
  const auto after = functions_.upper_bound(address);
  if (after == functions_.begin()) return nullptr;
  const Function& before = std::prev(after)->second;
  return address < before.end ? &before : nullptr;
}

}  // namespace pagewire::profile
