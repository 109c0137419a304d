// vmsplice: pages of a mapped window of the file into a pooled pipe with vmsplice(2), and from the
// pipe into the socket with splice(2). No byte is copied: pipe and socket hold references.
//
// Wins where the bytes are in memory already and in no file that can be spliced; for plain files
// it shows what the mapping costs. Loses to sendfile and splice there: it needs their calls, and
// page faults (one for each 64 KiB), a walk over the page tables for each page, and TLB shootdowns
// at munmap on top; and by a window (mmap, munmap) for each response, so never for small ones.
// Needs pipes and descriptors as splice does, and address space; where the file cannot be mapped,
// memory for one pipe full.
//
// Invariant: what goes by reference is never written again by this program. Two kinds of pages are
// like that:
// - The page cache's, through a mapping. They are not ours to give, so no SPLICE_F_GIFT. Pipe and
//   socket keep them alive: the window may be unmapped at any time. As with sendfile, whoever
//   writes to the file in place changes also what is queued.
// - Where the file cannot be mapped: anonymous pages that the file is read into, given to the pipe
//   (SPLICE_F_GIFT: page aligned, in memory and in length), unmapped at once, never seen again.
// Memory of a response (head_buffer, text, a body that is kept) is used again while the socket
// still holds what it was given: by reference, the next response's bytes would go onto the wire in
// place of this one's, and a retransmission would send them even later. So memory segments go by
// send_memory() here as everywhere, which copies.
//
// Rests on vmsplice(2), splice(2), mmap(2). What truncation does is in mapped_window.h; vmsplice
// says EFAULT for a page beyond the file's end, after taking those before it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "egress/mapped_window.h"
#include "egress/pipe_steps.h"
#include "egress/registry.h"
#include "egress/residency.h"
#include "egress/slices.h"
#include "sys/page_size.h"

namespace pagewire::egress {

namespace {

Attempt fill_pipe(Transfer& transfer, ByteRange rest);
Attempt reference_window(Transfer& transfer, ByteRange rest);
Attempt give_pages_away(Transfer& transfer, ByteRange rest);

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  if (transfer.in_pipe.value > 0) return drain_pipe(transfer, limit);
  const ByteRange rest = rest_of_slice(transfer, limit);
  const ByteRange mapped = mapped_part(transfer, rest);
  if (mapped.count.value == 0) return send_read(transfer, rest);
  const Attempt filled = fill_pipe(transfer, mapped);
  if (filled.status != Status::Moved) return filled;
  Attempt attempt = drain_pipe(transfer, limit);
  attempt.copied += filled.copied;
  return attempt;
}

Attempt fill_pipe(Transfer& transfer, ByteRange rest) {
  if (const Attempt taken = take_pipe(transfer); taken.status != Status::Moved) return taken;
  // For whatever reason: out of memory is said by the other way, too.
  if (!map_window(transfer, rest.offset)) return give_pages_away(transfer, rest);
  return reference_window(transfer, rest);
}

/// vmsplice(2) of `memory` into the transfer's empty pipe. What it returned, or an errno; EINTR is
/// seen to.
Result<ByteCount> vmsplice_into(Transfer& transfer, iovec memory, unsigned int flags) {
  for (;;) {
    const ssize_t n =
        ::vmsplice(transfer.pipe.write_end.get(), &memory, 1, flags | SPLICE_F_NONBLOCK);
    if (n > 0) {
      transfer.in_pipe = ByteCount{static_cast<std::uint64_t>(n)};
      return transfer.in_pipe;
    }
    if (n == 0) return failure("vmsplice", EIO);  // takes nothing and says not why: no progress
    if (errno != EINTR) return last_error("vmsplice");  // EINTR: a signal before the first page
  }
}

Attempt failed_vmsplice(const Transfer& transfer, const Error& error) {
  Attempt attempt;
  attempt.error = error;
  switch (error.errno_value) {
    case ENOSYS:  // not in this kernel, or hidden by a seccomp filter
    case EPERM:   // refused by a seccomp filter
    case EINVAL:  // the kernel has no vmsplice for this memory
    case ENOMEM:  // of the kernel, or for the pages to give away
      attempt.status = unsupported_or_failed(transfer);
      break;
    default:  // EIO: the disk. EAGAIN (pipe full) cannot be: it was empty
      attempt.status = Status::Failed;
      break;
  }
  return attempt;
}

Attempt reference_window(Transfer& transfer, ByteRange rest) {
  const FileOffset end = std::min(rest.end(), transfer.mapping.range().end());
  const ByteCount asked =
      std::min(ByteCount{end.value - rest.offset.value}, transfer.pipe.capacity);
  // vmsplice only reads the memory; its interface is that of readv(2), too.
  char* const memory = const_cast<char*>(transfer.mapping.at(rest.offset));
  const Result<ByteCount> taken = vmsplice_into(transfer, {memory, asked.value}, 0);
  if (taken) return stopped(Status::Moved);
  if (taken.error().errno_value == EFAULT) return failed_page(transfer, {rest.offset, asked});
  return failed_vmsplice(transfer, taken.error());
}

/// Anonymous pages, gone from this program at the end of the scope whoever else still holds them.
class PagesToGive {
 public:
  explicit PagesToGive(std::size_t size)
      : size_(size),
        address_(::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)) {}
  PagesToGive(const PagesToGive&) = delete;
  PagesToGive& operator=(const PagesToGive&) = delete;
  ~PagesToGive() {
    if (is_mapped()) ::munmap(address_, size_);
  }
  bool is_mapped() const { return address_ != MAP_FAILED; }
  char* data() { return static_cast<char*>(address_); }

 private:
  std::size_t size_;
  void* address_;
};

Attempt give_pages_away(Transfer& transfer, ByteRange rest) {
  const std::uint64_t page_size = sys::page_size();
  std::uint64_t size = std::min(rest.count, transfer.pipe.capacity).value;
  // A part of a page cannot be a gift (vmsplice(2): aligned in length). It comes only alone, when
  // the step's limit is below a page.
  bool whole = size >= page_size;
  if (whole) size = size / page_size * page_size;
  PagesToGive pages(size);
  // ENOMEM: address space, vm.max_map_count, or a limit of memory.
  if (!pages.is_mapped()) return failed_vmsplice(transfer, last_error("mmap").value());
  const content::OpenFile& file = *transfer.segments[transfer.index].file;
  const Attempt read = read_resident(transfer, file, rest, {pages.data(), size});
  if (read.status != Status::Moved) return read;
  whole = read.count.value >= page_size;  // fewer, where the rest is not in memory
  size = whole ? read.count.value / page_size * page_size : read.count.value;
  const Result<ByteCount> taken =
      vmsplice_into(transfer, {pages.data(), size}, whole ? SPLICE_F_GIFT : 0);
  if (!taken) return failed_vmsplice(transfer, taken.error());
  Attempt attempt = stopped(Status::Moved);
  attempt.copied = read.count;
  return attempt;
}

StepResult step_vmsplice(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  // A descriptor that is not open: a kernel that has the call says EBADF.
  if (::vmsplice(-1, nullptr, 0, 0) < 0 && errno == EBADF) return {};
  return {.available = false, .reason = "vmsplice(2) is refused (seccomp?)"};
}

void cancel(Transfer& transfer) {
  give_pipe_back(transfer);
  drop_window(transfer);
}

}  // namespace

const Path vmsplice_path{.name = "vmsplice",
                         .probe = probe,
                         .fits = fits_socket,
                         .step = step_vmsplice,
                         .cancel = cancel,
                         .maps_file = true};

}  // namespace pagewire::egress
