// What every connection of `bench send` sends from: one open file, one path, and what a worker
// lends its transfers; and FilePump, one connection's walk through the file.
//
// The file is opened once, when the command starts. Overwritten in place, it is sent as it is then
// to whoever connects afterwards; replaced by rename, the old one goes on being sent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "bench/send.h"
#include "content/content.h"
#include "egress/egress.h"
#include "sys/pipe.h"

namespace pagewire::bench {

class SendSource {
 public:
  /// Both must outlive it. The error is one line: the file, or a path that is not available.
  static tl::expected<std::unique_ptr<SendSource>, std::string> open(const SendSettings& settings,
                                                                     const SendHooks& hooks);
  SendSource(const SendSettings& settings, const SendHooks& hooks, content::FileRef file);

  /// The file as it is now: what a new connection sends, and what its last look compares with.
  content::FileRef file_now();
  const egress::Path& path() const { return path_; }
  egress::Resources& resources() { return resources_; }
  /// For the loop to watch.
  egress::UringLanes& lanes() { return lanes_; }
  /// "big.bin (1.00 GiB) by sendfile".
  std::string describe() const;

  /// A transfer has become another path's. Complains, the first time.
  void note_path_used(const egress::Path& used);
  void say(const std::string& line) const { hooks_.say(line); }
  void complain(const std::string& line) const { hooks_.complain(line); }

 private:
  const SendSettings& settings_;
  const SendHooks& hooks_;
  const egress::Path& path_;
  content::FileRef file_;
  sys::PipePool pipes_{sys::PipePool::Limits{}};
  std::vector<char> scratch_;
  std::unique_ptr<egress::MasterPipes, egress::MasterPipesEnd> masters_;
  egress::UringLanes lanes_;
  egress::Resources resources_;
  bool fallback_told_ = false;
};

/// Sends the file to one socket, by steps. Must not move: the transfer points into it.
class FilePump {
 public:
  /// `waker` is called when a step may follow one that said Submitted.
  FilePump(SendSource& source, int socket_fd, const egress::Waker& waker);
  ~FilePump() { egress::finish(transfer_); }
  FilePump(const FilePump&) = delete;
  FilePump& operator=(const FilePump&) = delete;

  std::uint64_t file_bytes() const { return file_->status().size.value; }
  /// At most `most` bytes, from where the last step left off; Done at the end of the file. The
  /// first full socket gets a limit on what is queued unsent in it, as `pagewire serve` has it.
  egress::StepResult step(ByteCount most);
  /// After Done: at the first byte of the same file again.
  void rewind();
  /// Gives back what the path holds; no step may follow.
  void stop();
  /// Stream::notified(), also after stop().
  void take_completions() { socket_state_.take_completions(socket_fd_); }
  /// After stop(): the kernel still reads our memory for this socket, so it should stay open.
  bool busy() const { return socket_state_.busy(); }
  /// That the last step went by.
  const egress::Path& path_used() const { return *transfer_.path; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }  ///< over all rounds

 private:
  SendSource& source_;
  int socket_fd_;
  egress::Waker waker_;
  content::FileRef file_;
  content::Segment segment_;
  egress::SocketState socket_state_;  // before the transfer, which refers to it
  egress::Transfer transfer_;
  std::uint64_t sent_bytes_ = 0;
  bool unsent_limited_ = false;
};

/// Why a step that is neither Moved, WantWrite, Submitted nor Done ended its connection, as a
/// clause: "the file shrank while it was sent", "Connection reset by peer".
std::string why_ended(const egress::StepResult& result);

/// "1073.7 MB in 0.21 s, 5112.0 MB/s, 40.90 Gbit/s".
struct Amount {
  std::uint64_t bytes = 0;
  double seconds = 0;
};
std::string describe(const Amount& amount);

/// As `pagewire serve` has it by default.
inline constexpr ByteCount turn_quantum{512 * kib};

}  // namespace pagewire::bench
