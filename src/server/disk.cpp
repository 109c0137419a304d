// The helpers' threads, and the worker's table of what they are asked for. See disk.h.
#include "server/disk.h"

#include <array>

#include "base/check.h"
#include "sys/clock.h"
#include "sys/page_cache.h"
#include "sys/thread.h"

namespace pagewire::server {

namespace {

/// Jobs of a kind that wait for a thread, of all workers; above, a worker keeps them until there is
/// room.
constexpr std::size_t longest_queue = 4096;

/// Reading ahead is a favour: beyond so many, the rest is left out.
constexpr std::size_t longest_queue_ahead = 64;

/// A fetch of so little is a short job.
constexpr ByteCount short_fetch{64 * kib};

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
      job.opened = content::open_name(job.fd, job.wish, job.read_up_to);
      return;
  }
}

}  // namespace

// ---------------------------------------------------------------- the threads

void DiskHelpers::start(std::size_t threads) {
  if (threads == 0) return;
  start_one("pw-disk-short", Takes::Short);
  for (std::size_t i = 0; i < threads; ++i) start_one("pw-disk-" + std::to_string(i), Takes::All);
}

void DiskHelpers::start_one(const std::string& name, Takes takes) {
  threads_.emplace_back([this, name, takes] {
    sys::name_this_thread(name.c_str());
    run(takes);
  });
}

void DiskHelpers::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    short_.clear();
    long_.clear();
    ahead_.clear();
  }
  came_.notify_all();
  short_came_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool DiskHelpers::submit(DiskJob& job) {
  std::deque<DiskJob*>& queue = queue_of(job);
  const std::size_t limit = &queue == &ahead_ ? longest_queue_ahead : longest_queue;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || queue.size() >= limit) return false;
    queue.push_back(&job);
  }
  if (&queue == &short_) short_came_.notify_one();
  came_.notify_one();  // of a short job, too: the helper of those may be at another
  return true;
}

std::deque<DiskJob*>& DiskHelpers::queue_of(const DiskJob& job) {
  switch (job.kind) {
    case DiskJob::Kind::Fetch:
      return job.range.count <= short_fetch ? short_ : long_;
    case DiskJob::Kind::Ahead:
      return ahead_;
    case DiskJob::Kind::Open:
      return short_;
  }
  PW_CHECK(false);
  return long_;
}

std::size_t DiskHelpers::queued() const {
  const std::lock_guard lock(mutex_);
  return short_.size() + long_.size() + ahead_.size();
}

void DiskHelpers::run(Takes takes) {
  while (DiskJob* const job = take(takes)) {
    if (job->unwanted.load()) {
      job->skipped = true;
    } else {
      perform(*job);
    }
    job->desk->come_back(*job);
  }
}

/// nullptr: no more.
DiskJob* DiskHelpers::take(Takes takes) {
  std::unique_lock lock(mutex_);
  std::condition_variable& came = takes == Takes::Short ? short_came_ : came_;
  came.wait(lock, [this, takes] { return stopping_ || next_queue(takes) != nullptr; });
  if (stopping_) return nullptr;
  std::deque<DiskJob*>& queue = *next_queue(takes);
  DiskJob* const job = queue.front();
  queue.pop_front();
  return job;
}

/// nullptr: nothing to do.
std::deque<DiskJob*>* DiskHelpers::next_queue(Takes takes) {
  if (takes == Takes::All && !long_.empty()) return &long_;
  if (!short_.empty()) return &short_;
  if (takes == Takes::All && !ahead_.empty()) return &ahead_;
  return nullptr;
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
  const content::FoundName found = parts_.site.resolved(job.wish, std::move(job.opened), now);
  while (DiskWaiter* const waiter = job.waiters.pop_front()) {
    waiter->name_resolved(found);
  }
}

}  // namespace pagewire::server
