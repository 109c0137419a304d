// The helpers' threads, and the worker's table of what they are asked for. See disk.h.
#include "server/disk.h"

#include <array>

#include "sys/clock.h"
#include "sys/page_cache.h"
#include "sys/thread.h"

namespace pagewire::server {

namespace {

/// Jobs that wait for a thread, of all workers; above, a worker keeps them until there is room.
constexpr std::size_t longest_queue = 4096;

/// Reading ahead is a favour: beyond so many, the rest is left out.
constexpr std::size_t longest_queue_ahead = 64;

void perform(DiskJob& job) {
  switch (job.kind) {
    case DiskJob::Kind::Fetch: {
      // Read into nothing: what counts is that the pages are there afterwards.
      static thread_local std::array<char, 128 * kib> scratch;
      job.read = sys::fetch_pages(job.fd, job.range, scratch);
      return;
    }
    case DiskJob::Kind::Ahead:
      return sys::begin_reading(job.fd, job.range);
    case DiskJob::Kind::Open:
      job.opened = content::open_name(job.fd, job.wish.relative_path.c_str(), job.read_up_to);
      return;
  }
}

}  // namespace

// ---------------------------------------------------------------- the threads

void DiskHelpers::start(std::size_t threads) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i] {
      sys::name_this_thread(("pw-disk-" + std::to_string(i)).c_str());
      run();
    });
  }
}

void DiskHelpers::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wanted_.clear();
    ahead_.clear();
  }
  came_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool DiskHelpers::submit(DiskJob& job) {
  const bool ahead = job.kind == DiskJob::Kind::Ahead;
  {
    const std::lock_guard lock(mutex_);
    std::deque<DiskJob*>& queue = ahead ? ahead_ : wanted_;
    if (stopping_ || queue.size() >= (ahead ? longest_queue_ahead : longest_queue)) return false;
    queue.push_back(&job);
  }
  came_.notify_one();
  return true;
}

std::size_t DiskHelpers::queued() const {
  const std::lock_guard lock(mutex_);
  return wanted_.size() + ahead_.size();
}

void DiskHelpers::run() {
  while (DiskJob* const job = take()) {
    perform(*job);
    job->desk->come_back(*job);
  }
}

/// nullptr: no more.
DiskJob* DiskHelpers::take() {
  std::unique_lock lock(mutex_);
  came_.wait(lock, [this] { return stopping_ || !wanted_.empty() || !ahead_.empty(); });
  if (stopping_) return nullptr;
  std::deque<DiskJob*>& queue = wanted_.empty() ? ahead_ : wanted_;
  DiskJob* const job = queue.front();
  queue.pop_front();
  return job;
}

// ---------------------------------------------------------------- the worker's side

void DiskDesk::fetch(DiskWaiter& waiter, const content::FileRef& file, ByteRange range) {
  DiskJob* job = reading(*file.get(), range.offset, true);
  if (job == nullptr) {
    auto made = std::make_unique<DiskJob>();
    made->kind = DiskJob::Kind::Fetch;
    made->fd = file->fd();
    made->range = range;
    made->file = file;
    job = &begin(std::move(made));
  }
  job->waiters.push_back(waiter);
}

void DiskDesk::read_ahead(const content::FileRef& file, ByteRange range) {
  if (reading(*file.get(), range.offset, false) != nullptr) return;
  auto made = std::make_unique<DiskJob>();
  made->kind = DiskJob::Kind::Ahead;
  made->fd = file->fd();
  made->range = range;
  made->file = file;
  begin(std::move(made));
}

void DiskDesk::resolve(DiskWaiter& waiter, const content::NameWish& wish) {
  const auto place = opens_.find(wish.key);
  DiskJob* job = place == opens_.end() ? nullptr : place->second;
  if (job == nullptr) {
    auto made = std::make_unique<DiskJob>();
    made->kind = DiskJob::Kind::Open;
    made->fd = parts_.site.root_fd();
    made->wish = wish;
    made->read_up_to = parts_.small_body;
    job = &begin(std::move(made));
  }
  job->waiters.push_back(waiter);
}

/// The job that reads this byte already. `waited_for`: one that says when it has.
DiskJob* DiskDesk::reading(const content::OpenFile& file, FileOffset offset, bool waited_for) {
  const auto [first, last] = reads_.equal_range(&file);
  for (auto place = first; place != last; ++place) {
    DiskJob* const job = place->second;
    if (waited_for && job->kind != DiskJob::Kind::Fetch) continue;
    if (job->range.offset <= offset && offset < job->range.end()) return job;
  }
  return nullptr;
}

DiskJob& DiskDesk::begin(std::unique_ptr<DiskJob> made) {
  DiskJob& job = *made;
  job.desk = this;
  job.asked_ns = sys::monotonic_ns();
  jobs_.emplace(&job, std::move(made));
  if (job.kind == DiskJob::Kind::Open) {
    opens_.emplace(job.wish.key, &job);
  } else {
    reads_.emplace(job.file.get(), &job);
  }
  parts_.metrics.jobs[static_cast<std::size_t>(job.kind)].add(1);
  parts_.metrics.pending.add(1);
  hand_in(job);
  return job;
}

void DiskDesk::hand_in(DiskJob& job) {
  if (!parts_.helpers.submit(job)) deferred_.push_back(&job);
}

void DiskDesk::hand_in_deferred() {
  while (!deferred_.empty() && parts_.helpers.submit(*deferred_.front())) deferred_.pop_front();
}

void DiskDesk::tick() {
  hand_in_deferred();
}

void DiskDesk::come_back(DiskJob& job) {
  parts_.loop.post([this, &job] { done(job); });
}

void DiskDesk::done(DiskJob& job) {
  const auto place = jobs_.find(&job);
  const std::unique_ptr<DiskJob> owned = std::move(place->second);
  jobs_.erase(place);
  metrics::DiskMetrics& metrics = parts_.metrics;
  metrics.pending.subtract(1);
  hand_in_deferred();
  if (job.kind != DiskJob::Kind::Ahead) {
    metrics.wait_time.record_ns(static_cast<std::uint64_t>(sys::monotonic_ns() - job.asked_ns));
  }
  if (job.kind == DiskJob::Kind::Open) {
    opens_.erase(job.wish.key);
    return wake_resolved(job);
  }
  const auto [first, last] = reads_.equal_range(job.file.get());
  for (auto read = first; read != last; ++read) {
    if (read->second != &job) continue;
    reads_.erase(read);
    break;
  }
  wake_fetched(job);
}

void DiskDesk::wake_fetched(DiskJob& job) {
  if (job.kind == DiskJob::Kind::Ahead) return;
  parts_.metrics.fetched_bytes.add(job.read.value_or(ByteCount{}).value);
  if (!job.read) parts_.metrics.errors.add(1);
  while (DiskWaiter* const waiter = job.waiters.pop_front()) {
    waiter->pages_fetched(job.range, job.read);
  }
}

void DiskDesk::wake_resolved(DiskJob& job) {
  const content::Now now{.monotonic_ms = parts_.loop.now_ms(),
                         .realtime_s = sys::realtime_coarse_s()};
  const content::Lookup found = parts_.site.resolved(job.wish, std::move(job.opened), now);
  while (DiskWaiter* const waiter = job.waiters.pop_front()) {
    waiter->name_resolved(job.wish.key, found);
  }
}

}  // namespace pagewire::server
