// LogFile: appends whole lines to a file, and never leaves a torn one.
//
// Invariant: between two append() calls the file ends with a whole line, or `unfinished_` holds the
// rest of its last one, which goes out before anything else does. Used by the writer thread alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sys/fd.h"

namespace pagewire::log {

class LogFile {
 public:
  /// "-" is standard output. Error: as open(2); ENXIO for a FIFO that nobody reads.
  static Result<LogFile> open(const std::string& path);

  /// Appends `lines` (each with its newline). Returns how many of them were lost because of
  /// ENOSPC, EDQUOT, EIO, EFBIG, EPIPE or a reader that does not read.
  std::uint64_t append(std::string_view lines);

  /// Opens the path anew; when that fails the old file stays and standard error says so. Returns
  /// the lines lost: 1 when the old file's last line could not be finished.
  std::uint64_t reopen();

 private:
  LogFile(std::string path, sys::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  /// Writes until all is out or an error says stop; returns the bytes written.
  std::size_t write_all(std::string_view bytes);
  bool finish_torn_line();
  bool wait_writable() const;
  void report(int errno_value);

  std::string path_;
  sys::Fd fd_;
  std::string unfinished_;
  bool failing_ = false;  ///< the last write failed: said once, not once a batch
};

}  // namespace pagewire::log
