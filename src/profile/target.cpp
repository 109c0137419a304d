#include "profile/target.h"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "sys/text_file.h"

namespace pagewire::profile {

namespace {

constexpr std::size_t comm_characters = 15;

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

pid_t number_of(std::string_view text) {
  pid_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() ? number : 0;
}

std::string folder_of(pid_t process) {
  return "/proc/" + std::to_string(process) + "/";
}

std::string program_of(pid_t process) {
  std::array<char, 4096> name{};
  const ssize_t size = ::readlink((folder_of(process) + "exe").c_str(), name.data(), name.size());
  if (size <= 0) return {};  // EACCES: another user's; ENOENT: a thread of the kernel
  std::string_view path(name.data(), static_cast<std::size_t>(size));
  constexpr std::string_view deleted = " (deleted)";
  if (path.ends_with(deleted)) path.remove_suffix(deleted.size());
  return std::string(path.substr(path.rfind('/') + 1));
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> processes;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), ::closedir);
  while (const dirent* const entry = folder ? ::readdir(folder.get()) : nullptr) {
    if (is_number(entry->d_name)) processes.push_back(number_of(entry->d_name));
  }
  return processes;
}

tl::expected<std::vector<Process>, std::string> process_of(const std::string& text) {
  const pid_t number = number_of(text);
  // A thread's number has a folder, too; samples name the process.
  const pid_t pid =
      number > 0
          ? last_number_of(sys::read_text(folder_of(number) + "status").value_or(""), "Tgid:")
          : 0;
  const std::string comm = pid > 0 ? sys::first_line_of(folder_of(pid) + "comm") : "";
  if (comm.empty()) return tl::unexpected(fmt::format("there is no process {}", text));
  return std::vector{Process{.pid = pid, .name = comm}};
}

}  // namespace

bool goes_by(const Names& names, std::string_view wanted) {
  if (wanted == names.program || wanted == names.comm) return true;
  return names.comm.size() == comm_characters && wanted.size() > comm_characters &&
         wanted.starts_with(names.comm);
}

tl::expected<std::vector<Process>, std::string> find_processes(const std::string& target) {
  if (is_number(target)) return process_of(target);
  std::vector<Process> found;
  for (const pid_t pid : all_processes()) {
    if (pid == ::getpid()) continue;
    const std::string comm = sys::first_line_of(folder_of(pid) + "comm");
    const std::string program = program_of(pid);
    if (goes_by({.comm = comm, .program = program}, target)) {
      found.push_back({.pid = pid, .name = comm});
    }
  }
  if (found.empty()) {
    return tl::unexpected(fmt::format("no process is called {} (ps -e lists them)", target));
  }
  return found;
}

// "123 (name) S 1 ...": the fields behind the last bracket; utime is the 14th, stime the 15th.
CpuUse parse_cpu_use(std::string_view stat, double ticks_per_s) {
  constexpr std::size_t before_utime = 11;
  stat.remove_prefix(std::min(stat.rfind(')') + 1, stat.size()));
  std::array<double, before_utime + 2> fields{};
  for (double& field : fields) {
    stat.remove_prefix(std::min(stat.find_first_not_of(' '), stat.size()));
    const std::string_view word = stat.substr(0, stat.find(' '));
    std::uint64_t value = 0;
    std::from_chars(word.data(), word.data() + word.size(), value);  // the first one is a letter
    field = static_cast<double>(value);
    stat.remove_prefix(word.size());
  }
  return {.user_s = fields[before_utime] / ticks_per_s,
          .system_s = fields[before_utime + 1] / ticks_per_s};
}

CpuUse cpu_use_of(pid_t process) {
  return parse_cpu_use(sys::first_line_of(folder_of(process) + "stat"),
                       static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

bool is_alive(pid_t process) {
  const std::string stat = sys::first_line_of(folder_of(process) + "stat");
  std::string_view rest = stat;
  rest.remove_prefix(std::min(rest.rfind(')') + 1, rest.size()));
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return !rest.empty() && rest.front() != 'Z' && rest.front() != 'X';
}

pid_t number_in_its_namespace(pid_t process) {
  const pid_t inner =
      last_number_of(sys::read_text(folder_of(process) + "status").value_or(""), "NSpid:");
  return inner > 0 ? inner : process;
}

pid_t last_number_of(std::string_view status, std::string_view name) {
  while (!status.empty()) {
    std::string_view line = status.substr(0, status.find('\n'));
    status.remove_prefix(std::min(line.size() + 1, status.size()));
    if (!line.starts_with(name)) continue;
    line.remove_prefix(std::max(name.size(), line.find_last_of(" \t") + 1));
    return number_of(line);
  }
  return 0;
}

std::string children_text(pid_t process) {
  const std::string text =
      sys::first_line_of(fmt::format("{}task/{}/children", folder_of(process), process));
  std::string list;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    if (number_of(word) == 0) continue;
    list += fmt::format("{}{} of {}", list.empty() ? "" : ", ", word,
                        sys::first_line_of(folder_of(number_of(word)) + "comm"));
  }
  return list;
}

}  // namespace pagewire::profile
