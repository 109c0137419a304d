#include "sys/ring.h"

#include <cstdlib>

#include "base/check.h"
#include "sys/page_size.h"

namespace pagewire::sys {

Result<Ring> Ring::create(const RingSettings& settings) {
  io_uring_params params{};
  // SUBMIT_ALL: a submission that fails at once must not hold up those behind it.
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = settings.completions;
  auto raw = std::make_unique<io_uring>();
  // io_uring_queue_init_params(3) returns -errno.
  const int error = ::io_uring_queue_init_params(settings.entries, raw.get(), &params);
  if (error < 0) return failure("io_uring_setup", -error);
  Ring ring(std::unique_ptr<io_uring, Exit>(raw.release()));
  // Both older than DEFER_TASKRUN; a kernel without them is none that we know.
  constexpr unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
  if ((params.features & needed) != needed) return failure("io_uring_setup", EINVAL);
  return ring;
}

Result<void> Ring::enable() {
  // As io_uring_enable_rings(3), which liburing 2.3 declares and does not export.
  const int error = ::io_uring_register(static_cast<unsigned>(ring_->ring_fd),
                                        IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (error < 0) return failure("io_uring_register", -error);  // EBADFD: it is enabled already
  return {};
}

// Both calls below may fail with EINTR (a signal), ETIME (nothing came in time), EBUSY or EAGAIN
// (no memory for an operation): what was not taken stays in the queue for the next call, and the
// caller, who looks at the completions in any case, comes round again.
//
// But EBADR: the kernel had no memory to keep a completion that the queue had no room for, and has
// dropped it. Its operation would never be over for us, and which one that was nobody can tell: a
// connection, or the whole listener, would stay silent for good.
static void check_nothing_lost(int returned) {
  PW_CHECK(returned != -EBADR);
}

void Ring::submit() {
  check_nothing_lost(::io_uring_submit_and_get_events(ring_.get()));
}

void Ring::submit_and_wait(int timeout_ms) {
  __kernel_timespec limit{.tv_sec = timeout_ms / 1'000,
                          .tv_nsec = static_cast<long long>(timeout_ms % 1'000) * 1'000'000};
  io_uring_cqe* first = nullptr;
  check_nothing_lost(::io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &limit, nullptr));
}

void Ring::reap(std::vector<Completion>& into) {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(ring_.get(), head, cqe) {
    into.push_back({cqe->user_data, cqe->res, cqe->flags});
    ++count;
  }
  ::io_uring_cq_advance(ring_.get(), count);
}

bool Ring::knows(std::span<const int> operations) {
  io_uring_probe* const probe = ::io_uring_get_probe_ring(ring_.get());
  if (probe == nullptr) return false;
  bool all = true;
  for (const int operation : operations) {
    all = all && ::io_uring_opcode_supported(probe, operation) != 0;
  }
  ::io_uring_free_probe(probe);
  return all;
}

Result<BufferRing> BufferRing::create(Ring& ring, const BufferSettings& settings) {
  const std::size_t page = page_size();
  const std::size_t entries_bytes = settings.count * sizeof(io_uring_buf);
  BufferRing made;
  // The kernel wants whole pages, from a page's start on.
  made.ring_.reset(static_cast<io_uring_buf_ring*>(
      std::aligned_alloc(page, (entries_bytes + page - 1) / page * page)));
  made.memory_.reset(static_cast<char*>(std::malloc(settings.count * settings.size_bytes)));
  if (made.ring_ == nullptr || made.memory_ == nullptr) return failure("malloc", ENOMEM);
  made.size_bytes_ = settings.size_bytes;
  made.mask_ = ::io_uring_buf_ring_mask(settings.count);
  ::io_uring_buf_ring_init(made.ring_.get());
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(made.ring_.get());
  registration.ring_entries = settings.count;
  registration.bgid = group;
  const int error = ::io_uring_register_buf_ring(&ring.raw(), &registration, 0);
  if (error < 0) return failure("io_uring_register_buf_ring", -error);
  for (unsigned buffer = 0; buffer < settings.count; ++buffer) {
    made.give_back(static_cast<std::uint16_t>(buffer));
  }
  return made;
}

void BufferRing::give_back(std::uint16_t buffer) {
  ::io_uring_buf_ring_add(ring_.get(), memory_.get() + buffer * size_bytes_,
                          static_cast<unsigned>(size_bytes_), buffer, mask_, 0);
  ::io_uring_buf_ring_advance(ring_.get(), 1);
}

}  // namespace pagewire::sys
