// The file that a run sends: the user's, or one that is made and has no name.
#pragma once

#include <optional>
#include <string>

#include <tl/expected.hpp>

#include "bench/run.h"
#include "bench/watch.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace pagewire::bench {

struct SourceFile {
  sys::Fd fd;
  sys::FileStatus status;  ///< as it was opened; figures of different contents are not comparable
};

/// Errors, as one line: no such file, no permission, a directory, a FIFO, an empty file.
tl::expected<SourceFile, CannotRun> open_source(const std::string& name);

inline constexpr const char* zero_device = "/dev/zero";

/// So many bytes of /dev/zero. Its status says that it is a device, and has that size.
tl::expected<SourceFile, CannotRun> open_zeros(ByteCount size);

struct NewSource {
  std::string folder;
  ByteCount size;
};
/// Errors: as make_position_coded_file; "stopped" when the watch was asked to.
tl::expected<SourceFile, CannotRun> make_source(const NewSource& wanted, Watch& watch);

/// Whether it was overwritten, truncated or appended to since it was opened.
bool has_changed(const SourceFile& source);

/// Reads the whole file, so that rounds find it in the page cache. Returns what a reader of the
/// report should know: that it does not fit. Ends early on a stop.
std::optional<std::string> warm_up(const SourceFile& source, Watch& watch);

}  // namespace pagewire::bench
