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

bool contains(ByteRange range, FileOffset offset) {
  return range.offset <= offset && offset < range.end();
}

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
    if (job->unwanted.load()) {
      job->skipped = true;
    } else {
      perform(*job);
    }
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
  DiskJob* const job = find_read(*file.get(), [range](const DiskJob& other) {
    return other.kind == DiskJob::Kind::Fetch && contains(other.range, range.offset);
  });
  join(waiter, job != nullptr ? *job : new_fetch(file, range));
}

void DiskDesk::fetch_alone(DiskWaiter& waiter, const content::FileRef& file, ByteRange range) {
  DiskJob* const job = find_read(*file.get(), [range](const DiskJob& other) {
    return other.kind == DiskJob::Kind::Fetch && other.range == range;
  });
  join(waiter, job != nullptr ? *job : new_fetch(file, range));
}

void DiskDesk::read_ahead(const content::FileRef& file, ByteRange range) {
  const DiskJob* const reads_it = find_read(
      *file.get(), [range](const DiskJob& other) { return contains(other.range, range.offset); });
  if (reads_it != nullptr) return;
  DiskJob& job = new_read(DiskJob::Kind::Ahead, file, range);
  if (!parts_.helpers.submit(job)) drop(job);
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
    job = &enter(std::move(made));
    hand_in(*job);
  }
  join(waiter, *job);
}

/// The first of the file's jobs that fits; nullptr: none.
template <class Fits>
DiskJob* DiskDesk::find_read(const content::OpenFile& file, Fits fits) {
  const auto [first, last] = reads_.equal_range(&file);
  for (auto place = first; place != last; ++place) {
    if (fits(*place->second)) return place->second;
  }
  return nullptr;
}

DiskJob& DiskDesk::new_fetch(const content::FileRef& file, ByteRange range) {
  DiskJob& job = new_read(DiskJob::Kind::Fetch, file, range);
  hand_in(job);
  return job;
}

DiskJob& DiskDesk::new_read(DiskJob::Kind kind, const content::FileRef& file, ByteRange range) {
  auto made = std::make_unique<DiskJob>();
  made->kind = kind;
  made->fd = file->fd();
  made->range = range;
  made->file = file;
  return enter(std::move(made));
}

DiskJob& DiskDesk::enter(std::unique_ptr<DiskJob> made) {
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
  return job;
}

std::unique_ptr<DiskJob> DiskDesk::take_out(DiskJob& job) {
  const auto place = jobs_.find(&job);
  std::unique_ptr<DiskJob> owned = std::move(place->second);
  jobs_.erase(place);
  parts_.metrics.pending.subtract(1);
  if (job.kind == DiskJob::Kind::Open) {
    opens_.erase(job.wish.key);
    return owned;
  }
  const auto [first, last] = reads_.equal_range(job.file.get());
  for (auto read = first; read != last; ++read) {
    if (read->second != &job) continue;
    reads_.erase(read);
    break;
  }
  return owned;
}

void DiskDesk::join(DiskWaiter& waiter, DiskJob& job) {
  job.unwanted.store(false);
  job.waiters.push_back(waiter);
}

void DiskDesk::hand_in(DiskJob& job) {
  if (!parts_.helpers.submit(job)) deferred_.push_back(&job);
}

void DiskDesk::hand_in_deferred() {
  while (!deferred_.empty() && parts_.helpers.submit(*deferred_.front())) deferred_.pop_front();
}

void DiskDesk::tick() {
  mark_unwanted();
  hand_in_deferred();
}

/// What is queued stays there, because another thread may be at it, and a helper passes over it.
void DiskDesk::mark_unwanted() {
  for (const auto& [key, job] : jobs_) {
    if (job->kind != DiskJob::Kind::Ahead) job->unwanted.store(job->waiters.empty());
  }
  std::erase_if(deferred_, [this](DiskJob* job) {
    if (!job->waiters.empty()) return false;
    drop(*job);
    return true;
  });
}

/// No helper has it, and nobody waits for it.
void DiskDesk::drop(DiskJob& job) {
  parts_.metrics.dropped.add(1);
  take_out(job).reset();
}

void DiskDesk::come_back(DiskJob& job) {
  parts_.loop.post([this, &job] { done(job); });
}

void DiskDesk::done(DiskJob& job) {
  hand_in_deferred();
  if (job.skipped) {
    if (job.waiters.empty()) return drop(job);
    job.skipped = false;  // somebody has come to wait for it since
    return hand_in(job);
  }
  const std::unique_ptr<DiskJob> owned = take_out(job);
  if (job.kind != DiskJob::Kind::Ahead) {
    const std::int64_t wait_ns = sys::monotonic_ns() - job.asked_ns;
    parts_.metrics.wait_time.record_ns(static_cast<std::uint64_t>(wait_ns));
  }
  job.kind == DiskJob::Kind::Open ? wake_resolved(job) : wake_fetched(job);
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
