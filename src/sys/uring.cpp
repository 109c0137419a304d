#include "sys/uring.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>

namespace pagewire::sys {

namespace {

// Of Linux 6.2; liburing 2.3 does not know them yet (io_uring_enter(2), io_uring_prep_send_zc(3)).
constexpr std::uint16_t report_usage = 1U << 3;       // IORING_SEND_ZC_REPORT_USAGE
constexpr std::uint32_t notified_copied = 1U << 31U;  // IORING_NOTIF_USAGE_ZC_COPIED
constexpr std::uint32_t since_6_14 = 1U << 16U;       // IORING_FEAT_RW_ATTR

/// Of liburing's calls, which return -errno.
Result<void> checked(const char* operation, int returned) {
  if (returned < 0) return failure(operation, -returned);
  return {};
}

}  // namespace

Result<AnonymousMemory> AnonymousMemory::map(ByteCount size) {
  void* const address = ::mmap(nullptr, size.value, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (address == MAP_FAILED) return last_error("mmap");
  // Only saves a child the copy that it would get of pinned pages; it works without, too.
  static_cast<void>(::madvise(address, size.value, MADV_DONTFORK));
  AnonymousMemory memory;
  memory.bytes_ = {static_cast<char*>(address), size.value};
  return memory;
}

AnonymousMemory::~AnonymousMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

void Uring::Closer::operator()(io_uring* ring) const {
  io_uring_queue_exit(ring);
  delete ring;
}

Result<Uring> Uring::open(const Settings& settings) {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_CQSIZE;
  parameters.cq_entries = settings.completions;
  if (settings.kernel_thread) {
    parameters.flags |= IORING_SETUP_SQPOLL;
    parameters.sq_thread_idle = settings.thread_idle_ms;
  } else {
    parameters.flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  }
  auto ring = std::make_unique<io_uring>();
  const int opened = io_uring_queue_init_params(settings.entries, ring.get(), &parameters);
  if (opened < 0) return failure("io_uring_setup", -opened);
  Uring made(std::unique_ptr<io_uring, Closer>(ring.release()));
  // Up to 6.12 an emptied slot of the table of files keeps its file until every operation that was
  // begun before is over: a socket that was closed long ago stays connected. Of the features that
  // a ring tells, this one is the first that a kernel without that has.
  const bool keeps_files = (parameters.features & since_6_14) == 0;
  if (settings.kernel_thread && keeps_files) return failure("io_uring_setup", EINVAL);
  return made;
}

bool Uring::supports(Operation operation) const {
  io_uring_probe* const probe = io_uring_get_probe_ring(ring_.get());
  if (probe == nullptr) return false;  // ENOMEM, or a kernel before 5.6
  int opcode = IORING_OP_LAST;
  switch (operation) {
    case Operation::SendZeroCopy:
      opcode = IORING_OP_SEND_ZC;
      break;
    case Operation::Splice:
      opcode = IORING_OP_SPLICE;
      break;
  }
  const bool supported = io_uring_opcode_supported(probe, opcode) != 0;
  io_uring_free_probe(probe);
  return supported;
}

Result<void> Uring::register_buffer(std::span<char> bytes) {
  const iovec piece{bytes.data(), bytes.size()};
  return checked("io_uring_register(buffers)", io_uring_register_buffers(ring_.get(), &piece, 1));
}

Result<void> Uring::reserve_files(unsigned slots) {
  return checked("io_uring_register(files)", io_uring_register_files_sparse(ring_.get(), slots));
}

Result<void> Uring::set_file(unsigned slot, int fd) {
  return checked("io_uring_register(files)",
                 io_uring_register_files_update(ring_.get(), slot, &fd, 1));
}

void Uring::clear_file(unsigned slot) {
  const int none = -1;
  // Cannot fail: the slot exists, and emptying it takes no memory.
  static_cast<void>(io_uring_register_files_update(ring_.get(), slot, &none, 1));
}

Result<void> Uring::limit_workers(unsigned count) {
  unsigned bounded_and_unbounded[2] = {count, count};
  return checked("io_uring_register(workers)",
                 io_uring_register_iowq_max_workers(ring_.get(), bounded_and_unbounded));
}

bool Uring::queue_send(const Send& send, std::uint64_t tag) {
  io_uring_sqe* const entry = io_uring_get_sqe(ring_.get());
  if (entry == nullptr) return false;
  // MSG_DONTWAIT: a full socket completes with EAGAIN at once, instead of staying with the kernel
  // until there is room.
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (send.more ? MSG_MORE : 0);
  io_uring_prep_send_zc_fixed(entry, send.socket, send.bytes.data(), send.bytes.size(), flags,
                              report_usage, 0);
  if (send.in_table) io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
  io_uring_sqe_set_data64(entry, tag);
  return true;
}

bool Uring::queue_splice(const FileToPipe& splice, std::uint64_t tag) {
  io_uring_sqe* const entry = io_uring_get_sqe(ring_.get());
  if (entry == nullptr) return false;
  io_uring_prep_splice(entry, splice.file_fd, static_cast<std::int64_t>(splice.range.offset.value),
                       splice.pipe_fd, -1, static_cast<unsigned>(splice.range.count.value),
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  io_uring_sqe_set_data64(entry, tag);
  return true;
}

bool Uring::queue_cancel(std::uint64_t target, std::uint64_t tag) {
  io_uring_sqe* const entry = io_uring_get_sqe(ring_.get());
  if (entry == nullptr) return false;
  io_uring_prep_cancel64(entry, target, 0);
  io_uring_sqe_set_data64(entry, tag);
  return true;
}

Result<void> Uring::submit() {
  int returned = 0;
  do {
    returned = io_uring_submit(ring_.get());
  } while (returned == -EINTR);  // a signal before the first entry was taken
  if ((ring_->flags & IORING_SETUP_SQPOLL) != 0) {
    // The thread may have the entry already, so nothing can be taken back.
    return checked("io_uring_enter", returned);
  }
  io_uring_sq& queue = ring_->sq;
  const unsigned taken = *queue.khead;
  if (taken == queue.sqe_tail) return {};
  // Without a thread of its own the kernel reads the tail only within io_uring_enter(2).
  queue.sqe_tail = taken;
  queue.sqe_head = taken;
  io_uring_smp_store_release(queue.ktail, taken);
  return failure("io_uring_enter", returned < 0 ? -returned : EAGAIN);
}

std::span<Uring::Completion> Uring::take(std::span<Completion> into) {
  const unsigned held_back = IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN;
  if ((IO_URING_READ_ONCE(*ring_->sq.kflags) & held_back) != 0) {
    // EINTR, EBUSY: what it holds back stays there, and the flag with it, for the next call.
    static_cast<void>(io_uring_get_events(ring_.get()));
  }
  std::size_t count = 0;
  unsigned head = 0;
  io_uring_cqe* entry = nullptr;
  io_uring_for_each_cqe(ring_.get(), head, entry) {
    if (count == into.size()) break;
    const bool notification = (entry->flags & IORING_CQE_F_NOTIF) != 0;
    const auto usage = static_cast<std::uint32_t>(entry->res);
    into[count++] = {.tag = entry->user_data,
                     .result = entry->res,
                     .more = (entry->flags & IORING_CQE_F_MORE) != 0,
                     .notification = notification,
                     .copied = notification && (usage & notified_copied) != 0};
  }
  io_uring_cq_advance(ring_.get(), static_cast<unsigned>(count));
  return into.first(count);
}

Result<void> Uring::wait(std::int64_t at_most_ms) {
  __kernel_timespec limit{.tv_sec = at_most_ms / 1000, .tv_nsec = at_most_ms % 1000 * 1'000'000};
  io_uring_cqe* first = nullptr;
  return checked("io_uring_enter", io_uring_wait_cqe_timeout(ring_.get(), &first, &limit));
}

int Uring::fd() const {
  return ring_->ring_fd;
}

}  // namespace pagewire::sys
