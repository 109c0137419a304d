// What an earlier self-test found on a filesystem, on disk; private to the room.
//
// One small text file a filesystem, under a name made of its numbers. The first line is the key
// (also kernel and pagewire version, whose change makes it void), then a line a path, then "end".
// Invariants: it is replaced whole (rename(2)), so a reader sees all of one writing; what is not
// understood to the last line is no cache. A quarantine is never kept: what is behind it may go
// (a FUSE daemon, a filter), and a path that was out because of one bad moment would stay out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "egress/egress.h"

namespace pagewire::egress {

struct CacheKey {
  std::string file;  ///< where it is kept
  std::string line;  ///< what it must begin with
};

/// Of the filesystem that `root` lies on (statfs(2): f_fsid, f_type; stat(2): st_dev). nullopt when
/// it cannot be asked, or when those numbers may be another filesystem's at the next start.
std::optional<CacheKey> cache_key(const std::string& folder, const std::string& root);

/// The report of every one of `paths`, or nothing.
std::optional<std::vector<PathReport>> read_cache(const CacheKey& key,
                                                  std::span<const Path* const> paths);

/// Nothing happens where it cannot be written: the next start tests again.
void write_cache(const CacheKey& key, std::span<const PathReport> reports);

}  // namespace pagewire::egress
