// What the kernel is told about a file that is going to be streamed; private to the room.
//
// Once for each open file, before the first response that sends a long stretch of it in one piece:
// POSIX_FADV_SEQUENTIAL, which doubles the window that the kernel reads ahead of a sequential
// reader. Not for small files, which one window holds anyway, and not for the scattered parts of
// a multipart answer, which would only read what nobody wants.
//
// Kernel facts (mm/readahead.c, posix_fadvise(2)): the state of readahead belongs to the open file,
// and sendfile, splice, pread and faults of a mapping all use it. So all responses from one open
// file share it; where two of them are at different places the kernel finds each one's window again
// from what is in the page cache before it. The advice costs one call without a wait.
// Asking ahead (--readahead SIZE) may wait for the disk's queue or for the file's block map, so it
// is only said here (Response::ahead): whoever sends the response has it done where waiting is
// allowed.
#pragma once

#include "content/content.h"

namespace pagewire::content {

class Readahead {
 public:
  explicit Readahead(const ReadaheadSettings& settings) : settings_(settings) {}

  /// Advises the kernel of the response's file, if there is cause to, and says in `response.ahead`
  /// what is to be read ahead. At most once for each OpenFile.
  void prepare(Response& response);

  std::uint64_t files() const { return files_; }        ///< advised
  std::uint64_t bytes_asked() const { return bytes_; }  ///< said to be read ahead

 private:
  ReadaheadSettings settings_;
  std::uint64_t files_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace pagewire::content
