// AccessLog: the workers' rings and the thread that empties them into the file.
//
// Invariant: the writer sleeps for good only after it has said so (Sleep::Deep) and then found
// every ring empty; a worker that commits a line afterwards sees that and wakes it. So no line
// waits for the next one, and an idle server uses no CPU. While lines flow the writer naps instead,
// and workers then make no system call unless their ring is half full. Kernel facts: an eventfd(2)
// read clears its count, so any number of wake-ups are one.
#include "log/log.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <csignal>

#include <pthread.h>

#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/spsc_ring.h"
#include "log/log_file.h"

namespace pagewire::log {

namespace {

constexpr int nap_ms = 100;                     ///< how late a line may be under load
constexpr std::size_t batch_bytes = 64 * 1024;  ///< one write(2)

enum class Sleep : std::uint8_t {
  Awake,
  Nap,   ///< for nap_ms: only a ring that is half full needs to wake it
  Deep,  ///< until woken
};

/// EPIPE and EFBIG are dropped lines; the signals that come with them would end the process.
void block_write_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGPIPE);
  ::sigaddset(&signals, SIGXFSZ);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace

struct AccessLog::Parts {
  Parts(const Settings& settings, LogFile log_file, sys::Fd wake)
      : format(settings.format), file(std::move(log_file)), wake_fd(std::move(wake)) {
    for (std::size_t worker = 0; worker < settings.workers; ++worker) {
      rings.push_back(std::make_unique<SpscRing<AccessRecord>>(settings.queue_lines));
    }
  }

  void run();
  bool drain_rings();
  void write_batch();
  void sleep(bool flowing);
  bool anything_to_do() const;
  void wake();
  void wake_if(bool half_full);

  const Format format;
  LogFile file;
  const sys::Fd wake_fd;
  std::vector<std::unique_ptr<SpscRing<AccessRecord>>> rings;
  std::string line;   ///< the writer's
  std::string batch;  ///< the writer's
  std::atomic<std::uint64_t> dropped{0};
  std::atomic<Sleep> sleeping{Sleep::Awake};
  std::atomic<bool> reopen_asked{false};
  std::atomic<bool> stop_asked{false};
  std::thread writer;
};

Result<std::unique_ptr<AccessLog>> AccessLog::open(const Settings& settings) {
  Result<LogFile> file = LogFile::open(settings.file);
  if (!file) return tl::unexpected(file.error());
  sys::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) return last_error("eventfd");
  auto parts = std::make_unique<Parts>(settings, std::move(*file), std::move(wake));
  Parts* const shared = parts.get();
  parts->writer = std::thread([shared] {
    ::pthread_setname_np(::pthread_self(), "pw-log");
    block_write_signals();
    shared->run();
  });
  return std::unique_ptr<AccessLog>(new AccessLog(std::move(parts)));
}

AccessLog::AccessLog(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

AccessLog::~AccessLog() {
  parts_->stop_asked.store(true);
  parts_->wake();
  parts_->writer.join();
}

AccessRecord* AccessLog::begin(std::size_t worker) {
  PW_CHECK(worker < parts_->rings.size());
  AccessRecord* const record = parts_->rings[worker]->begin();
  if (record == nullptr) parts_->dropped.fetch_add(1, std::memory_order_relaxed);
  return record;
}

void AccessLog::commit(std::size_t worker) {
  SpscRing<AccessRecord>& ring = *parts_->rings[worker];
  ring.commit();
  parts_->wake_if(ring.half_full());
}

void AccessLog::reopen() {
  parts_->reopen_asked.store(true);
  parts_->wake();
}

std::uint64_t AccessLog::dropped() const {
  return parts_->dropped.load(std::memory_order_relaxed);
}

void AccessLog::Parts::run() {
  for (;;) {
    // Asked before the rings are emptied: what was committed before the destructor gets written.
    const bool stopping = stop_asked.load();
    // Likewise: what was committed before reopen() belongs to the file as it was then.
    const bool reopening = reopen_asked.exchange(false);
    const bool flowing = drain_rings();
    if (reopening) dropped.fetch_add(file.reopen(), std::memory_order_relaxed);
    if (stopping) return;
    sleep(flowing);
  }
}

/// Writes what waits in the rings, at most one ring's length of each so that reopen and stop are
/// seen in time. Returns whether there was anything.
bool AccessLog::Parts::drain_rings() {
  bool any = false;
  for (const std::unique_ptr<SpscRing<AccessRecord>>& ring : rings) {
    std::size_t left = ring->capacity();
    for (const AccessRecord* record = ring->front(); record != nullptr && left > 0;
         record = ring->front(), --left) {
      format_line(*record, format, line);
      ring->pop();
      batch += line;
      if (batch.size() >= batch_bytes) write_batch();
      any = true;
    }
  }
  if (!batch.empty()) write_batch();
  return any;
}

void AccessLog::Parts::write_batch() {
  dropped.fetch_add(file.append(batch), std::memory_order_relaxed);
  batch.clear();
}

void AccessLog::Parts::sleep(bool flowing) {
  sleeping.store(flowing ? Sleep::Nap : Sleep::Deep, std::memory_order_seq_cst);
  // In a nap lines are expected; before a deep sleep one more look is owed (see the top).
  if (flowing || !anything_to_do()) {
    pollfd waiting{.fd = wake_fd.get(), .events = POLLIN, .revents = 0};
    // EINTR only makes it look at the rings once more.
    (void)::poll(&waiting, 1, flowing ? nap_ms : -1);
  }
  sleeping.store(Sleep::Awake, std::memory_order_seq_cst);
  eventfd_t wakes = 0;
  (void)::eventfd_read(wake_fd.get(), &wakes);  // EAGAIN: nobody woke it, the nap was over
}

bool AccessLog::Parts::anything_to_do() const {
  if (stop_asked.load() || reopen_asked.load()) return true;
  for (const std::unique_ptr<SpscRing<AccessRecord>>& ring : rings) {
    if (ring->front() != nullptr) return true;
  }
  return false;
}

void AccessLog::Parts::wake_if(bool half_full) {
  Sleep seen = sleeping.load(std::memory_order_seq_cst);
  if (seen == Sleep::Awake || (seen == Sleep::Nap && !half_full)) return;
  // The exchange lets one of many workers make the system call.
  if (sleeping.compare_exchange_strong(seen, Sleep::Awake)) wake();
}

void AccessLog::Parts::wake() {
  (void)::eventfd_write(wake_fd.get(), 1);
}

}  // namespace pagewire::log
