// Mirror: the thread that empties the lanes.
#include "relay/mirror.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <iterator>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "base/check.h"
#include "metrics/metrics.h"
#include "relay/mirror_lane.h"
#include "relay/mirror_writer.h"
#include "sys/clock.h"
#include "sys/thread.h"

namespace pagewire::relay {

namespace {

using Sleep = MirrorAlarm::Sleep;

constexpr int nap_ms = 1;  // 1 ms at 8 Gbit/s is a lane of 1 MiB
constexpr int connect_wait_ms = 3'000;
constexpr int end_wait_ms = 1'000;  // beyond flush_limit_ms, for the thread to see that it is over
constexpr int records_a_turn = 64;  // of a lane, so that no other fills up meanwhile

/// EPIPE and EFBIG are failures of the sink; the signals that come with them would end the process.
void block_write_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGPIPE);
  ::sigaddset(&signals, SIGXFSZ);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

std::int64_t now_ms() {
  return sys::monotonic_ns() / 1'000'000;
}

/// So that numbers of connections do not come again after a restart: the second, and 16 million for
/// each.
std::uint64_t first_of_run() {
  return static_cast<std::uint64_t>(sys::realtime_ns() / 1'000'000'000) << 24;
}

}  // namespace

struct Mirror::Parts {
  Parts(const Settings& given, sys::Wakeup wakeup, sys::Pipe own_pipe)
      : settings(given),
        alarm(std::move(wakeup)),
        writer({.target = given.target,
                .rotate = given.rotate,
                .retry_ms = given.retry_ms,
                .look_up = given.look_up,
                .run = connections.load()},
               std::move(own_pipe), [this](int fd) { return wait_for_recorder(fd); }) {}

  Result<void> add_lanes();
  void run();
  bool drain_lanes();
  bool wait_for_recorder(int fd);
  void sleep(bool flowing);
  bool anything_to_do() const;
  bool anything_waits() const;
  bool wait_for_end();
  void complain_of_rest() const;
  MirrorSink::Patience patience() const { return {connect_wait_ms, alarm.fd()}; }

