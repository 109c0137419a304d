#include "server/worker.h"

#include <cstdio>

#include "server/connection.h"
#include "sys/clock.h"
#include "sys/process.h"

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

tl::expected<void, service::StartError> Worker::open(const Addresses& addresses) {
  Result<std::unique_ptr<content::Site>> site = content::Site::open(settings().site);
  if (!site) {
    return tl::unexpected(service::StartError{"cannot serve " + settings().site.root + ": " +
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
  spare_.open();
  return {};
}

tl::expected<void, service::StartError> Worker::open_listener(sys::Address& address,
                                                              loop::Acceptor& acceptor) {
  tl::expected<sys::Fd, service::StartError> listener =
      service::open_listener(address, index_ == 0);
  if (!listener) return tl::unexpected(listener.error());
  if (Result<void> listening = loop_->listen(listener->get(), acceptor); !listening) {
    return tl::unexpected(service::StartError{"cannot listen on " + address.to_string() + ": " +
                                              std::strerror(listening.error().errno_value)});
  }
  listeners_.push_back(std::move(*listener));
  return {};
}

void Worker::start() {
  thread_.start({.index = index_, .pin = settings().pin}, [this] { run(); });
}

void Worker::run() {
  equip_paths();
  loop::LaneWatchers watchers(*loop_, lanes_);
  // ENOMEM, fs.epoll.max_user_watches: nothing would wake who waits; without lanes nobody does.
  if (!watchers.watch()) resources_.lanes = nullptr;
  loop_->run([this] { tick(); });
  end_connections();
  lanes_.settle();
  count_lanes();
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
  thread_.join();
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
  metrics_.disk.asked_bytes.set(resources_.residency.asked.value);
  metrics_.disk.found_bytes.set(resources_.residency.found.value);
  disk_->tick();
  if (tls_ != nullptr) {
    const std::uint64_t accepted = metrics_.connections_accepted.value();
    memory_.tick(2 * accepted - loop_->stream_count(), loop_->now_ms());
  }
  if (index_ == 0) metrics_.disk.queued.set(shared_.disk_helpers->queued());
  tell_machinery();
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

void Worker::tell_machinery() {
  const loop::Counters loop = loop_->counters();
  metrics_.uring_enters.set(loop.enters);
  metrics_.uring_overflows.set(loop.overflows);
  metrics_.uring_no_buffers.set(loop.no_buffers);
  metrics_.thread.rounds.set(loop.rounds);
  metrics_.thread.events.set(loop.events);
  metrics_.thread.ask_cpu();
  metrics_.pipes_idle.set(pipes_.idle());
  metrics_.pipes_made.set(pipes_.made());
  metrics_.pipes_reused.set(pipes_.reused());
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
  const std::uint64_t limit = worker.settings().tls->handshakes_per_second;
  if (!worker.handshake_rate_.may_begin(limit, worker.loop_->now_ms())) {
    return count(tls::Outcome::OverLimit);  // closes it
  }
  auto session = tls::Session::make(*worker.tls_->handle(), worker.tls_, worker.send_buffers_,
                                    worker.shared_.tls);
  if (session == nullptr) return count(tls::Outcome::Internal);
  worker.admit(std::move(connection), std::move(session));
}

tls::Card Worker::card() {
  return card_watch_.look(shared_.tls, loop_->now_ms());
}

void Worker::tell_tls(const tls::Session& session) {
  const auto kernel = static_cast<std::size_t>(session.kernel());
  const auto reason = static_cast<std::size_t>(session.kernel_reason());
  metrics_.tls.kernel[kernel][reason].add(1);
  static_assert(tls::kernel_states * tls::kernel_reasons <= 64);
  const std::uint64_t bit = std::uint64_t{1} << (kernel * tls::kernel_reasons + reason);
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

loop::AfterFailure Worker::accept_failed(Error error) {
  metrics_.accept_errors.add(1);
  return spare_.after(error, listeners_,
                      {.accepted = [this](sys::Accepted taken) { accepted(std::move(taken)); },
                       .refused = [this] { metrics_.connections_refused.add(1); }});
}

}  // namespace pagewire::server
