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
  const ByteRange mapped = mapped_part(transfer, rest);
  return mapped.count.value == 0 ? send_read(transfer, rest) : send_window(transfer, mapped);
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

}  // namespace

const Path mmap_path{.name = "mmap",
                     .probe = probe,
                     .fits = fits_socket,
                     .step = step_mmap,
                     .cancel = drop_window,
                     .maps_file = true};

}  // namespace pagewire::egress
