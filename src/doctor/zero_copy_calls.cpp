// zero-copy-calls: sendfile, splice, tee, vmsplice and copy_file_range, each made to move bytes
// that are compared afterwards. Files are memory (memfd), so that this is about the kernel and
// about filters alone; ROOT's filesystem has checks of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "doctor/registry.h"
#include "sys/pipe.h"
#include "sys/socket.h"

namespace pagewire::doctor {

namespace {

constexpr std::size_t count = 8 * kib;

std::string coded_bytes() {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>((i / 8) >> (i % 2 * 8));
  return bytes;
}

/// Why a call failed, or "".
std::string outcome(ssize_t moved) {
  if (moved == static_cast<ssize_t>(count)) return {};
  if (moved < 0) return errno_text(errno);  // ENOSYS, EPERM: the kernel's, or a seccomp filter's
  return fmt::format("moved {} of {} bytes", moved, count);
}

std::string read_and_compare(int fd) {
  std::string got(count, '\0');
  std::size_t done = 0;
  while (done < count) {
    const ssize_t n = ::read(fd, got.data() + done, count - done);
    if (n <= 0) return fmt::format("only {} of {} bytes came", done, count);
    done += static_cast<std::size_t>(n);
  }
  return got == coded_bytes() ? "" : "moved wrong bytes";
}

struct Parts {
  sys::Fd file;
  sys::Fd other_file;
  sys::Pipe pipe;
  sys::Pipe other_pipe;
  sys::SocketPair sockets;
};

Result<Parts> make_parts() {
  Parts parts;
  parts.file = sys::Fd(::memfd_create("pagewire-doctor", MFD_CLOEXEC));
  parts.other_file = sys::Fd(::memfd_create("pagewire-doctor", MFD_CLOEXEC));
  if (!parts.file.is_open() || !parts.other_file.is_open()) return last_error("memfd_create");
  if (::pwrite(parts.file.get(), coded_bytes().data(), count, 0) != static_cast<ssize_t>(count)) {
    return last_error("pwrite");
  }
  Result<sys::Pipe> pipe = sys::make_pipe(ByteCount{64 * kib});
  Result<sys::Pipe> other = sys::make_pipe(ByteCount{64 * kib});
  Result<sys::SocketPair> sockets = sys::tcp_pair_over_loopback();
  if (!pipe) return tl::unexpected(pipe.error());
  if (!other) return tl::unexpected(other.error());
  if (!sockets) return tl::unexpected(sockets.error());
  parts.pipe = std::move(*pipe);
  parts.other_pipe = std::move(*other);
  parts.sockets = std::move(*sockets);
  // The receiving end waits, at most so long: what was sent over loopback is there at once.
  constexpr timeval limit{.tv_sec = 0, .tv_usec = 200'000};
  const int receiver = parts.sockets.receiver.get();
  (void)::fcntl(receiver, F_SETFL, ::fcntl(receiver, F_GETFL) & ~O_NONBLOCK);
  (void)::setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return parts;
}

std::string try_sendfile(const Parts& parts) {
  off_t at = 0;
  const std::string why =
      outcome(::sendfile(parts.sockets.sender.get(), parts.file.get(), &at, count));
  return why.empty() ? read_and_compare(parts.sockets.receiver.get()) : why;
}

std::string try_splice(const Parts& parts) {
  off64_t at = 0;
  const std::string why =
      outcome(::splice(parts.file.get(), &at, parts.pipe.write_end.get(), nullptr, count, 0));
  if (!why.empty()) return why;
  const std::string out = outcome(
      ::splice(parts.pipe.read_end.get(), nullptr, parts.sockets.sender.get(), nullptr, count, 0));
  return out.empty() ? read_and_compare(parts.sockets.receiver.get()) : out;
}

std::string try_tee(const Parts& parts) {
  const std::string bytes = coded_bytes();
  if (::write(parts.pipe.write_end.get(), bytes.data(), count) != static_cast<ssize_t>(count)) {
    return "the pipe takes no " + std::to_string(count) + " bytes";
  }
  const std::string why = outcome(
      ::tee(parts.pipe.read_end.get(), parts.other_pipe.write_end.get(), count, SPLICE_F_NONBLOCK));
  const std::string original = read_and_compare(parts.pipe.read_end.get());
  if (!why.empty() || !original.empty()) return why.empty() ? original : why;
  return read_and_compare(parts.other_pipe.read_end.get());
}

std::string try_vmsplice(const Parts& parts) {
  const std::string bytes = coded_bytes();
  const iovec piece{.iov_base = const_cast<char*>(bytes.data()), .iov_len = count};
  const std::string why = outcome(::vmsplice(parts.pipe.write_end.get(), &piece, 1, 0));
  return why.empty() ? read_and_compare(parts.pipe.read_end.get()) : why;
}

std::string try_copy_file_range(const Parts& parts) {
  off64_t at = 0;
  const std::string why =
      outcome(::copy_file_range(parts.file.get(), &at, parts.other_file.get(), nullptr, count, 0));
  if (!why.empty()) return why;
  (void)::lseek(parts.other_file.get(), 0, SEEK_SET);
  return read_and_compare(parts.other_file.get());
}

struct Call {
  std::string_view name;
  std::string (*attempt)(const Parts& parts);
};
constexpr std::array calls{Call{"sendfile", try_sendfile}, Call{"splice", try_splice},
                           Call{"tee", try_tee}, Call{"vmsplice", try_vmsplice},
                           Call{"copy_file_range", try_copy_file_range}};

Finding run(Examination& examination) {
  Finding finding{.looked_at =
                      "sendfile, splice, tee, vmsplice and copy_file_range with 8 KiB each, "
                      "compared",
                  .found = {}};
  std::string works;
  std::string fails;
  bool lost_sendfile = false;
  for (const Call& call : calls) {
    // New ones for each, so that what one leaves behind does not reach the next.
    const Result<Parts> parts = make_parts();
    if (!parts) {
      finding.status = Status::Unknown;
      finding.reason = describe(parts.error());
      return finding;
    }
    const std::string why = call.attempt(*parts);
    if (why.empty()) {
      works += fmt::format("{}{}", works.empty() ? "" : ", ", call.name);
      continue;
    }
    fails += fmt::format("{}{}: {}", fails.empty() ? "" : "; ", call.name, why);
    lost_sendfile |= call.name == "sendfile";
  }
  finding.found = fails.empty() ? works : fails;
  if (fails.empty()) return finding;
  finding.status = lost_sendfile ? Status::Failed : Status::Warning;
  finding.costs = lost_sendfile ? "files are sent by another path, at worst by copies"
                                : "the paths and the relay that rest on it are not to be had";
  if (lost_sendfile) finding.estimate = examination.measured.copies(two_copies);
  finding.mend = "allow these calls in the container's seccomp profile";
  return finding;
}

}  // namespace

const Check zero_copy_calls_check{.group = Group::Kernel, .name = "zero-copy-calls", .run = run};

}  // namespace pagewire::doctor
