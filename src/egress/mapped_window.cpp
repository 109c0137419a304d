#include "egress/mapped_window.h"

#include <unistd.h>

#include "egress/slices.h"
#include "sys/file.h"

namespace pagewire::egress {

namespace {

constexpr ByteCount window_size{2 * mib};

std::uint64_t page_floor(std::uint64_t offset) {
  static const std::uint64_t page_size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return offset / page_size * page_size;
}

/// A page boundary, and at least one byte before the slice's end.
FileOffset mapped_end(const Transfer& transfer) {
  return FileOffset{page_floor(transfer.segments[transfer.index].slice.end().value - 1)};
}

}  // namespace

ByteRange mapped_part(const Transfer& transfer, ByteRange rest) {
  const FileOffset end = mapped_end(transfer);
  if (rest.offset >= end) return {rest.offset, {}};
  return {rest.offset, ByteCount{std::min(rest.end(), end).value - rest.offset.value}};
}

Result<void> map_window(Transfer& transfer, ByteRange rest) {
  const ByteRange window = transfer.mapping.range();
  const int fd = transfer.segments[transfer.index].file->fd();
  const bool inside = transfer.mapping.is_mapped() && transfer.mapped_fd == fd &&
                      window.offset <= rest.offset && rest.offset < window.end();
  if (inside) return {};
  const FileOffset begin{page_floor(rest.offset.value)};
  const ByteCount reach{mapped_end(transfer).value - begin.value};
  transfer.mapping.unmap();  // first, so that a transfer never holds two windows
  Result<sys::Mapping> mapping = sys::Mapping::map(fd, {begin, std::min(window_size, reach)});
  if (!mapping) return tl::unexpected(mapping.error());
  transfer.mapping = std::move(*mapping);
  transfer.mapped_fd = fd;
  return {};
}

Attempt failed_page(const Transfer& transfer, ByteRange range) {
  Attempt attempt;
  attempt.error = {"read a mapping", EFAULT};
  const int fd = transfer.segments[transfer.index].file->fd();
  const Result<sys::FileStatus> now = sys::status_of(fd);
  const bool truncated = now && now->size.value < range.end().value;
  attempt.status = truncated ? Status::SourceTruncated : Status::Failed;
  return attempt;
}

Attempt send_tail(Transfer& transfer, ByteRange rest) {
  const std::span<char> scratch = transfer.resources->scratch;
  const ByteCount asked = std::min(rest.count, ByteCount{scratch.size()});
  const int fd = transfer.segments[transfer.index].file->fd();
  const Result<ByteCount> got = sys::read_at(fd, rest.offset, scratch.first(asked.value));
  if (!got) {  // EIO: the disk
    return {.status = Status::Failed, .count = {}, .asked = {}, .copied = {}, .error = got.error()};
  }
  if (*got < asked) return stopped(Status::SourceTruncated);
  Gather gather;
  gather.add(scratch.data(), asked.value);
  Attempt attempt = gather.send(transfer.transport.socket_fd, more_after(transfer, asked));
  attempt.copied += *got;
  return attempt;
}

void drop_window(Transfer& transfer) {
  transfer.mapping.unmap();
  transfer.mapped_fd = -1;
}

}  // namespace pagewire::egress
