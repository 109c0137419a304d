// What profile prints.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "profile/profile.h"
#include "text/text.h"

namespace pagewire::profile {

namespace {

constexpr std::size_t label_columns = 24;
constexpr std::string_view normal = "\x1b[0m";

std::string painted(const TextOptions& options, std::string_view colour, std::string_view text) {
  return options.colour ? fmt::format("{}{}{}", colour, text, normal) : std::string(text);
}

std::string padded(std::string_view text, std::size_t columns) {
  const std::string cut = cut_to(text, columns);
  return cut + std::string(columns - columns_of(cut), ' ');
}

void add_lines(std::string& into, std::string_view text, std::size_t columns) {
  for (const std::string& line : wrap(text, std::max<std::size_t>(columns, 20)))
    into += line + '\n';
}

std::string who(const Report& report) {
  std::map<std::string, std::vector<pid_t>> by_name;
  for (const Process& process : report.processes) by_name[process.name].push_back(process.pid);
  std::string text;
  for (const auto& [name, pids] : by_name) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", name, fmt::join(pids, ", "));
  }
  return text;
}

void add_head(const Report& report, const TextOptions& options, std::string& text) {
  add_lines(text,
            fmt::format("pagewire profile: {}, {:.1f} s by {} at {} Hz", who(report),
                        report.seconds, report.event, report.frequency_hz),
            options.columns);
  const double of_a_core = report.seconds > 0 ? 100 * report.cpu_seconds / report.seconds : 0;
  add_lines(
      text,
      fmt::format("{} samples; {:.2f} s of CPU, {:.0f}% of a core, {:.2f} s of it in user mode",
                  format_number(static_cast<double>(report.samples)), report.cpu_seconds, of_a_core,
                  report.user_seconds),
      options.columns);
}

void add_shares(const Report& report, const TextOptions& options, std::string& text) {
  if (report.samples == 0) return;
  text += '\n';
  const std::size_t room = options.columns > label_columns + 12 + 10
                               ? std::min<std::size_t>(options.columns - label_columns - 12, 40)
                               : 0;
  double largest = 1;
  for (std::size_t i = 0; i < category_count; ++i) {
    largest = std::max(largest, report.percent(static_cast<Category>(i)));
  }
  for (std::size_t i = 0; i < category_count; ++i) {
    const auto category = static_cast<Category>(i);
    const double percent = report.percent(category);
    const auto length = static_cast<std::size_t>(percent / largest * static_cast<double>(room));
    std::string bar;
    for (std::size_t j = 0; j < length; ++j) bar += "█";
    text += fmt::format("  {} {:5.1f}%", padded(title(category), label_columns), percent);
    if (!bar.empty()) {
      text += "  " + painted(options, category == Category::Copy ? "\x1b[31m" : "\x1b[34m", bar);
    }
    text += '\n';
  }
}

void add_syscalls(const Report& report, const TextOptions& options, std::string& text) {
  text += '\n' + painted(options, "\x1b[1m", "System calls") + '\n';
  if (!report.no_syscalls.empty()) {
    return add_lines(text, "  not counted: " + report.no_syscalls, options.columns);
  }
  constexpr std::size_t most = 8;
  double all = 0;
  for (const SyscallUse& use : report.syscalls) all += use.calls_per_s;
  text += fmt::format("  {} {:>9}/s\n", padded("all", 16), format_number(std::round(all)));
  for (std::size_t i = 0; i < std::min(most, report.syscalls.size()); ++i) {
    const SyscallUse& use = report.syscalls[i];
    text += fmt::format("  {} {:>9}/s", padded(use.name, 16),
                        format_number(std::round(use.calls_per_s)));
    if (use.bytes_per_call) text += fmt::format("  {} each", format_size(*use.bytes_per_call));
    text += '\n';
  }
}

void add_functions(const Report& report, const TextOptions& options, std::string& text) {
  if (report.samples == 0) return;
  std::map<std::uint32_t, std::uint64_t> self;
  for (const Stack& stack : report.stacks) self[stack.frames.back()] += stack.samples;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> order(self.begin(), self.end());
  std::ranges::stable_sort(order, std::ranges::greater(),
                           &std::pair<std::uint32_t, std::uint64_t>::second);
  constexpr std::size_t most = 8;
  text += '\n' + painted(options, "\x1b[1m", "Hottest functions, by themselves") + '\n';
  for (std::size_t i = 0; i < std::min(most, order.size()); ++i) {
    const Frame& frame = report.frames[order[i].first];
    const double percent =
        100 * static_cast<double>(order[i].second) / static_cast<double>(report.samples);
    text += cut_to(fmt::format("  {:5.1f}%  {} [{}]", percent, frame.function, frame.module),
                   options.columns) +
            '\n';
  }
}

}  // namespace

std::string to_text(const Report& report, const TextOptions& options) {
  std::string text;
  add_head(report, options, text);
  add_shares(report, options, text);
  add_functions(report, options, text);
  add_syscalls(report, options, text);
  for (const std::string& note : report.notes) add_lines(text, "note: " + note, options.columns);
  text += '\n' + painted(options, "\x1b[1m", "Verdict") + '\n';
  add_lines(text, report.verdict.text, options.columns);
  return text;
}

}  // namespace pagewire::profile
