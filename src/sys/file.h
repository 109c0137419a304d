// Files: open confined to a directory, stat, pread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/units.h"
#include "sys/fd.h"

namespace pagewire::sys {

enum class FileType { Regular, Directory, Other };

/// What fstat(2) says, as far as a response depends on it. Two equal values are taken to be the
/// same content: that is what the strong ETag rests on.
struct FileStatus {
  FileType type = FileType::Other;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  ByteCount size;
  std::int64_t mtime_ns = 0;  ///< nanoseconds since 1970

  friend bool operator==(const FileStatus&, const FileStatus&) = default;
};

/// Opens a directory for use as the root of open_beneath (O_PATH is not enough: it must be
/// readable). Errors: as open(2).
Result<Fd> open_directory(const char* path);

/// Opens `relative_path` for reading beneath `root_fd` (openat2(2), RESOLVE_BENEATH |
/// RESOLVE_NO_MAGICLINKS). A symbolic link that stays beneath is followed; an absolute one or one
/// that leaves gives EXDEV. O_NONBLOCK, so that a FIFO in the tree cannot stop the caller. EAGAIN
/// (a rename raced with "..") is retried a few times inside.
Result<Fd> open_beneath(int root_fd, const char* relative_path);

/// fstat(2). Does not touch the disk: the inode is in memory as long as the file is open.
Result<FileStatus> status_of(int fd);

/// fstatat(2) beneath a directory *without* confinement; for revalidating a path that
/// open_beneath has accepted before: compare the result with the open file's status.
Result<FileStatus> status_at(int root_fd, const char* relative_path);

/// Reads until `into` is full or the file ends; retries EINTR. Returns the bytes read, fewer than
/// asked only at the end of the file.
Result<ByteCount> read_at(int fd, FileOffset offset, std::span<char> into);

}  // namespace pagewire::sys
