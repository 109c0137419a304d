#include "sys/kernel_version.h"

#include <sys/utsname.h>

#include <charconv>

namespace pagewire::sys {

KernelVersion parse_kernel_version(std::string_view release) {
  const char* const end = release.data() + release.size();
  KernelVersion version;
  const auto major = std::from_chars(release.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return {};
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  if (minor.ec != std::errc()) return {};
  return version;
}

std::string kernel_release() {
  utsname kernel{};
  return ::uname(&kernel) == 0 ? kernel.release : "";
}

}  // namespace pagewire::sys
