#include "sys/tracepoint.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "sys/fd.h"

namespace pagewire::sys {

namespace {

// Below a tracefs.
std::string path_of(const Tracepoint& tracepoint) {
  return "events/" + tracepoint.system + "/" + tracepoint.name + "/id";
}

Result<std::uint64_t> read_id(int directory_fd, const std::string& path) {
  const Fd file(::openat(directory_fd, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return last_error("open");
  std::array<char, 32> text{};
  const ssize_t n = ::read(file.get(), text.data(), text.size());
  if (n < 0) return last_error("read");
  std::uint64_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + n, id);
  if (parsed.ec != std::errc()) return failure("tracepoint id", EINVAL);
  return id;
}

}  // namespace

Result<std::uint64_t> id_of(const Tracepoint& tracepoint) {
  for (const char* mount : {"/sys/kernel/tracing/", "/sys/kernel/debug/tracing/"}) {
    const Result<std::uint64_t> id = read_id(AT_FDCWD, mount + path_of(tracepoint));
    if (id) return id;
    // EACCES: it is mounted, for root alone; another copy of it would have the same modes.
    if (id.error().errno_value == EACCES) return id;
    // ENOENT: not mounted here.
  }
  return id_from_detached_tracefs(tracepoint);
}

Result<std::uint64_t> id_from_detached_tracefs(const Tracepoint& tracepoint) {
  const Fd context(::fsopen("tracefs", FSOPEN_CLOEXEC));
  // EPERM: no CAP_SYS_ADMIN. ENODEV: no tracefs. ENOSYS: before Linux 5.2.
  if (!context.is_open()) return last_error("fsopen(tracefs)");
  // EPERM: a user namespace of ours does not own tracefs.
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return last_error("fsconfig(tracefs)");
  }
  const Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
  if (!mount.is_open()) return last_error("fsmount(tracefs)");
  return read_id(mount.get(), path_of(tracepoint));
}

}  // namespace pagewire::sys
