// Memory segments: sent by every path alike, gathered into one sendmsg(2).
//
// Also here: what any call that hands bytes to a socket comes to (Attempt), and what its errno
// means.
#pragma once

#include <sys/uio.h>

#include <array>

#include "egress/egress.h"

namespace pagewire::egress {

/// One call that handed bytes to the socket, or could not.
struct Attempt {
  Status status =
      Status::Failed;  ///< Moved, WantWrite, SourceTruncated, PeerGone, Unsupported, Failed
  ByteCount count;     ///< Moved: taken by the socket, > 0
  ByteCount asked;     ///< Moved: fewer taken than asked means that the socket is full
  ByteCount copied;    ///< between user and kernel memory; also when nothing was taken
  Error error;
};

/// Nothing moved, and no errno says why.
inline Attempt stopped(Status status) {
  return {.status = status, .count = {}, .asked = {}, .copied = {}, .error = {}};
}

/// Of a call on the socket that returned -1; looks at errno. EINTR is the caller's.
Attempt failed_attempt(const char* operation);

/// Pieces of memory for one sendmsg(2), or for one send(2), which is cheaper, when they all lie one
/// behind the other.
class Gather {
 public:
  bool full() const { return count_ == pieces_.size(); }
  ByteCount bytes() const { return bytes_; }
  void add(const char* data, std::size_t size) {
    iovec* const last = count_ == 0 ? nullptr : &pieces_[count_ - 1];
    if (last != nullptr && static_cast<char*>(last->iov_base) + last->iov_len == data) {
      last->iov_len += size;
      bytes_ += ByteCount{size};
      return;
    }
    pieces_[count_++] = {const_cast<char*>(data), size};
    bytes_ += ByteCount{size};
  }
  /// `more`: something follows at once, so a last partial TCP segment may wait for it (MSG_MORE).
  Attempt send(int socket_fd, bool more);

 private:
  std::array<iovec, 32> pieces_;  // not set to zero: add() writes each before send() reads it
  std::size_t count_ = 0;
  ByteCount bytes_;
};

/// Sends from the cursor on, as far as segments are memory and at most `limit`. The cursor must
/// stand on a memory segment. Does not move it.
Attempt send_memory(const Transfer& transfer, ByteCount limit);

/// Whether bytes remain to be sent after the next `count` ones: what MSG_MORE and SPLICE_F_MORE
/// promise. A wrong promise at the very end would hold the last bytes back for 200 ms.
bool more_after(const Transfer& transfer, ByteCount count);

}  // namespace pagewire::egress
