#include "cli/bench_output.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "bench/bench.h"
#include "cli/terminal.h"

namespace pagewire::cli {

namespace {

constexpr std::size_t default_columns = 100;

struct Format {
  std::string_view flag;
  std::string Outputs::*file;
  std::string (*render)(const bench::Report& report);
};
constexpr Format formats[] = {
    {"--json", &Outputs::json, bench::to_json},       {"--csv", &Outputs::csv, bench::to_csv},
    {"--html", &Outputs::html, bench::to_html},       {"--svg", &Outputs::svg, bench::to_svg},
    {"--md", &Outputs::markdown, bench::to_markdown},
};

bool is_stdout(const std::string& file) {
  return file == "-";
}

/// errno of what keeps `file` from being written, or 0.
int errno_for(const std::string& file) {
  struct stat status {};
  const bool exists = ::stat(file.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) return EISDIR;
  // A device or a pipe is written as it is; another file is replaced by a new one beside it.
  if (exists && !S_ISREG(status.st_mode)) return ::access(file.c_str(), W_OK) == 0 ? 0 : errno;
  const std::size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash + 1);
  if (::stat(folder.c_str(), &status) != 0) return errno;  // ENOENT, EACCES, ELOOP
  if (!S_ISDIR(status.st_mode)) return ENOTDIR;
  return ::access(folder.c_str(), W_OK | X_OK) == 0 ? 0 : errno;  // EACCES, EROFS
}

bool print_table(const bench::Report& report, bool on_stderr, std::string_view command) {
  const int fd = on_stderr ? STDERR_FILENO : STDOUT_FILENO;
  const std::string table = bench::to_table(
      report, {.columns = terminal_columns(fd, default_columns), .colour = wants_colour(fd)});
  if (!on_stderr) return print(table, command);
  (void)std::fputs(table.c_str(), stderr);
  return true;
}

}  // namespace

std::optional<std::string> why_not_writable(std::string_view flag, const std::string& file) {
  if (file.empty() || is_stdout(file)) return std::nullopt;
  const int error = errno_for(file);
  if (error == 0) return std::nullopt;
  return fmt::format("{} {}: {}", flag, file, std::strerror(error));
}

std::optional<std::string> why_not_writable(const Outputs& outputs) {
  for (const Format& format : formats) {
    if (auto line = why_not_writable(format.flag, outputs.*format.file)) return line;
  }
  return std::nullopt;
}

bool deliver(const bench::Report& report, const Outputs& outputs, std::string_view command) {
  bool on_stdout = false;
  for (const Format& format : formats) on_stdout |= is_stdout(outputs.*format.file);
  bool all = print_table(report, on_stdout, command);
  for (const Format& format : formats) {
    const std::string& file = outputs.*format.file;
    if (file.empty()) continue;
    const std::string text = format.render(report);
    all &= is_stdout(file) ? print(text, command) : write_or_complain(file, text, command);
  }
  return all;
}

bool write_or_complain(const std::string& file, std::string_view text, std::string_view command) {
  const Result<void> written = bench::write_file(file, text);
  if (written) return true;
  const std::string line = fmt::format("{}: {}: {}\n", command, file, describe(written.error()));
  (void)std::fputs(line.c_str(), stderr);
  return false;
}

bool print(std::string_view text, std::string_view command) {
  const bool whole = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (whole && std::fflush(stdout) == 0) return true;
  // EPIPE: the reader (less, head) has gone; ENOSPC, EFBIG: standard output is a file.
  const int error = errno;
  (void)std::fputs(fmt::format("{}: standard output: {}\n", command, std::strerror(error)).c_str(),
                   stderr);
  return false;
}

}  // namespace pagewire::cli
