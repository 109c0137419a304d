#include "egress/selftest_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "sys/fd.h"
#include "sys/text_file.h"

namespace pagewire::egress {

namespace {

constexpr std::size_t cache_limit_bytes = 16 * kib;
constexpr std::string_view last_line = "end";

std::string_view next_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

/// "ok sendfile" or "unsupported splice WHY"; nullopt for anything else.
std::optional<PathReport> parse_line(std::string_view line, const Path& path) {
  for (const PathState state : {PathState::Usable, PathState::Unsupported}) {
    const std::string begin = fmt::format("{} {}", token(state), path.name);
    if (!line.starts_with(begin)) continue;
    const std::string_view rest = line.substr(begin.size());
    if (state == PathState::Usable && !rest.empty()) return std::nullopt;
    if (state == PathState::Unsupported && !rest.starts_with(' ')) return std::nullopt;
    return PathReport{
        .path = &path, .state = state, .why = std::string(rest.substr(rest.empty() ? 0 : 1))};
  }
  return std::nullopt;
}

}  // namespace

std::optional<CacheKey> cache_key(const std::string& folder, const std::string& root) {
  struct statfs filesystem {};
  struct stat status {};
  utsname kernel{};
  if (folder.empty() || ::statfs(root.c_str(), &filesystem) != 0 ||
      ::stat(root.c_str(), &status) != 0 || ::uname(&kernel) != 0) {
    return std::nullopt;
  }
  std::uint64_t id = 0;
  static_assert(sizeof filesystem.f_fsid == sizeof id);
  std::memcpy(&id, &filesystem.f_fsid, sizeof id);
  // A number that the next mount takes over, and no name of its own: FUSE, where the daemon behind
  // it may be another one by then.
  const bool unnamed = id == 0 || id == status.st_dev;
  if (unnamed && major(status.st_dev) == 0) return std::nullopt;
  const std::string numbers = fmt::format("{:x}-{:x}-{:x}", id, filesystem.f_type, status.st_dev);
  return CacheKey{.file = fmt::format("{}/self-test-{}", folder, numbers),
                  .line = fmt::format("pagewire {} self-test of {} on {}", PAGEWIRE_VERSION,
                                      numbers, kernel.release)};
}

std::optional<std::vector<PathReport>> read_cache(const CacheKey& key,
                                                  std::span<const Path* const> paths) {
  const Result<std::string> text = sys::read_text(key.file, cache_limit_bytes);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  if (next_line(rest) != key.line) return std::nullopt;
  std::vector<PathReport> reports;
  for (const Path* const path : paths) {
    std::optional<PathReport> report = parse_line(next_line(rest), *path);
    if (!report) return std::nullopt;
    reports.push_back(std::move(*report));
  }
  if (next_line(rest) != last_line || !rest.empty()) return std::nullopt;
  return reports;
}

void write_cache(const CacheKey& key, std::span<const PathReport> reports) {
  std::string text = key.line + "\n";
  for (const PathReport& report : reports) {
    text += fmt::format("{} {}{}{}\n", token(report.state), report.path->name,
                        report.why.empty() ? "" : " ", report.why);
  }
  text += fmt::format("{}\n", last_line);
  std::error_code ignored;  // EACCES, EROFS: the open below says the same
  std::filesystem::create_directories(std::filesystem::path(key.file).parent_path(), ignored);
  const std::string draft = fmt::format("{}.{}", key.file, ::getpid());
  constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
  const sys::Fd fd(::open(draft.c_str(), flags, 0600));
  if (!fd.is_open()) return;
  const bool whole = ::write(fd.get(), text.data(), text.size()) ==
                     static_cast<ssize_t>(text.size());  // short: the disk is full
  if (!whole || ::rename(draft.c_str(), key.file.c_str()) != 0) ::unlink(draft.c_str());
}

}  // namespace pagewire::egress
