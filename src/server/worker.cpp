#include "server/worker.h"

#include <fcntl.h>
#include <malloc.h>

#include <cstdio>

#include "server/connection.h"
#include "sys/clock.h"
#include "sys/kernel_tls.h"
#include "sys/tcp_tuning.h"
#include "sys/thread.h"

namespace pagewire::server {

namespace {

constexpr std::size_t scratch_bytes = 256 * kib;

// Above the connection limit a few more are taken in, only to be told 503; beyond those a
// connection is closed as it comes.
constexpr std::size_t told_busy = 64;

// Exchanges kept for reuse; a burst's surplus is freed.
constexpr std::size_t idle_exchange_limit = 256;

}  // namespace

Worker::Worker(std::size_t index, Shared& shared, std::unique_ptr<loop::Loop> loop)
    : index_(index),
      shared_(shared),
      pipes_(shared.settings.pipes),
      scratch_(scratch_bytes),
      masters_(egress::make_master_pipes()),
      resources_{.pipes = pipes_,
                 .scratch = scratch_,
                 .masters = masters_.get(),
                 .lanes = &lanes_,
                 .usable = shared.facts.usable,
                 .zero_copy = {.limits = shared.settings.zero_copy}},
      loop_(std::move(loop)) {}

Worker::~Worker() {
  stop();
  join();
}

tl::expected<void, StartError> Worker::open(const Addresses& addresses) {
  Result<std::unique_ptr<content::Site>> site = content::Site::open(settings().site);
  if (!site) {
    return tl::unexpected(StartError{"cannot serve " + settings().site.root + ": " +
                                     std::strerror(site.error().errno_value)});
  }
  site_ = std::move(*site);
  disk_ = std::make_unique<DiskDesk>(DiskDesk::Parts{.helpers = *shared_.disk_helpers,
                                                     .loop = *loop_,
                                                     .site = *site_,
                                                     .metrics = metrics_.disk,
                                                     .small_body = settings().site.small_body});
  resources_.residency.on = settings().disk_threads > 0;
  for (sys::Address& address : addresses.http) {
    if (auto opened = open_listener(address, *this); !opened) return opened;
  }
  if (tls_ != nullptr) plain_bytes_.resize(tls::most_plain_bytes);
  for (sys::Address& address : addresses.https) {
    if (auto opened = open_listener(address, tls_door_); !opened) return opened;
  }
  open_spare();
  return {};
}

tl::expected<void, StartError> Worker::open_listener(sys::Address& address,
                                                     loop::Acceptor& acceptor) {
  const auto fail = [&](const Error& error) {
    // EACCES: the port is below net.ipv4.ip_unprivileged_port_start, and we have no capability.
    const char* const hint = error.errno_value == EACCES
                                 ? " (a port as low as this needs root or CAP_NET_BIND_SERVICE)"
                                 : "";
    return tl::unexpected(StartError{"cannot listen on " + address.to_string() + ": " +
                                     std::strerror(error.errno_value) + hint});
  };
  if (index_ == 0 && address.port() != 0) {
    // SO_REUSEPORT would let a second pagewire of the same user share the port without a word; a
    // bind without it fails while anybody listens there.
    const Result<sys::Fd> alone = sys::listen_on(address, {.reuse_port = false});
    if (!alone) return fail(alone.error());
  }
  Result<sys::Fd> listener = sys::listen_on(address, {});
  if (!listener) return fail(listener.error());
  // Inherited by the accepted sockets, so that it costs no call a connection.
  if (Result<void> set = sys::set_no_delay(listener->get()); !set) return fail(set.error());
  if (address.is_loopback()) sys::leave_unpaced(listener->get());
  const Result<sys::Address> bound = sys::local_address(listener->get());
  if (!bound) return fail(bound.error());
  address = *bound;
  if (Result<void> listening = loop_->listen(listener->get(), acceptor); !listening) {
    return fail(listening.error());
  }
  listeners_.push_back(std::move(*listener));
  return {};
}

void Worker::start() {
  running_ = true;
  thread_ = std::thread([this] { run(); });
}

void Worker::run() {
  sys::name_this_thread(("pw-worker-" + std::to_string(index_)).c_str());
  const std::vector<int>& pin = settings().pin;
  // A CPU that has gone since the settings were checked: the worker runs unpinned.
  if (!pin.empty()) static_cast<void>(sys::pin_this_thread(pin[index_ % pin.size()]));
  equip_paths();
  loop::LaneWatchers watchers(*loop_, lanes_);
  // ENOMEM, fs.epoll.max_user_watches: nothing would wake who waits; without lanes nobody does.
  if (!watchers.watch()) resources_.lanes = nullptr;
  loop_->run([this] { tick(); });
  end_connections();
  lanes_.settle();
  count_lanes();
  running_ = false;
}

/// On this thread, as the loop's ring and the lanes are: sends that the kernel has must see their
/// sockets reset before the lanes are settled, or their peers could keep them for minutes. After a
/// drain there is nobody left. After a plain stop what is queued on the listeners is taken in to be
/// closed, unanswered, because no round of the loop comes any more; and what is cut off then does
/// not count as such: that number is the drain timeout's.
void Worker::end_connections() {
  loop_->unlisten_all();
  listeners_.clear();
  loop_->for_each([](loop::Stream& stream) { static_cast<Connection&>(stream).cut_off(); });
  loop_->run([] {});  // it is stopped: this only finishes what was retired
}

/// On this thread, because a ring belongs to the thread that opens it. Where it fails (ENOMEM: the
/// user may not lock as much for all workers) the path's steps say Unsupported, and the next path
/// does the work.
void Worker::equip_paths() {
  for (const egress::Path* const path : egress::paths()) {
    if (path->equip == nullptr || !shared_.facts.may_choose(*path)) continue;
    const Result<void> equipped = egress::equip(*path, resources_);
    if (equipped) continue;
    resources_.usable.erase(*path);
    (void)std::fprintf(stderr, "pagewire: worker %zu does without path %s: %s\n", index_,
                       std::string(path->name).c_str(), describe(equipped.error()).c_str());
  }
}

void Worker::stop() {
  loop_->stop();
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::post_tls(std::shared_ptr<const tls::Context> context) {
  loop_->post([this, context = std::move(context)]() mutable { use_tls(std::move(context)); });
}

void Worker::begin_drain() {
  loop_->post([this] { drain_now(); });
}

void Worker::drain_now() {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ms_ = loop_->now_ms() + settings().drain_timeout_ms;
  loop_->unlisten_all();
  listeners_.clear();
  loop_->for_each([](loop::Stream& stream) { static_cast<Connection&>(stream).drain(); });
}

/// About every 100 ms.
void Worker::tick() {
  const content::SiteCounters site = site_->counters();
  metrics_.cache_hits.set(site.cache_hits);
  metrics_.cache_misses.set(site.cache_misses);
  metrics_.cache_revalidated.set(site.cache_revalidated);
  metrics_.cache_entries.set(site.cache_entries);
  metrics_.small_body_bytes.set(site.small_body_bytes);
  metrics_.readahead_files.set(site.readahead_files);
  metrics_.readahead_bytes.set(site.readahead_bytes);
  tell_zero_copy();
  metrics_.tls.record_bytes.set(send_buffers_.sent_bytes());
  metrics_.disk.looks.set(resources_.residency.looks);
  metrics_.disk.unseen.set(resources_.residency.unseen);
  disk_->tick();
  if (tls_ != nullptr) give_memory_back();
  if (index_ == 0) metrics_.disk.queued.set(shared_.disk_helpers->queued());
  const loop::Counters loop = loop_->counters();
  metrics_.uring_enters.set(loop.enters);
  metrics_.uring_overflows.set(loop.overflows);
  metrics_.uring_no_buffers.set(loop.no_buffers);
  // The log counts for all workers; one of them passes it on.
  if (index_ == 0 && access_log() != nullptr) metrics_.log_dropped.set(access_log()->dropped());
  count_lanes();
  if (!draining_) return;
  if (loop_->stream_count() > 0 && loop_->now_ms() >= drain_deadline_ms_) {
    loop_->for_each([this](loop::Stream& stream) {
      if (static_cast<Connection&>(stream).cut_off()) ++shared_.cut_off;
    });
  }
  if (loop_->stream_count() == 0) loop_->stop();
}

void Worker::count_lanes() {
  const egress::LaneCounters lanes = lanes_.counters();
  metrics_.uring_notifications.set(lanes.notifications);
  metrics_.uring_copied_notifications.set(lanes.copied_notifications);
  metrics_.uring_splices.set(lanes.splices);
  metrics_.uring_without_buffer.set(lanes.without_buffer);
  metrics_.uring_buffers_in_flight.set(lanes.buffers_in_flight);
  metrics_.uring_operations_in_flight.set(lanes.operations_in_flight);
}

/// A connection in its handshake holds about 50 KiB of OpenSSL's, in pieces of all sizes. After
/// thousands at once malloc(3) keeps those pages, and more with each such wave.
void Worker::give_memory_back() {
  constexpr std::size_t wave = 500;
  constexpr std::int64_t pause_ms = 1'000;
  const std::size_t now = loop_->stream_count();
  most_streams_ = std::max(most_streams_, now);
  if (most_streams_ - now < wave || loop_->now_ms() < next_trim_ms_) return;
  most_streams_ = now;
  next_trim_ms_ = loop_->now_ms() + pause_ms;
  ::malloc_trim(0);
}

void Worker::tell_zero_copy() {
  const egress::ZeroCopyUse& use = resources_.zero_copy;
  metrics_.zerocopy_in_flight.set(use.in_flight.value);
  metrics_.zerocopy_sends.set(use.sends);
  metrics_.zerocopy_completed.set(use.completed);
  metrics_.zerocopy_copied.set(use.copied);
  metrics_.zerocopy_abandoned.set(use.abandoned);
  metrics_.zerocopy_no_buffer.set(use.no_buffer);
  metrics_.zerocopy_over_limit.set(use.over_limit);
  metrics_.zerocopy_given_up.set(use.given_up);
}

const content::Now& Worker::now() {
  if (now_.round_ns != loop_->now_ns()) {
    now_ = {.monotonic_ms = loop_->now_ms(),
            .round_ns = loop_->now_ns(),
            .realtime_s = sys::realtime_coarse_s()};
  }
  return now_;
}

Exchange* Worker::take_exchange() {
  if (idle_exchanges_.empty()) return new Exchange;
  Exchange* const exchange = idle_exchanges_.back().release();
  idle_exchanges_.pop_back();
  return exchange;
}

void Worker::give_back(Exchange* exchange) {
  std::unique_ptr<Exchange> owned(exchange);
  // A long listing must not stay in memory with every Exchange that once held one.
  constexpr std::size_t text_kept_bytes = 16 * kib;
  std::string& text = owned->response.text;
  if (text.capacity() > text_kept_bytes) std::string().swap(text);
  owned->names.found.clear();
  if (idle_exchanges_.size() < idle_exchange_limit) idle_exchanges_.push_back(std::move(owned));
}

void Worker::accepted(sys::Accepted accepted) {
  metrics_.connections_accepted.add(1);
  admit(std::move(accepted), nullptr);
}

void Worker::TlsDoor::accepted(sys::Accepted connection) {
  worker.metrics_.connections_accepted.add(1);
  const auto count = [this](tls::Outcome outcome) {
    worker.metrics_.tls.handshakes[static_cast<std::size_t>(outcome)].add(1);
  };
  if (!worker.may_shake_hands()) return count(tls::Outcome::OverLimit);  // closes it
  auto session = tls::Session::make(*worker.tls_->handle(), worker.tls_, worker.send_buffers_,
                                    worker.shared_.tls);
  if (session == nullptr) return count(tls::Outcome::Internal);
  worker.admit(std::move(connection), std::move(session));
}

/// A handshake costs as much as hundreds of small responses; those of one second have a limit.
bool Worker::may_shake_hands() {
  const std::uint64_t limit = settings().tls->handshakes_per_second;
  if (limit == 0) return true;
  const std::int64_t second = loop_->now_ms() / 1'000;
  if (second != handshake_second_) {
    handshake_second_ = second;
    handshakes_ = 0;
  }
  return ++handshakes_ <= limit;
}

tls::Card Worker::card() {
  constexpr std::int64_t pause_ms = 1'000;
  const bool asks = shared_.tls.no_kernel == tls::KernelReason::None && card_ == tls::Card::None;
  if (!asks || loop_->now_ms() < next_card_look_ms_) return card_;
  next_card_look_ms_ = loop_->now_ms() + pause_ms;
  if (sys::device_tls_connections() > 0) card_ = tls::Card::Encrypts;
  return card_;
}

void Worker::tell_tls(const tls::Session& session) {
  const auto kernel = static_cast<std::size_t>(session.kernel());
  const auto reason = static_cast<std::size_t>(session.kernel_reason());
  metrics_.tls.kernel[kernel][reason].add(1);
  const std::uint32_t bit = 1U << (kernel * tls::kernel_reasons + reason);
  if ((shared_.tls_told.load(std::memory_order_relaxed) & bit) != 0) return;
  if ((shared_.tls_told.fetch_or(bit) & bit) != 0) return;  // another worker was first
  const bool by_kernel = session.kernel() != tls::Kernel::None;
  (void)std::fprintf(stderr, "pagewire: TLS records are made %s%s%s (ktls=%s, %s %s)\n",
                     by_kernel ? "by the kernel" : "in user space, kernel TLS is not used: ",
                     std::string(tls::describe(session.kernel_reason())).c_str(),
                     session.kernel() == tls::Kernel::Nic ? " or a network card" : "",
                     std::string(tls::token(session.kernel())).c_str(),
                     std::string(session.version()).c_str(), std::string(session.cipher()).c_str());
}

void Worker::admit(sys::Accepted accepted, std::unique_ptr<tls::Session> session) {
  const std::size_t before = shared_.connections.load(std::memory_order_relaxed);
  const std::size_t limit = settings().limits.connections;
  if (before >= limit) metrics_.connections_refused.add(1);
  if (before >= limit + told_busy) return;  // closes it
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
  metrics_.connections_open.add(1);
  auto owned = std::make_unique<Connection>(*this, std::move(accepted), std::move(session));
  Connection& connection = *owned;
  if (Result<void> attached = loop_->attach(std::move(owned)); !attached) {
    metrics_.accept_errors.add(1);  // ENOMEM, or fs.epoll.max_user_watches; it is closed already
    return;
  }
  if (before >= limit) return connection.refuse_busy();
  connection.start();
  if (draining_) connection.drain();
}

void Worker::connection_closed() {
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  metrics_.connections_open.subtract(1);
}

/// Out of descriptors (EMFILE: this process, ENFILE: the machine): the spare one is given up to
/// take the first of the queue in and close it, so that the client sees a refusal at once and the
/// listener, which stays readable otherwise, does not spin. accept4 looks for a descriptor before
/// it looks into the queue, so the same errno also comes when nobody waits.
loop::AfterFailure Worker::accept_failed(Error error) {
  metrics_.accept_errors.add(1);
  const bool out_of_descriptors = error.errno_value == EMFILE || error.errno_value == ENFILE;
  if (!out_of_descriptors || !spare_.is_open()) {
    open_spare();
    return loop::AfterFailure::Pause;  // ENOBUFS, ENOMEM: nothing to do but wait
  }
  bool taken_any = false;
  bool somebody_waits = false;
  for (const sys::Fd& listener : listeners_) {
    spare_.close();
    Result<sys::Accepted> taken = sys::accept_from(listener.get());
    open_spare();
    if (!taken) {  // EAGAIN: nobody waits here; EMFILE, ENFILE: the descriptor went elsewhere
      somebody_waits = somebody_waits || taken.error().errno_value != EAGAIN;
      continue;
    }
    taken_any = true;
    if (spare_.is_open()) {  // a descriptor has come back meanwhile
      accepted(std::move(*taken));
      continue;
    }
    metrics_.connections_refused.add(1);
    taken->fd.close();
    open_spare();
  }
  if (!spare_.is_open() || somebody_waits) return loop::AfterFailure::Pause;
  return taken_any ? loop::AfterFailure::GoOn : loop::AfterFailure::WaitForOne;
}

void Worker::open_spare() {
  if (!spare_.is_open()) spare_ = sys::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace pagewire::server
