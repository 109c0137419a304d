// mmap: a window of the file is mapped, and send(2) copies from it.
//
// Wins nowhere against sendfile; against `copy` it saves a system call and the scratch buffer's
// share of the CPU cache, and loses by page faults (one for each 64 KiB), by TLB shootdowns at
// munmap, and by the lock of the address space that all workers share. It is here to be measured,
// and because many servers do it. Needs a filesystem whose files can be mapped (ENODEV else) and
// address space. Rests on mmap(2), send(2), sys/mapping.h.
//
// Truncation: see mapped_window.h.
#include "egress/mapped_window.h"
#include "egress/registry.h"
#include "egress/slices.h"

namespace pagewire::egress {

namespace {

Attempt send_window(Transfer& transfer, ByteRange rest);

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  const ByteRange rest = rest_of_slice(transfer, limit);
  const FileOffset end = mapped_end(transfer);
  if (rest.offset >= end) return send_read(transfer, rest);
  const ByteCount mapped{std::min(rest.end(), end).value - rest.offset.value};
  return send_window(transfer, {rest.offset, mapped});
}

/// Makes transfer.mapping hold the byte at `at`.
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

Attempt send_window(Transfer& transfer, ByteRange rest) {
  const Result<void> mapped = map_window(transfer, rest.offset);
  if (!mapped) return failed_mapping(transfer, mapped.error());
  const FileOffset end = std::min(rest.end(), transfer.mapping.range().end());
  const ByteCount asked{end.value - rest.offset.value};
  return send_mapped(transfer, transfer.mapping, {rest.offset, asked}, 0);
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
