// Which Linux this is (uname(2)): for what a kernel has, and nothing else tells.
#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace pagewire::sys {

struct KernelVersion {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};
/// "6.18.44-cloud"; 0.0 for what is none.
KernelVersion parse_kernel_version(std::string_view release);

/// Of the running kernel: "6.18.44-cloud".
std::string kernel_release();

}  // namespace pagewire::sys
