#include "sys/pipe.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <charconv>
#include <cstdint>
#include <string>

#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

/// Of a process without CAP_SYS_RESOURCE: fs.pipe-max-size, as it was when it was first needed.
std::uint64_t largest_pipe() {
  static const std::uint64_t bytes = [] {
    constexpr std::uint64_t kernels_default = 1 * mib;
    const std::string line = first_line_of("/proc/sys/fs/pipe-max-size");
    std::uint64_t number = 0;
    const auto read = std::from_chars(line.data(), line.data() + line.size(), number);
    return read.ec == std::errc() && number > 0 ? number : kernels_default;
  }();
  return bytes;
}

}  // namespace

Result<Pipe> make_pipe(ByteCount wanted) {
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return last_error("pipe2");
  Pipe pipe{Fd(ends[0]), Fd(ends[1]), {}};
  int capacity = ::fcntl(ends[1], F_GETPIPE_SZ);
  if (capacity < 0) return last_error("fcntl(F_GETPIPE_SZ)");
  if (static_cast<std::uint64_t>(capacity) != wanted.value) {
    // EPERM: above fs.pipe-max-size, or above the user's soft limit of pipe pages. EBUSY cannot
    // happen on an empty pipe. The pipe works as it is, only with less room.
    int resized = ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(wanted.value));
    if (resized < 0 && wanted.value > largest_pipe()) {
      resized = ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(largest_pipe()));
    }
    if (resized > 0) capacity = resized;
  }
  pipe.capacity = ByteCount{static_cast<std::uint64_t>(capacity)};
  return pipe;
}

Result<ByteCount> bytes_in(const Pipe& pipe) {
  int waiting = 0;
  if (::ioctl(pipe.read_end.get(), FIONREAD, &waiting) != 0) return last_error("ioctl(FIONREAD)");
  return ByteCount{static_cast<std::uint64_t>(waiting)};
}

Result<Pipe> PipePool::take() {
  if (idle_.empty()) {
    Result<Pipe> fresh = make_pipe(limits_.capacity);
    if (fresh) ++made_;
    return fresh;
  }
  Pipe pipe = std::move(idle_.back());
  idle_.pop_back();
  ++reused_;
  return pipe;
}

void PipePool::give_back_empty(Pipe pipe) {
  if (pipe.is_open() && idle_.size() < limits_.idle) idle_.push_back(std::move(pipe));
}

void PipePool::give_back(Pipe pipe) {
  if (!pipe.is_open() || idle_.size() >= limits_.idle) return;
  const Result<ByteCount> waiting = bytes_in(pipe);
  if (!waiting || waiting->value != 0) return;  // closed with its bytes
  idle_.push_back(std::move(pipe));
}

}  // namespace pagewire::sys
