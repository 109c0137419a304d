// MasterPipes: the worker's cache of small files as pipes, from which tee(2) copies references.
//
// Invariants: a master holds the whole of its file, from the first byte on, or it is not there;
// nothing is ever taken out of it (tee(2) consumes nothing). It holds a reference to the
// OpenFile that it was filled from, so that a pointer names one version of one file as long as it
// stands here; a file that was replaced is another OpenFile and gets a master of its own. Fixed
// number, least recently used out first: no allocation after construction.
// What it costs at most, for each master: two descriptors, 16 pages of the user's pipe pages, and
// a file of up to 64 KiB that cannot be freed on the disk while its master stands.
//
// Kernel facts: a pipe holds references to pages of the page cache, so a file overwritten in place
// is overwritten in its master, too, but a truncated one's pages stay in the master as they were.
// So whoever uses a master asks first whether the file is still what it was. Rests on splice(2),
// pipe(7): pipes may be smaller than asked for (fs.pipe-user-pages-soft).
#pragma once

#include <cstdint>
#include <vector>

#include "content/content.h"
#include "egress/memory.h"
#include "sys/pipe.h"

namespace pagewire::egress {

/// A default pipe's 16 pages of 4 KiB.
inline constexpr ByteCount largest_master{64 * kib};

class MasterPipes {
 public:
  explicit MasterPipes(std::size_t count) : masters_(count) {}

  /// The master of `file`, filled now if need be. Moved: `pipe` is set and valid until the next
  /// call. SourceTruncated, SourceChanged: the file is not what its status says; a master that it
  /// had is gone. Unsupported: no master can be made (descriptors, memory, a pipe that is too
  /// small, a file that cannot be spliced). Failed: EIO.
  struct Found {
    Attempt attempt;
    const sys::Pipe* pipe = nullptr;
  };
  Found find(const content::OpenFile& file);
  /// Whether find() has it already, and need not read the file.
  bool has(const content::OpenFile& file) const;

 private:
  struct Master {
    content::FileRef file;
    sys::Pipe pipe;
    std::uint64_t used = 0;  ///< the clock's time of its last use; 0: free
  };
  static Attempt fill(Master& master, const content::OpenFile& file);
  Master& victim();

  std::vector<Master> masters_;
  std::uint64_t clock_ = 0;
};

}  // namespace pagewire::egress
