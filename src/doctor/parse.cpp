#include "doctor/parse.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <numeric>

namespace pagewire::doctor {

namespace {

constexpr std::string_view white = " \t\n\r";

std::string_view next_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(white), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(white));
  text.remove_prefix(word.size());
  return word;
}

std::string_view next_part(std::string_view& text, char separator) {
  const std::string_view part = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

/// All of `text`, or nothing.
template <class Number>
std::optional<Number> whole(std::string_view text, int base = 10) {
  Number value{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<std::uint64_t> parse_numbers(std::string_view text) {
  std::vector<std::uint64_t> numbers;
  for (;;) {
    const std::optional<std::uint64_t> number = whole<std::uint64_t>(next_word(text));
    if (!number) return numbers;
    numbers.push_back(*number);
  }
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  return whole<std::uint64_t>(next_word(text));
}

std::string parse_chosen(std::string_view text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', std::min(open, text.size()));
  if (open == text.npos || close == text.npos) return {};
  return std::string(text.substr(open + 1, close - open - 1));
}

std::size_t count_cpus_in_mask(std::string_view mask) {
  std::size_t count = 0;
  std::string_view rest = next_word(mask);
  while (!rest.empty()) {
    const auto bits = whole<std::uint64_t>(next_part(rest, ','), 16);
    if (!bits) break;
    count += static_cast<std::size_t>(std::popcount(*bits));
  }
  return count;
}

std::vector<int> parse_cpu_list(std::string_view text) {
  constexpr int limit = 1 << 16;  // more than any kernel has
  std::vector<int> cpus;
  std::string_view rest = next_word(text);
  while (!rest.empty()) {
    std::string_view part = next_part(rest, ',');
    const std::optional<int> first = whole<int>(next_part(part, '-'));
    const std::optional<int> last = part.empty() ? first : whole<int>(part);
    if (!first || !last || *first < 0 || *last >= limit) break;
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::optional<std::uint64_t> value_of(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    std::string_view line = next_part(text, '\n');
    if (next_word(line) == name) return whole<std::uint64_t>(next_word(line));
  }
  return std::nullopt;
}

// proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice; the last two are
// part of the first two.
std::optional<CpuTimes> parse_cpu_times(std::string_view proc_stat) {
  std::string_view line = next_part(proc_stat, '\n');
  if (next_word(line) != "cpu") return std::nullopt;
  const std::vector<std::uint64_t> ticks = parse_numbers(line);
  constexpr std::size_t steal_at = 7;
  if (ticks.size() <= steal_at) return std::nullopt;
  return CpuTimes{
      .total = std::accumulate(ticks.begin(), ticks.begin() + steal_at + 1, std::uint64_t{0}),
      .steal = ticks[steal_at]};
}

// "4:cpu,cpuacct:/system.slice", or "0::/user.slice"
std::optional<CgroupPath> parse_cgroup(std::string_view text, std::string_view controller) {
  std::optional<CgroupPath> unified;
  while (!text.empty()) {
    std::string_view line = next_part(text, '\n');
    const std::string_view number = next_part(line, ':');
    std::string_view controllers = next_part(line, ':');
    const std::string_view all = controllers;
    if (number == "0" && controllers.empty()) unified = {.path = std::string(line)};
    while (!controllers.empty()) {
      if (next_part(controllers, ',') == controller) {
        return CgroupPath{
            .path = std::string(line), .unified = false, .controllers = std::string(all)};
      }
    }
  }
  return unified;
}

std::optional<double> parse_cpu_max(std::string_view text) {
  const auto quota = whole<std::uint64_t>(next_word(text));
  const auto period = whole<std::uint64_t>(next_word(text));
  if (!quota || !period || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

}  // namespace pagewire::doctor
