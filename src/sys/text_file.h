// Small text files of /proc and /sys, whole.
//
// They have no size to ask for (fstat says 0 or 4096) and are made while they are read, so one is
// read until it ends. Nothing is allocated for those that are read while something is measured.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pagewire::sys {

/// The file's text, in `into`; what does not fit is cut off. Errors: as open(2) and read(2); ESRCH
/// for a file of a process that has ended between the two.
Result<std::string_view> read_text(const char* path, std::span<char> into);

/// The same with memory of its own. Errors: also EFBIG beyond `limit_bytes`.
Result<std::string> read_text(const std::string& path, std::size_t limit_bytes = 1 << 20);

/// The first line, or "" for whatever reason there is none: for what is only shown.
std::string first_line_of(const std::string& path);

}  // namespace pagewire::sys
