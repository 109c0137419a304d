// Pipe and PipePool: the kernel buffers that splice(2) moves pages through.
//
// Invariant: a pipe in the pool is empty. One that may still hold bytes is closed, never pooled:
// what a dead connection left behind must not reach the next client.
// Kernel facts: F_SETPIPE_SZ rounds up to a power of two of pages; once a user without
// CAP_SYS_RESOURCE holds more than fs.pipe-user-pages-soft pages, new pipes silently have one or
// two pages and F_SETPIPE_SZ gives EPERM (pipe(7)). It gives EPERM, too, and leaves the 64 KiB, for
// more than fs.pipe-max-size. So the capacity is always asked for, never assumed.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "sys/fd.h"

namespace pagewire::sys {

struct Pipe {
  Fd read_end;
  Fd write_end;
  ByteCount capacity;  ///< what F_GETPIPE_SZ said

  bool is_open() const { return read_end.is_open(); }
};

/// A new non-blocking, close-on-exec pipe of about `wanted` bytes; less when the kernel says EPERM
/// (fs.pipe-max-size, soft limit): see Pipe::capacity. Errors: EMFILE, ENFILE (descriptors),
/// ENOMEM.
Result<Pipe> make_pipe(ByteCount wanted);

/// Bytes waiting in the pipe (FIONREAD).
Result<ByteCount> bytes_in(const Pipe& pipe);

/// A worker's idle pipes. Not thread-safe.
class PipePool {
 public:
  struct Limits {
    std::size_t idle = 64;         ///< pipes kept when nobody uses them
    ByteCount capacity{64 * kib};  ///< asked for each
  };
  explicit PipePool(Limits limits) : limits_(limits) { idle_.reserve(limits.idle); }

  Result<Pipe> take();

  /// The same for a pipe of which the caller has counted that as much went out as came in: saves
  /// the question.
  void give_back_empty(Pipe pipe);

  /// Gives a pipe back. It is kept if it is empty (the kernel is asked) and there is room, else
  /// closed. A pipe that was closed or moved from is ignored.
  void give_back(Pipe pipe);

  std::size_t idle() const { return idle_.size(); }
  std::uint64_t made() const { return made_; }      ///< by take(), with pipe2(2)
  std::uint64_t reused() const { return reused_; }  ///< by take(), out of the pool

 private:
  Limits limits_;
  std::vector<Pipe> idle_;
  std::uint64_t made_ = 0;
  std::uint64_t reused_ = 0;
};

}  // namespace pagewire::sys
