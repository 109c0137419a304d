// The rounds of the io_uring loop: submit and wait, look at what came, run who is ready, the tick.
//
// Relies on io_uring_enter(2): one call hands over the batch of the round before and waits; in it
// the kernel makes the non-blocking sends of the batch, and tells what happened. See uring_loop.h.
#include "loop/uring_loop.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "sys/clock.h"

namespace pagewire::loop {

namespace {

/// A ring needs its places freed, or the kernel to end what was cancelled: so many calls in vain
/// for that, the first few of them without a pause.
constexpr int patience = 1'000;
constexpr int calls_without_pause = 10;
constexpr useconds_t pause_us = 1'000;

}  // namespace

Result<std::unique_ptr<Loop>> make_uring_loop(const Settings& settings) {
  Result<sys::Ring> ring = sys::Ring::create(settings.ring);
  if (!ring) return tl::unexpected(ring.error());
  Result<sys::BufferRing> buffers = sys::BufferRing::create(*ring, settings.buffers);
  if (!buffers) return tl::unexpected(buffers.error());
  Result<sys::Wakeup> wakeup = sys::Wakeup::create();
  if (!wakeup) return tl::unexpected(wakeup.error());
  return std::unique_ptr<Loop>(std::make_unique<UringLoop>(
      settings, std::move(*ring), std::move(*buffers), std::move(*wakeup)));
}

UringLoop::UringLoop(const Settings& settings, sys::Ring ring, sys::BufferRing buffers,
                     sys::Wakeup wakeup)
    : settings_(settings),
      buffers_(std::move(buffers)),
      ring_(std::move(ring)),
      gathered_(ring_.places()),
      now_ns_(sys::monotonic_ns()),
      wheel_(now_ms()),
      tasks_(std::move(wakeup)) {
  static_cast<void>(watch(tasks_.fd(), *this));  // before begin() it only takes it down
}

/// By the owner's thread everything is cancelled and waited for. Another one, after the owner's has
/// ended, may submit nothing: operations under way end when the kernel takes the closed ring apart,
/// a little later, and until then a socket that they keep sends no FIN. Nothing is received into
/// our buffers meanwhile, because that happens within the owner's io_uring_enter(2) alone. Whoever
/// wants the peers to hear at once retires the streams and calls run() once more (Worker::run).
UringLoop::~UringLoop() {
  ending_ = true;
  members_.for_each([this](Stream& stream) { retire(stream); });
  if (begun_ && owner_ == std::this_thread::get_id()) settle_dying();
  // What nobody will look at any more: connections that were accepted meanwhile.
  ring_.reap(came_);
  for (; looked_at_ < came_.size(); ++looked_at_) {
    const sys::Completion& left = came_[looked_at_];
    const bool accepted =
        (left.tag & operation_bits) == static_cast<std::uint64_t>(Operation::Accept);
    if (accepted && left.result >= 0) sys::Fd(left.result).close();
  }
  dying_.for_each([this](Stream& stream) { let_go(stream); });
  bury();
}

void UringLoop::run(const std::function<void()>& tick) {
  begin();
  ring_.register_index();
  while (!stopping_.load(std::memory_order_relaxed)) {
    turn(wait_ms());
    if (now_ms() >= next_tick_ms_) run_tick(tick);
    bury();
  }
  submit_sends();  // of the round that stopped
  settle_dying();
  ring_.release_index();
}

/// The ring becomes this thread's; what was attached before is armed.
void UringLoop::begin() {
  if (begun_) {
    PW_CHECK(owner_ == std::this_thread::get_id());
    return;
  }
  PW_CHECK(ring_.enable().has_value());
  begun_ = true;
  owner_ = std::this_thread::get_id();
  for (const std::unique_ptr<Watched>& watched : watched_) arm_watch(*watched);
  for (const std::unique_ptr<Listener>& listener : listeners_) arm_accept(*listener);
  members_.for_each([this](Stream& stream) {
    make_ready(stream);
    if (stream.awaits_writable_ || stream.notifies_) arm_poll(stream);
  });
}

void UringLoop::turn(int wait_ms) {
  enter(wait_ms);
  now_ns_ = sys::monotonic_ns();
  // What comes meanwhile, each time the batch is full (submission()) or listening ends, waits for
  // the next round: with more busy streams than the batch has places this one would never end, and
  // neither tick nor yielded stream would have its turn. By index, because it is appended.
  const std::size_t came = came_.size();
  ++counters_.rounds;
  counters_.events += came;
  for (looked_at_ = 0; looked_at_ < came; ++looked_at_) {
    dispatch(std::exchange(came_[looked_at_], {}));
  }
  came_.erase(came_.begin(), came_.begin() + static_cast<std::ptrdiff_t>(came));
  looked_at_ = 0;
  run_ready();
}

int UringLoop::wait_ms() const {
  if (!ready_.empty() || !came_.empty()) return 0;
  return static_cast<int>(
      std::clamp<std::int64_t>(next_tick_ms_ - now_ms(), 0, TimerWheel::tick_ms));
}

void UringLoop::enter(int wait_ms) {
  if (ring_.has_overflow()) ++counters_.overflows;  // which this call fetches first
  ++counters_.enters;
  sends_queued_ = false;
  if (wait_ms == 0) {
    ring_.submit();
  } else {
    ring_.submit_and_wait(wait_ms);
  }
  ring_.reap(came_);
}

void UringLoop::submit_sends() {
  if (!std::exchange(sends_queued_, false)) return;
  ++counters_.enters;
  ring_.submit();
}

void UringLoop::dispatch(const sys::Completion& completion) {
  const std::uint64_t address = completion.tag & ~operation_bits;
  if (address == 0) return;
  const auto stream = [address]() -> Stream& { return *reinterpret_cast<Stream*>(address); };
  const auto source = [address] { return reinterpret_cast<Source*>(address); };
  switch (static_cast<Operation>(completion.tag & operation_bits)) {
    case Operation::Receive:
      return receive_done(stream(), completion);
    case Operation::Send:
      return send_done(stream(), completion);
    case Operation::Poll:
      return poll_done(stream(), completion);
    case Operation::Cancel:
      return operation_over(stream());  // ENOENT, EALREADY: what it was for is over by itself
    case Operation::Accept:
      return accept_done(*static_cast<Listener*>(source()), completion);
    case Operation::AcceptPoll:
      return accept_poll_done(*static_cast<Listener*>(source()), completion);
    case Operation::Watch:
      return watch_done(*static_cast<Watched*>(source()), completion);
    case Operation::SourceCancel:
      --source()->operations;
      return;
  }
}

/// A place in the batch. A full one is handed over first, which frees it: the kernel takes every
/// submission, unless it has no memory for the moment (EAGAIN).
io_uring_sqe& UringLoop::submission() {
  PW_CHECK(begun_);
  for (int i = 0; i < patience; ++i) {
    if (io_uring_sqe* const place = ring_.next()) return *place;
    if (i >= calls_without_pause) ::usleep(pause_us);  // memory comes back, but not at once
    enter(0);
  }
  PW_CHECK(false);
  std::abort();
}

std::uint64_t UringLoop::tag_of(const void* object, Operation operation) {
  const auto address = reinterpret_cast<std::uint64_t>(object);
  PW_CHECK((address & operation_bits) == 0);
  return address | static_cast<std::uint64_t>(operation);
}

void UringLoop::cancel(const void* object, Operation operation, Operation as) {
  io_uring_sqe& place = submission();
  ::io_uring_prep_cancel64(&place, tag_of(object, operation), 0);
  place.user_data = tag_of(object, as);
}

void UringLoop::make_ready(Stream& stream) {
  if (!static_cast<ReadyNode&>(stream).linked()) ready_.push_back(stream);
}

void UringLoop::yield(Stream& stream) {
  stream.yielded_ = true;
  make_ready(stream);
}

void UringLoop::run_ready() {
  // Only those that stand here now; who yields again goes into the next round.
  IntrusiveList<Stream, ReadyNode> round;
  while (Stream* const stream = ready_.pop_front()) round.push_back(*stream);
  // Their steps may take long (sendfile of a whole quantum): what is queued does not wait for them.
  if (!round.empty()) submit_sends();
  while (Stream* const stream = round.pop_front()) {
    if (stream->yielded_) {
      stream->yielded_ = false;
      stream->writable();
    }
    pump(*stream);
  }
}

void UringLoop::run_tick(const std::function<void()>& tick) {
  next_tick_ms_ = now_ms() + TimerWheel::tick_ms;
  wheel_.advance(now_ms(), [](Stream& stream) { stream.timed_out(); });
  for (const std::unique_ptr<Listener>& listener : listeners_) {
    if (listener->gone || !listener->paused) continue;
    listener->paused = false;
    arm_listener_poll(*listener);
  }
  for (const std::unique_ptr<Watched>& watched : watched_) {
    if (!watched->gone && std::exchange(watched->paused, false)) arm_watch(*watched);
  }
  tick();
}

void UringLoop::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  tasks_.wake();
}

/// run() ends, or the loop: streams that were retired are waited for, so that their peers see the
/// end now. What is cancelled ends within a call or two, but of many streams only as many a call as
/// the completion queue holds: calls count that leave no fewer than there have been.
void UringLoop::settle_dying() {
  constexpr int wait_ms = 1;
  std::size_t fewest = dying_count_;
  for (int in_vain = 0; in_vain < patience && dying_count_ > 0; ++in_vain) {
    turn(wait_ms);
    if (dying_count_ >= fewest) continue;
    fewest = dying_count_;
    in_vain = 0;
  }
  bury();
}

void UringLoop::bury() {
  for (Stream* const stream : retired_) delete stream;
  retired_.clear();
  forget_sources();
}

}  // namespace pagewire::loop
