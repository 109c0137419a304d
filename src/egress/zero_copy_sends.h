// What sends with MSG_ZEROCOPY leave on a socket: the windows that the kernel still reads from, the
// numbers of the sends that hold them, and whether it is worth going on.
//
// One for a connection, made when `zerocopy` is first chosen on it; of fixed size (about 2.5 KiB),
// so that no step allocates. Invariants: a window that a send in flight points into stays mapped
// until the completion, unless the whole object goes; ZeroCopyUse::in_flight of the worker counts
// exactly the bytes of the sends in flight of all its sockets, and never exceeds its limit.
//
// An object that goes with sends in flight (the connection waited for them in vain) unmaps their
// windows. That is safe, because the windows are of files: get_user_pages took a reference to each
// page of the page cache when the send was made, and what those pages hold is still the file, with
// or without the mapping. (Memory of the program's own would have to be kept for ever here.)
#pragma once

#include <array>
#include <optional>

#include "egress/egress.h"
#include "egress/sends_in_flight.h"
#include "sys/mapping.h"

namespace pagewire::egress {

class ZeroCopySends {
 public:
  /// Windows of a socket at once, the one that is sent from included.
  static constexpr std::size_t max_windows = 8;

  explicit ZeroCopySends(ZeroCopyUse& use) : use_(use) {}
  ~ZeroCopySends();
  ZeroCopySends(const ZeroCopySends&) = delete;
  ZeroCopySends& operator=(const ZeroCopySends&) = delete;

  bool any_in_flight() const { return !sends_.empty(); }
  /// The kernel copied too often on this connection.
  bool given_up() const { return given_up_; }

  /// The window of transfer's file that holds the byte at `at`. nullptr: every window is held by
  /// sends in flight. Errors: as mmap(2).
  Result<const sys::Mapping*> window_at(const Transfer& transfer, FileOffset at);
  /// No byte is sent from the current window any more; it goes with its last completion.
  void leave_window();

  /// How many of `wanted` bytes may go without a copy now; 0: send by copying.
  ByteCount allowed(ByteCount wanted) const;
  /// A send without a copy from the current window took so much.
  void sent(ByteCount count);
  /// Takes completions from the socket's error queue. Returns the bytes that were copied after all.
  ByteCount take_completions(int socket_fd);

 private:
  struct Window {
    sys::Mapping mapping;
    std::uint32_t sends = 0;  ///< in flight
  };

  Window& current() { return windows_[current_]; }
  bool has_current() const { return current_ < max_windows; }
  std::optional<std::uint8_t> free_window() const;
  void release(std::uint8_t index);
  void note_streak(std::uint32_t sends, bool copied);

  ZeroCopyUse& use_;
  SendsInFlight sends_;
  std::array<Window, max_windows> windows_;
  std::uint8_t current_ = max_windows;  ///< none
  int current_fd_ = -1;                 ///< the file that the current window is of
  std::uint64_t copied_streak_ = 0;     ///< sends completed as copied, without one that was not
  bool given_up_ = false;
};

}  // namespace pagewire::egress
