// Disk: threads that wait for the disk, so that workers need not.
//
// DiskHelpers are the threads and their queue, shared by all workers. Each worker has a DiskDesk,
// which knows what its connections wait for: the same pages or the same name asked for twice is one
// job. A job belongs to its desk; while it is with the helpers they touch only its numbers, its
// texts and its answer. It comes back by Loop::post(). The file it reads from stays open until
// then, whatever becomes of who asked (a FileRef is counted by the worker's thread alone).
//
// A client may ask for something cold and go, as often as it likes: what nobody waits for any more
// must not keep the disk from those who still wait. So the desk marks such jobs at each tick, and a
// helper passes over them.
//
// Fetch: the pages are read, and those who wait go on. Ahead: the kernel is told to begin reading
// what a cold stream comes to next; nobody waits for it. Open: content::open_name().
//
// Long fetches may hold all helpers for seconds, while a name or a few pages may be on a quick
// disk, or in memory by now. So there is one helper more, which does short jobs alone; the others
// do them only when no long one waits. Neither kind can keep the other waiting for ever.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/intrusive_list.h"
#include "content/content.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

namespace pagewire::server {

struct DiskNode : ListNode {};

/// Whoever waits for one job. Destroyed or unlinked, it hears nothing any more.
class DiskWaiter : public DiskNode {
 public:
  virtual ~DiskWaiter() = default;
  /// `range` of the file that was asked for was read, or could not be (EIO). It holds at least the
  /// first byte that was asked for; the file may end before it does.
  virtual void pages_fetched(ByteRange range, const Result<ByteCount>& read) = 0;
  virtual void name_resolved(const content::FoundName& found) = 0;
};

class DiskDesk;

struct DiskJob {
  enum class Kind : std::uint8_t { Fetch, Ahead, Open };
  Kind kind = Kind::Fetch;
  int fd = -1;             ///< the file, or the root
  ByteRange range;         ///< Fetch, Ahead
  content::NameWish wish;  ///< Open
  ByteCount read_up_to;    ///< Open: small files are read, too
  std::int64_t asked_ns = 0;

  /// The desk says so while nobody waits for it; the helpers' side looks before it begins.
  std::atomic<bool> unwanted{false};
  /// And therefore did nothing: whoever has come to wait since must not take it for done.
  bool skipped = false;
  Result<ByteCount> read{};
  Result<content::OpenedName> opened{tl::unexpect, Error{}};

  // The desk's:
  DiskDesk* desk = nullptr;
  content::FileRef file;
  IntrusiveList<DiskWaiter, DiskNode> waiters;
};

class DiskHelpers {
 public:
  DiskHelpers() = default;
  ~DiskHelpers() { stop(); }
  DiskHelpers(const DiskHelpers&) = delete;
  DiskHelpers& operator=(const DiskHelpers&) = delete;

  /// And one more, for short jobs. 0 threads: there are no helpers at all, and workers wait for the
  /// disk themselves.
  void start(std::size_t threads);
  /// Waits for what is being read now; drops the rest. No desk may be in use any more, but all must
  /// still exist.
  void stop();
  bool any() const { return !threads_.empty(); }

  /// Any thread. False when the queue is full, or nobody reads it any more.
  bool submit(DiskJob& job);
  std::size_t queued() const;

 private:
  enum class Takes : std::uint8_t { Short, All };
  void start_one(const std::string& name, Takes takes);
  void run(Takes takes);
  DiskJob* take(Takes takes);
  std::deque<DiskJob*>& queue_of(const DiskJob& job);
  std::deque<DiskJob*>* next_queue(Takes takes);

  mutable std::mutex mutex_;
  std::condition_variable came_;        // Takes::All
  std::condition_variable short_came_;  // Takes::Short
  std::deque<DiskJob*> short_;
  std::deque<DiskJob*> long_;
  std::deque<DiskJob*> ahead_;  // when nothing is wanted
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// One worker's side. On the worker's thread only.
class DiskDesk {
 public:
  struct Parts {
    DiskHelpers& helpers;
    loop::Loop& loop;
    content::Site& site;
    metrics::DiskMetrics& metrics;
    ByteCount small_body;
  };
  explicit DiskDesk(const Parts& parts) : parts_(parts) {}

  bool has_helpers() const { return parts_.helpers.any(); }
  /// One job for all who want its pages. What they are told may then be of a range that begins
  /// before theirs, and ends with an error that is not theirs: see fetch_alone().
  void fetch(DiskWaiter& waiter, const content::FileRef& file, ByteRange range);
  /// The same, shared only with those who want exactly this range.
  void fetch_alone(DiskWaiter& waiter, const content::FileRef& file, ByteRange range);
  /// A favour: left out when too much is being read ahead already.
  void read_ahead(const content::FileRef& file, ByteRange range);
  void resolve(DiskWaiter& waiter, const content::NameWish& wish);
  /// About every 100 ms.
  void tick();

 private:
  friend class DiskHelpers;
  void come_back(DiskJob& job);  // any thread
  template <class Fits>
  DiskJob* find_read(const content::OpenFile& file, Fits fits);
  DiskJob& new_fetch(const content::FileRef& file, ByteRange range);
  DiskJob& new_read(DiskJob::Kind kind, const content::FileRef& file, ByteRange range);
  DiskJob& enter(std::unique_ptr<DiskJob> made);
  std::unique_ptr<DiskJob> take_out(DiskJob& job);
  static void join(DiskWaiter& waiter, DiskJob& job);
  void hand_in(DiskJob& job);
  void hand_in_deferred();
  void mark_unwanted();
  void drop(DiskJob& job);
  void done(DiskJob& job);
  void wake_fetched(DiskJob& job);
  void wake_resolved(DiskJob& job);

  Parts parts_;
  std::unordered_map<const DiskJob*, std::unique_ptr<DiskJob>> jobs_;
  std::unordered_multimap<const content::OpenFile*, DiskJob*> reads_;
  std::unordered_map<std::string, DiskJob*> opens_;
  // The queue was full. One for each connection that waits, at most, and those whose connections
  // have gone since the last tick.
  std::deque<DiskJob*> deferred_;
};

}  // namespace pagewire::server
