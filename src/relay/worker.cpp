#include "relay/worker.h"

#include <cstring>

#include "sys/socket.h"
#include "sys/tcp_tuning.h"

namespace pagewire::relay {

namespace {

constexpr std::size_t buffer_bytes = 64 * kib;

/// Whether sockets are BBR's from the start: asked once, not at each connection.
bool is_paced_by_default() {
  const Result<sys::SocketPair> pair = sys::tcp_pair_over_loopback();
  if (!pair) return false;
  const Result<std::string> name = sys::congestion_of(pair->receiver.get());
  return name && *name == sys::paced_congestion;
}

}  // namespace

Worker::Worker(std::size_t index, Shared& shared, std::unique_ptr<loop::Loop> loop)
    : index_(index),
      shared_(shared),
      pipes_(shared.settings.pipe_pool),
      buffer_(buffer_bytes),
      room_{.pipes = pipes_, .buffer = buffer_, .counts = counters_.pump},
      tls_room_{.loop = *loop, .metrics = counters_.tls, .receive = counters_.tls_receive},
      paced_by_default_(is_paced_by_default()),
      loop_(std::move(loop)) {
  for (const RouteParts& route : shared_.routes) {
    doors_.push_back(std::make_unique<Door>(*this, route));
  }
}

Worker::~Worker() {
  stop();
  join();
}

/// What accepted sockets inherit from their listener, so that it costs no call a connection.
static Result<void> set_lasting_options(int fd, const Settings& settings) {
  if (settings.user_timeout_ms > 0) {
    const auto timeout_ms = static_cast<unsigned>(settings.user_timeout_ms);
    if (Result<void> set = sys::set_user_timeout(fd, timeout_ms); !set) return set;
  }
  if (settings.keep_alive.idle_s > 0) return sys::set_keep_alive(fd, settings.keep_alive);
  return {};
}

tl::expected<void, service::StartError> Worker::open() {
  for (std::size_t i = 0; i < doors_.size(); ++i) {
    Door& door = *doors_[i];
    if (door.tls != nullptr) tls_room_.plain.resize(TlsFront::plain_bytes(buffer_bytes));
    for (sys::Address& address : shared_.routes[i].addresses) {
      auto listener = service::open_listener(address, index_ == 0);
      if (!listener) return tl::unexpected(listener.error());
      sys::abort_on_close(listener->get());
      Result<void> done = set_lasting_options(listener->get(), settings());
      // A record is whole with its urgent byte alone.
      if (done && door.tls != nullptr) done = sys::keep_urgent_inline(listener->get());
      if (done) done = loop_->listen(listener->get(), door);
      if (!done) {
        return tl::unexpected(service::StartError{"cannot listen on " + address.to_string() + ": " +
                                                  describe(done.error())});
      }
      door.listeners.push_back(std::move(*listener));
    }
  }
  spare_.open();
  return {};
}

void Worker::start() {
  thread_.start({.index = index_, .pin = settings().pin}, [this] { run(); });
}

void Worker::run() {
  loop_->run([this] { tick(); });
  loop_->unlisten_all();
  for (const std::unique_ptr<Door>& door : doors_) door->listeners.clear();
  tunnels_.for_each([](Tunnel& tunnel) { static_cast<void>(tunnel.cut_off()); });
  loop_->run([] {});  // it is stopped: this only finishes what was retired
}

void Worker::begin_drain() {
  loop_->post([this] { drain_now(); });
}

void Worker::drain_now() {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ms_ = loop_->now_ms() + settings().drain_timeout_ms;
  loop_->unlisten_all();
  for (const std::unique_ptr<Door>& door : doors_) door->listeners.clear();
}

void Worker::post_deliver(std::size_t route) {
  loop_->post([this, route] { shared_.routes[route].upstreams->deliver(index_); });
}

void Worker::use_tls(std::size_t route, std::shared_ptr<const tls::Context> context) {
  doors_[route]->tls = std::move(context);
}

void Worker::post_tls(std::size_t route, std::shared_ptr<const tls::Context> context) {
  loop_->post([this, route, context = std::move(context)]() mutable {
    use_tls(route, std::move(context));
  });
}

/// About every 100 ms.
void Worker::tick() {
  counters_.pipes_in_use.set(room_.pipes_in_use);
  counters_.pipes_idle.set(pipes_.idle());
  counters_.tls.record_bytes.set(tls_room_.send_buffers.sent_bytes());
  const loop::Counters loop = loop_->counters();
  counters_.thread.rounds.set(loop.rounds);
  counters_.thread.events.set(loop.events);
  counters_.thread.ask_cpu();
  if (!tls_room_.plain.empty()) {
    memory_.tick(2 * counters_.accepted.value() - counters_.open.value(), loop_->now_ms());
  }
  for (const RouteParts& route : shared_.routes) route.upstreams->refresh(index_);
  // The log counts for all workers; one of them passes it on.
  if (index_ == 0 && access_log() != nullptr) counters_.log_dropped.set(access_log()->dropped());
  if (!draining_) return;
  if (loop_->now_ms() >= drain_deadline_ms_) {
    tunnels_.for_each([this](Tunnel& tunnel) {
      if (tunnel.cut_off()) ++shared_.cut_off;
    });
  }
  if (loop_->stream_count() == 0) loop_->stop();
}

/// False: more handshakes than this second may have, or out of memory.
bool Worker::make_front(Door& door, std::unique_ptr<TlsFront>& front) {
  if (door.tls == nullptr) return true;
  const std::uint64_t limit = door.route.tls->settings.handshakes_per_second;
  if (!door.handshake_rate.may_begin(limit, loop_->now_ms())) {
    counters_.tls.handshakes[static_cast<std::size_t>(tls::Outcome::OverLimit)].add(1);
    return false;
  }
  const tls::SessionFacts& facts = door.route.tls->facts;
  auto session = tls::Session::make(*door.tls->handle(), door.tls, tls_room_.send_buffers, facts);
  if (session == nullptr) return false;
  front = std::make_unique<TlsFront>(std::move(session), facts, tls_room_);
  return true;
}

void Worker::admit(Door& door, sys::Accepted client) {
  counters_.accepted.add(1);
  std::unique_ptr<TlsFront> front;
  // Counted first, so that workers that look at the same time do not go beyond the limit.
  const std::size_t before = shared_.connections.fetch_add(1, std::memory_order_relaxed);
  if (before >= settings().connections || !make_front(door, front)) {
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    counters_.refused.add(1);
    return;
  }
  counters_.open.add(1);
  auto owned = std::make_unique<Tunnel>(*this, door.route, std::move(client), std::move(front));
  Tunnel& tunnel = *owned;
  loop_->pause_reading(tunnel);
  if (Result<void> attached = loop_->attach(std::move(owned)); !attached) {
    counters_.accept_errors.add(1);  // ENOMEM, or fs.epoll.max_user_watches; it is closed already
    return;
  }
  tunnel.start();
}

void Worker::tunnel_gone() {
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  counters_.open.subtract(1);
}

// The kernel lets any TCP socket have these.

void Worker::send_at_once(int upstream_fd, const sys::Address& address) const {
  static_cast<void>(sys::set_no_delay(upstream_fd));
  if (paced_by_default_ && address.is_loopback()) {
    static_cast<void>(sys::set_congestion(upstream_fd, sys::unpaced_congestion));
  }
}

void Worker::keep_watch(int upstream_fd) const {
  static_cast<void>(set_lasting_options(upstream_fd, settings()));
}

loop::AfterFailure Worker::Door::accept_failed(Error error) {
  worker.counters_.accept_errors.add(1);
  return worker.spare_.after(
      error, listeners,
      {.accepted = [this](sys::Accepted client) { accepted(std::move(client)); },
       .refused = [this] { worker.counters_.refused.add(1); }});
}

}  // namespace pagewire::relay
