// MirrorSink: where a mirror's records go, a series of files or connections to a recorder.
//
// Used by the mirror's thread alone. A file never is one that was there before: NAME, else the
// first of NAME.1, NAME.2, ... that is free. Kernel facts: splice(2) refuses files with O_APPEND
// (EINVAL) and is given the offset instead; into a file it waits for the disk.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/units.h"
#include "relay/resolver.h"
#include "sys/fd.h"
#include "sys/pipe.h"

namespace pagewire::relay {

class MirrorSink {
 public:
  MirrorSink(std::string target, LookUp look_up);

  bool is_file() const { return is_file_; }
  bool is_open() const { return fd_.is_open(); }
  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }       ///< of the file, or the recorder
  std::uint64_t size_bytes() const { return position_; }  ///< of this file or connection

  /// The next file; or a connection, which waits for at most `wait_ms`, and no longer than
  /// `alarm_fd` is silent. Errors: of open(2), connect(2); EISDIR, EEXIST: NAME is a
  /// folder, a device, ...; EHOSTUNREACH: no such name; ETIMEDOUT.
  struct Patience {
    int wait_ms;
    int alarm_fd;
  };
  Result<void> open_next(Patience patience);
  void close() { fd_.close(); }

  /// Errors: EAGAIN (a recorder that does not read), EPIPE, ECONNRESET; ENOSPC, EDQUOT, EFBIG, EIO.
  enum class More : bool { No, Yes };
  Result<ByteCount> write(std::span<const unsigned char> bytes, More more);
  Result<ByteCount> splice(const sys::Pipe& pipe, ByteCount count, More more);

  /// Of a file: everything from `size_bytes` on goes; writes go on there.
  void cut_to(std::uint64_t size_bytes);
  /// Of a file: other bytes at a place that was written before.
  void overwrite(std::uint64_t at, std::span<const unsigned char> bytes);

 private:
  Result<void> create_file();
  Result<void> connect_to_recorder(Patience patience);

  std::string target_;
  std::string name_;
  LookUp look_up_;
  bool is_file_;
  std::uint64_t next_number_ = 0;  ///< of NAME.N; 0 is NAME itself
  std::uint64_t position_ = 0;
  sys::Fd fd_;
};

}  // namespace pagewire::relay
