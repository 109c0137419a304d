// The texts of /proc, /sys and cgroups that checks look into. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/kernel_version.h"

namespace pagewire::doctor {

using sys::KernelVersion;

/// The unsigned numbers of a text, whatever white space is between them; ends at the first word
/// that is none.
std::vector<std::uint64_t> parse_numbers(std::string_view text);
std::optional<std::uint64_t> parse_number(std::string_view text);

/// "always [madvise] never" is "madvise"; "" without brackets.
std::string parse_chosen(std::string_view text);

/// CPUs in a mask of /sys: "00000000,00000003" has 2.
std::size_t count_cpus_in_mask(std::string_view mask);
/// "0-3,8" to numbers; what is none ends it.
std::vector<int> parse_cpu_list(std::string_view text);

/// The value behind `name` in lines of "name value", as in /proc/net/tls_stat and memory.stat.
std::optional<std::uint64_t> value_of(std::string_view text, std::string_view name);

/// The first line of /proc/stat.
struct CpuTimes {
  std::uint64_t total = 0;  ///< ticks of all states
  std::uint64_t steal = 0;
};
std::optional<CpuTimes> parse_cpu_times(std::string_view proc_stat);

/// /proc/self/cgroup (cgroups(7)): the path in the hierarchy of `controller`, else in the unified
/// one; `unified` tells which.
struct CgroupPath {
  std::string path;
  bool unified = true;
  std::string controllers =
      {};  ///< all of the hierarchy, as its folder may be called: "cpu,cpuacct"
};
std::optional<CgroupPath> parse_cgroup(std::string_view text, std::string_view controller);

/// cpu.max: "200000 100000" is 2 CPUs, "max 100000" none.
std::optional<double> parse_cpu_max(std::string_view text);

}  // namespace pagewire::doctor
