// A report's way out: the table for whoever looks on, and the files that were asked for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench.h"
#include "cli/bench_options.h"

namespace pagewire::cli {

/// Looked at before a run: a typing error in a file's name must not cost its minutes. The line
/// that says what is wrong, with the flag that named the file, or nothing.
std::optional<std::string> why_not_writable(const Outputs& outputs);
std::optional<std::string> why_not_writable(std::string_view flag, const std::string& file);

/// Prints the table to standard output (standard error, if a report goes there) and writes the
/// files. What cannot be written is one line each, beginning with `command`, and does not keep the
/// rest from being written; false if there was any.
bool deliver(const bench::Report& report, const Outputs& outputs, std::string_view command);

/// write_file() and its line on standard error.
bool write_or_complain(const std::string& file, std::string_view text, std::string_view command);

/// To standard output; false, with a line on standard error, when it does not take it.
bool print(std::string_view text, std::string_view command);

}  // namespace pagewire::cli
