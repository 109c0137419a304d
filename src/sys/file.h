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

/// As open_beneath, but only where the whole walk is in the kernel's cache of names and so needs no
/// disk (RESOLVE_CACHED, Linux 5.12; an older kernel opens as open_beneath does). Error EAGAIN:
/// it is not, or a filesystem always has to ask (network, some FUSE ones). ENOENT: the cache knows
/// that there is no such name.
Result<Fd> open_beneath_cached(int root_fd, const char* relative_path);

/// What the name leads to now, by an O_PATH descriptor: neither opens the file nor, as above,
/// touches the disk.
Result<FileStatus> status_beneath_cached(int root_fd, const char* relative_path);
/// The same, with the disk where it has to be.
Result<FileStatus> status_beneath(int root_fd, const char* relative_path);

/// fstat(2). Does not touch the disk: the inode is in memory as long as the file is open.
Result<FileStatus> status_of(int fd);

/// Reads until `into` is full or the file ends; retries EINTR. Returns the bytes read, fewer than
/// asked only at the end of the file.
Result<ByteCount> read_at(int fd, FileOffset offset, std::span<char> into);

struct CachedRead {
  ByteCount count;
  bool would_wait = false;  ///< what follows is not in the page cache; else the file ends there
};

/// As read_at, but stops where it would have to wait for the disk (preadv2(2), RWF_NOWAIT). On a
/// filesystem that cannot tell it is read_at.
Result<CachedRead> read_cached_at(int fd, FileOffset offset, std::span<char> into);

}  // namespace pagewire::sys
