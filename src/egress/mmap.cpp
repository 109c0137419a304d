// mmap: a window of the file is mapped, and send(2) copies from it.
//
// Wins nowhere against sendfile; against `copy` it saves a system call and the scratch buffer's
// share of the CPU cache, and loses by page faults (one for each 64 KiB), by TLB shootdowns at
// munmap, and by the lock of the address space that all workers share. It is here to be measured,
// and because many servers do it. Needs a filesystem whose files can be mapped (ENODEV else) and
// address space. Rests on mmap(2), send(2), sys/mapping.h.
//
// What truncation does to a mapping, and why no byte that is not the file's completes a length:
// - Whole pages beyond the new end: user code would get SIGBUS, so it never touches the mapping.
//   The kernel, copying for send, gets the same fault as EFAULT, after handing over what came
//   before.
// - The page with the new end in it stays readable, and reads as zeros from the end on. Such zeros
//   may go out. But the mapping never sends the slice's last byte: it stops at the last page
//   boundary *before* the slice's end, and the rest (1 byte to one page) goes by pread(2), which
//   sees that the file is too short. So after zeros there always comes an EFAULT or a short pread,
//   and the response is cut, never completed.
// - A file truncated and then grown again between two steps passes both. Its mtime has changed
//   then, and step() looks at it before the end.
#include <sys/socket.h>
#include <unistd.h>

#include "egress/registry.h"
#include "egress/residency.h"
#include "egress/slices.h"
#include "sys/file.h"

namespace pagewire::egress {

namespace {

constexpr ByteCount window_size{2 * mib};

Attempt send_window(Transfer& transfer, ByteRange rest);
Attempt send_tail(Transfer& transfer, ByteRange rest);

std::uint64_t page_floor(std::uint64_t offset) {
  static const std::uint64_t page_size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return offset / page_size * page_size;
}

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  const ByteRange rest = rest_of_slice(transfer, limit);
  const FileOffset slice_end = transfer.segments[transfer.index].slice.end();
  // Where the mapping's part ends: a page boundary, and at least one byte before the slice's end.
  const FileOffset mapped_end{page_floor(slice_end.value - 1)};
  if (rest.offset >= mapped_end) return send_tail(transfer, rest);
  const ByteCount mapped{std::min(rest.end(), mapped_end).value - rest.offset.value};
  return send_window(transfer, {rest.offset, mapped});
}

/// Makes transfer.mapping hold the byte at `rest.offset`. The window may reach beyond this turn, so
/// that the next ones need no mmap.
Result<void> map_window(Transfer& transfer, ByteRange rest) {
  const ByteRange window = transfer.mapping.range();
  const int fd = transfer.segments[transfer.index].file->fd();
  const bool inside = transfer.mapping.is_mapped() && transfer.mapped_fd == fd &&
                      window.offset <= rest.offset && rest.offset < window.end();
  if (inside) return {};
  const FileOffset slice_end = transfer.segments[transfer.index].slice.end();
  const FileOffset begin{page_floor(rest.offset.value)};
  const ByteCount reach{page_floor(slice_end.value - 1) - begin.value};
  transfer.mapping.unmap();  // first, so that a transfer never holds two windows
  Result<sys::Mapping> mapping = sys::Mapping::map(fd, {begin, std::min(window_size, reach)});
  if (!mapping) return tl::unexpected(mapping.error());
  transfer.mapping = std::move(*mapping);
  transfer.mapped_fd = fd;
  return {};
}

/// EFAULT: a page of `range` could not be read: the file ends before it, or else the disk failed.
Attempt failed_page(const Transfer& transfer, ByteRange range) {
  Attempt attempt;
  attempt.error = {"send(mapping)", EFAULT};
  const int fd = transfer.segments[transfer.index].file->fd();
  const Result<sys::FileStatus> now = sys::status_of(fd);
  const bool truncated = now && now->size.value < range.end().value;
  attempt.status = truncated ? Status::SourceTruncated : Status::Failed;
  return attempt;
}

Attempt send_window(Transfer& transfer, ByteRange rest) {
  const Result<void> mapped = map_window(transfer, rest);
  // ENODEV, EACCES: the filesystem cannot; ENOMEM: address space or vm.max_map_count.
  if (!mapped) {
    Attempt attempt;
    attempt.status = unsupported_or_failed(transfer);
    attempt.error = mapped.error();
    return attempt;
  }
  const FileOffset end = std::min(rest.end(), transfer.mapping.range().end());
  const ByteCount asked{end.value - rest.offset.value};
  // The slice's last byte is never in the window, so more always follows.
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE;
  for (;;) {
    const ssize_t n =
        ::send(transfer.transport.socket_fd, transfer.mapping.at(rest.offset), asked.value, flags);
    if (n > 0) {
      const ByteCount taken{static_cast<std::uint64_t>(n)};
      return {
          .status = Status::Moved, .count = taken, .asked = asked, .copied = taken, .error = {}};
    }
    if (n < 0 && errno == EINTR) continue;  // a signal before the first byte
    if (n < 0 && errno == EFAULT) return failed_page(transfer, {rest.offset, asked});
    return failed_attempt("send(mapping)");
  }
}

Attempt send_tail(Transfer& transfer, ByteRange rest) {
  const std::span<char> scratch = transfer.resources->scratch;
  const ByteCount wanted = std::min(rest.count, ByteCount{scratch.size()});
  const content::OpenFile& file = *transfer.segments[transfer.index].file;
  const Attempt read = read_resident(transfer, file, rest.offset, scratch.first(wanted.value));
  if (read.status != Status::Moved) return read;
  Gather gather;
  gather.add(scratch.data(), read.count.value);
  Attempt attempt = gather.send(transfer.transport.socket_fd, more_after(transfer, read.count));
  attempt.copied += read.count;
  return attempt;
}

StepResult step_mmap(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  return {};
}  // mmap is in every kernel that can run this program

void cancel(Transfer& transfer) {
  transfer.mapping.unmap();
  transfer.mapped_fd = -1;
}

}  // namespace

const Path mmap_path{
    .name = "mmap", .probe = probe, .fits = fits_plain_socket, .step = step_mmap, .cancel = cancel};

}  // namespace pagewire::egress