  const Settings settings;
  std::atomic<std::uint64_t> connections{first_of_run()};
  MirrorAlarm alarm;
  MirrorWriter writer;  ///< the thread's, once that runs
  std::vector<std::unique_ptr<MirrorLane::Shared>> lanes;
  std::vector<MirrorLane> doors;  ///< one each, for the workers
  std::int64_t stop_at_ms = 0;    ///< the thread's; 0: not asked to stop
  std::atomic<bool> reopen_asked{false};
  std::atomic<bool> stop_asked{false};
  std::mutex end_mutex;
  std::condition_variable end_changed;
  bool ended = false;  ///< the thread's last word; under the mutex
  std::thread thread;
};

Result<std::unique_ptr<Mirror>> Mirror::open(const Settings& settings) {
  Result<sys::Wakeup> wakeup = sys::Wakeup::create();
  if (!wakeup) return tl::unexpected(wakeup.error());
  Result<sys::Pipe> own_pipe = sys::make_pipe(settings.lane_capacity);
  if (!own_pipe) return tl::unexpected(own_pipe.error());
  auto parts = std::make_shared<Parts>(settings, std::move(*wakeup), std::move(*own_pipe));
  if (Result<void> added = parts->add_lanes(); !added) return tl::unexpected(added.error());
  if (parts->writer.sink().is_file()) {
    if (Result<void> opened = parts->writer.open_next({}); !opened) {
      return tl::unexpected(opened.error());
    }
  }
  std::string first_name = parts->writer.sink().name();
  parts->thread = std::thread([shared = parts] {
    sys::name_this_thread("pw-mirror");
    block_write_signals();
    shared->run();
    const std::scoped_lock lock(shared->end_mutex);
    shared->ended = true;
    shared->end_changed.notify_all();
  });
  return std::unique_ptr<Mirror>(new Mirror(std::move(parts), std::move(first_name)));
}

Mirror::Mirror(std::shared_ptr<Parts> parts, std::string first_name)
    : parts_(std::move(parts)), first_name_(std::move(first_name)) {}

Mirror::~Mirror() {
  parts_->stop_asked.store(true);
  parts_->alarm.ring();
  if (parts_->wait_for_end()) {
    parts_->thread.join();
  } else {
    parts_->complain_of_rest();
    parts_->thread.detach();  // what it uses is its own, too
  }
}

/// False: the thread is held up.
bool Mirror::Parts::wait_for_end() {
  const std::chrono::milliseconds limit(settings.flush_limit_ms + end_wait_ms);
  std::unique_lock lock(end_mutex);
  return end_changed.wait_for(lock, limit, [this] { return ended; });
}

MirrorLane& Mirror::lane(std::size_t worker) {
  PW_CHECK(worker < parts_->doors.size());
  return parts_->doors[worker];
}

void Mirror::reopen() {
  parts_->reopen_asked.store(true);
  parts_->alarm.ring();
}

MirrorTotals Mirror::totals() const {
  MirrorTotals sums;
  sums.mirrored_bytes = parts_->writer.mirrored_bytes.load(std::memory_order_relaxed);
  sums.sink_failures = parts_->writer.sink_failures.load(std::memory_order_relaxed);
  sums.sinks_opened = parts_->writer.sinks_opened.load(std::memory_order_relaxed);
  for (const auto& lane : parts_->lanes) {
    sums.dropped_bytes += lane->dropped_bytes.load(std::memory_order_relaxed);
    sums.dropped_records += lane->dropped_records.load(std::memory_order_relaxed);
    sums.gaps += lane->gaps.load(std::memory_order_relaxed);
  }
  return sums;
}

std::string mirrors_text(std::span<const NamedMirror> mirrors) {
  struct Series {
    metrics::Family family;
    std::uint64_t MirrorTotals::*sum;
  };
  static constexpr Series all[] = {
      {{"pagewire_relay_mirror_bytes_total", "counter", "Bytes of streams that the mirror wrote."},
       &MirrorTotals::mirrored_bytes},
      {{"pagewire_relay_mirror_dropped_bytes_total", "counter",
        "Bytes of streams that the mirror had no room for."},
       &MirrorTotals::dropped_bytes},
      {{"pagewire_relay_mirror_dropped_records_total", "counter",
        "Beginnings and ends of connections, likewise."},
       &MirrorTotals::dropped_records},
      {{"pagewire_relay_mirror_gaps_total", "counter", "Runs of dropped bytes, as marked."},
       &MirrorTotals::gaps},
      {{"pagewire_relay_mirror_failures_total", "counter",
        "The file or the recorder broke off, or could not be opened."},
       &MirrorTotals::sink_failures},
      {{"pagewire_relay_mirror_opened_total", "counter", "Files, or connections to the recorder."},
       &MirrorTotals::sinks_opened},
  };
  std::string text;
  for (const Series& series : all) {
    if (mirrors.empty()) break;
    metrics::write_family(text, series.family);
    for (const NamedMirror& one : mirrors) {
      fmt::format_to(std::back_inserter(text), "{}{{relay=\"{}\"}} {}\n", series.family.name,
                     metrics::escaped_label(one.name), one.mirror.totals().*series.sum);
    }
  }
  return text;
}

Result<void> Mirror::Parts::add_lanes() {
  for (std::size_t worker = 0; worker < settings.workers; ++worker) {
    Result<sys::Pipe> pipe = sys::make_pipe(settings.lane_capacity);
    if (!pipe) return tl::unexpected(pipe.error());
    const MirrorLane::Shared::Wiring wiring{
        .alarm = alarm,
        .connections = connections,
        .mirrored = {settings.directions != MirrorDirections::Down,
                     settings.directions != MirrorDirections::Up}};
    lanes.push_back(
        std::make_unique<MirrorLane::Shared>(wiring, std::move(*pipe), settings.lane_heads));
    doors.emplace_back(*lanes.back());
  }
  return {};
}

void Mirror::Parts::run() {
  for (;;) {
    // Asked before the lanes are emptied: what was committed before the destructor gets written.
    const bool stopping = stop_asked.load();
    if (stopping && stop_at_ms == 0) stop_at_ms = now_ms() + settings.flush_limit_ms;
    const bool ready = writer.is_ready(patience());
    const bool flowing = ready && drain_lanes();
    // After what was there: it belongs to the file as it was when reopen() was called.
    // A recorder forgets the question as well, or it would be asked without end.
    if (ready && reopen_asked.exchange(false) && writer.sink().is_file()) {
      (void)writer.open_next({});  // ENOSPC, EACCES: the old file stays in use
    }
    if (stopping && (!flowing || now_ms() >= stop_at_ms)) {
      if (anything_waits()) complain_of_rest();
      return;
    }
    if (!stopping) sleep(flowing);
  }
}

/// Whether there was anything.
bool Mirror::Parts::drain_lanes() {
  bool any = false;
  for (const auto& lane : lanes) {
    for (int i = 0; i < records_a_turn && writer.take_record(*lane); ++i) any = true;
  }
  return (writer.flush() && any) || anything_waits();
}

/// False when the time to stop has come.
bool Mirror::Parts::wait_for_recorder(int fd) {
  for (;;) {
    if (stop_asked.load() && stop_at_ms == 0) stop_at_ms = now_ms() + settings.flush_limit_ms;
    const std::int64_t left_ms = stop_at_ms == 0 ? -1 : stop_at_ms - now_ms();
    if (stop_at_ms != 0 && left_ms <= 0) return false;
    pollfd waiting[] = {{.fd = fd, .events = POLLOUT, .revents = 0},
                        {.fd = alarm.fd(), .events = POLLIN, .revents = 0}};
    (void)::poll(waiting, 2, static_cast<int>(left_ms));  // EINTR: it looks once more
    if (waiting[0].revents != 0) return true;
    alarm.rise();
  }
}

void Mirror::Parts::sleep(bool flowing) {
  const bool fails = !writer.sink().is_open() || now_ms() < writer.retry_at_ms();
  std::int64_t limit_ms = flowing ? nap_ms : -1;
  if (fails) {
    // Workers take it for awake: they need not wake it for what it cannot write.
    limit_ms = std::max<std::int64_t>(writer.retry_at_ms() - now_ms(), 1);
  } else {
    alarm.fall_asleep(flowing ? Sleep::Nap : Sleep::Deep);
    // Before a deep sleep one more look is owed (mirror_lane.h).
    if (!flowing && anything_to_do()) limit_ms = 0;
  }
  const bool has_socket = !writer.sink().is_file() && writer.sink().is_open();
  pollfd waiting[] = {
      {.fd = alarm.fd(), .events = POLLIN, .revents = 0},
      {.fd = has_socket ? writer.sink().fd() : -1, .events = POLLRDHUP, .revents = 0}};
  (void)::poll(waiting, 2, static_cast<int>(limit_ms));  // EINTR: it looks at the lanes once more
  alarm.rise();
  // A recorder says nothing: all that can come of it is that it went.
  if (waiting[1].revents != 0) writer.gone();
}

bool Mirror::Parts::anything_to_do() const {
  return stop_asked.load() || reopen_asked.load() || anything_waits();
}

bool Mirror::Parts::anything_waits() const {
  return std::any_of(lanes.begin(), lanes.end(),
                     [](const auto& lane) { return lane->heads.front() != nullptr; });
}

void Mirror::Parts::complain_of_rest() const {
  const std::string text = fmt::format(
      "pagewire: mirror {}: ended before all that was queued could be written\n", settings.target);
  (void)std::fputs(text.c_str(), stderr);
}

}  // namespace pagewire::relay
