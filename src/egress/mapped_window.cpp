// Sending from a mapped window of a file. See mapped_window.h.
//
// Relies on mmap(2), send(2) (EFAULT for pages that are not there), pread(2), sys/mapping.h.
#include "egress/mapped_window.h"

#include <sys/socket.h>

#include "egress/residency.h"
#include "egress/slices.h"
#include "sys/file.h"
#include "sys/page_size.h"

namespace pagewire::egress {

namespace {

std::uint64_t page_floor(std::uint64_t offset) {
  return offset / sys::page_size() * sys::page_size();
}

}  // namespace

FileOffset mapped_end(const Transfer& transfer) {
  return FileOffset{page_floor(transfer.segments[transfer.index].slice.end().value - 1)};
}

ByteRange window_from(const Transfer& transfer, FileOffset at) {
  const FileOffset begin{page_floor(at.value)};
  const ByteCount reach{mapped_end(transfer).value - begin.value};
  return {begin, std::min(window_size, reach)};
}

ByteRange mapped_part(const Transfer& transfer, ByteRange rest) {
  const FileOffset end = mapped_end(transfer);
  if (rest.offset >= end) return {rest.offset, {}};
  return {rest.offset, ByteCount{std::min(rest.end(), end).value - rest.offset.value}};
}

Result<void> map_window(Transfer& transfer, FileOffset at) {
  const ByteRange window = transfer.mapping.range();
  const int fd = transfer.segments[transfer.index].file->fd();
  const bool inside = transfer.mapping.is_mapped() && transfer.mapped_fd == fd &&
                      window.offset <= at && at < window.end();
  if (inside) return {};
  transfer.mapping.unmap();  // first, so that a transfer never holds two windows
  Result<sys::Mapping> mapping = sys::Mapping::map(fd, window_from(transfer, at));
  if (!mapping) return tl::unexpected(mapping.error());
  transfer.mapping = std::move(*mapping);
  transfer.mapped_fd = fd;
  return {};
}

void drop_window(Transfer& transfer) {
  transfer.mapping.unmap();
  transfer.mapped_fd = -1;
}

Attempt failed_page(const Transfer& transfer, ByteRange range) {
  Attempt attempt;
  attempt.error = {"send(mapping)", EFAULT};
  const int fd = transfer.segments[transfer.index].file->fd();
  const Result<sys::FileStatus> now = sys::status_of(fd);
  const bool truncated = now && now->size.value < range.end().value;
  attempt.status = truncated ? Status::SourceTruncated : Status::Failed;
  return attempt;
}

Attempt failed_mapping(const Transfer& transfer, Error error) {
  // ENODEV, EACCES: the filesystem cannot; ENOMEM: address space or vm.max_map_count.
  Attempt attempt;
  attempt.status = unsupported_or_failed(transfer);
  attempt.error = error;
  return attempt;
}

Attempt send_mapped(const Transfer& transfer, const sys::Mapping& mapping, ByteRange range,
                    int extra_flags) {
  // The slice's last byte is never in the window, so more always follows.
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE | extra_flags;
  for (;;) {
    const ssize_t n =
        ::send(transfer.transport.socket_fd, mapping.at(range.offset), range.count.value, flags);
    if (n > 0) {
      const ByteCount taken{static_cast<std::uint64_t>(n)};
      return {.status = Status::Moved,
              .count = taken,
              .asked = range.count,
              .copied = taken,
              .error = {}};
    }
    if (n < 0 && errno == EINTR) continue;  // a signal before the first byte
    if (n < 0 && errno == EFAULT) return failed_page(transfer, range);
    return failed_attempt("send(mapping)");
  }
}

Attempt send_read(Transfer& transfer, ByteRange rest) {
  const std::span<char> scratch = transfer.resources->scratch;
  const ByteCount wanted = std::min(rest.count, ByteCount{scratch.size()});
  const content::OpenFile& file = *transfer.segments[transfer.index].file;
  const Attempt read = read_resident(transfer, file, rest, scratch.first(wanted.value));
  if (read.status != Status::Moved) return read;
  Gather gather;
  gather.add(scratch.data(), read.count.value);
  Attempt attempt = gather.send(transfer.transport.socket_fd, more_after(transfer, read.count));
  attempt.copied += read.count;
  return attempt;
}

}  // namespace pagewire::egress
