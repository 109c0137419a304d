#include "relay/tunnel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include "base/check.h"
#include "relay/worker.h"
#include "sys/clock.h"

namespace pagewire::relay {

namespace {

constexpr std::int64_t settle_ms = 1'000;

constexpr bool allowed(TunnelState from, TunnelState to) {
  switch (from) {
    case TunnelState::Header:
      return to == TunnelState::Handshake || to == TunnelState::Seek || to == TunnelState::Closed;
    case TunnelState::Handshake:
    case TunnelState::Pause:
      return to == TunnelState::Seek || to == TunnelState::Closed;
    case TunnelState::Seek:
      return to == TunnelState::Queue || to == TunnelState::Pause || to == TunnelState::Connect ||
             to == TunnelState::Closed;
    case TunnelState::Queue:
      return to == TunnelState::Connect || to == TunnelState::Closed;
    case TunnelState::Connect:
      return to == TunnelState::Seek || to == TunnelState::Open || to == TunnelState::Closed;
    case TunnelState::Open:
      return to == TunnelState::Closed;
    case TunnelState::Closed:
      return false;
  }
  return false;
}

TunnelState first_state(const Route& route) {
  if (route.accept_proxy) return TunnelState::Header;
  return route.has_tls() ? TunnelState::Handshake : TunnelState::Seek;
}

}  // namespace

Tunnel::Tunnel(Worker& worker, const RouteParts& route, sys::Accepted client,
               std::unique_ptr<TlsFront> front)
    : RawStream(std::move(client.fd)),
      Attempt(worker.index(), hash_key(client.peer)),
      worker_(worker),
      route_(route),
      client_(client.peer),
      front_(std::move(front)),
      state_(first_state(route.route)),
      came_ns_(worker.loop().now_ns()) {
  worker_.tunnels().push_back(*this);
}

/// Here and not in close(): attach() may have failed, and a loop that goes deletes its streams.
Tunnel::~Tunnel() {
  for (Pump& pump : pumps_) pump.release(worker_.room());
  worker_.tunnel_gone();
}

void Tunnel::start() {
  if (state_ == TunnelState::Seek) return seek();
  const Route& route = route_.route;
  const std::int64_t timeout_ms =
      state_ == TunnelState::Header ? route.header_timeout_ms : route.tls.handshake_timeout_ms;
  worker_.loop().set_deadline(*this, worker_.loop().now_ms() + timeout_ms);
  worker_.loop().resume_reading(*this);
}

void Tunnel::set_state(TunnelState next) {
  PW_CHECK(allowed(state_, next));
  state_ = next;
}

// ---------------------------------------------------------------- finding an upstream

void Tunnel::seek() {
  Upstreams::Acquired acquired = route_.upstreams->acquire(*this);
  switch (acquired.answer) {
    case Upstreams::Answer::Taken:
      return connect(std::move(acquired.slot));
    case Upstreams::Answer::Waits:
      set_state(TunnelState::Queue);
      queued_ns_ -= worker_.loop().now_ns();
      worker_.loop().set_deadline(*this, worker_.loop().now_ms() + route_.route.queue_timeout_ms);
      return;
    case Upstreams::Answer::QueueFull:
      return close(End::QueueFull);
    case Upstreams::Answer::NoneUp:
      return close(tries_ == 0 ? End::NoUpstream : End::ConnectFailed);
    case Upstreams::Answer::AllTried:
      return pause();
  }
}

/// What is there once may be restarting: trying all again at once would find it as it was.
void Tunnel::pause() {
  constexpr std::int64_t pause_ms = 1'000;
  forget_tried();
  set_state(TunnelState::Pause);
  worker_.loop().set_deadline(*this, worker_.loop().now_ms() + pause_ms);
}

void Tunnel::granted(Slot slot) {
  queued_ns_ += worker_.loop().now_ns();
  connect(std::move(slot));
}

void Tunnel::connect(Slot slot) {
  set_state(TunnelState::Connect);
  slot_ = std::move(slot);
  if (tries_++ > 0) worker_.counters().retries.add(1);
  Endpoint& endpoint = slot_.endpoint();
  mark_tried(endpoint);
  endpoint.connects.fetch_add(1, std::memory_order_relaxed);
  const sys::Address source = client_.without_port();
  Result<sys::Fd> fd =
      sys::connect_to(endpoint.address, {.source = route_.route.transparent ? &source : nullptr});
  if (!fd) return connect_failed(fd.error().errno_value);
  sys::abort_on_close(fd->get());
  auto far = std::make_unique<Far>(*this, std::move(*fd));
  far_ = far.get();
  if (Result<void> attached = worker_.loop().attach(std::move(far)); !attached) {
    far_ = nullptr;  // ENOMEM, ENOSPC: no other upstream would do better
    return close(End::Internal);
  }
  worker_.loop().await_writable(*far_);
  worker_.loop().set_deadline(*this, worker_.loop().now_ms() + route_.route.connect_timeout_ms);
}

void Tunnel::connect_failed(int errno_value) {
  // This machine's limits: another upstream would meet them, too.
  if (errno_value == EMFILE || errno_value == ENFILE || errno_value == ENOMEM) {
    return close(End::Internal);
  }
  const auto failure = static_cast<std::size_t>(connect_failure(errno_value));
  slot_.endpoint().failures[failure].fetch_add(1, std::memory_order_relaxed);
  slot_.release();
  if (far_ != nullptr) worker_.loop().retire(*far_);
  far_ = nullptr;
  if (tries_ > route_.route.retries) return close(End::ConnectFailed);
  set_state(TunnelState::Seek);
  seek();
}

// ---------------------------------------------------------------- bytes

void Tunnel::open() {
  // Nobody listens there: the kernel has chosen the port that it was to connect to.
  const Endpoint& endpoint = slot_.endpoint();
  if (endpoint.may_meet_itself && sys::is_connected_to_itself(far_->fd(), endpoint.address)) {
    return connect_failed(ECONNREFUSED);
  }
  if (const Result<void> sent = send_header(); !sent) {
    return connect_failed(sent.error().errno_value);  // EPIPE, ECONNRESET: closed already
  }
  set_state(TunnelState::Open);
  connected_ns_ = worker_.loop().now_ns();
  worker_.counters().connected.add(1);
  if (route_.mirror != nullptr) begin_mirror();
  worker_.loop().set_deadline(*this, worker_.loop().now_ms() + std::min(settle_ms, timeout_ms()));
  worker_.loop().resume_reading(*this);
  if (front_ != nullptr) flush_front();
}

void Tunnel::readable() {
  if (state_ == TunnelState::Header) return read_header();
  if (state_ == TunnelState::Handshake) return shake_hands();
  if (front_ != nullptr && pumps_[up].done()) return drop_input();
  drive(up);
  if (front_ != nullptr) flush_front();
}

void Tunnel::writable() {
  if (state_ == TunnelState::Handshake) return static_cast<void>(flush_handshake());
  waits_for_sink_[down] = false;
  drive(down);
}

void Tunnel::far_writable() {
  if (state_ == TunnelState::Connect) return open();
  waits_for_sink_[up] = false;
  drive(up);
  if (front_ != nullptr) flush_front();
}

void Tunnel::drive(std::size_t direction) {
  if (state_ != TunnelState::Open || waits_for_sink_[direction]) return;
  after_step(direction, step(direction, false));
}

PumpResult Tunnel::step(std::size_t direction, bool source_reset) {
  const int client = fd();
  const int far = far_->fd();
  PumpEnds ends = direction == up ? PumpEnds{.source = client, .sink = far}
                                  : PumpEnds{.source = far, .sink = client};
  ends.closed_next = pumps_[1 - direction].done();
  ends.source_reset = source_reset;
  (direction == up ? ends.opens : ends.seals) = front_.get();
  std::optional<MirrorTap::Way> mirror;
  if (tap_ != nullptr) {
    mirror.emplace(MirrorTap::Way{.lane = route_.mirror->lane(worker_.index()),
                                  .tap = *tap_,
                                  .direction = static_cast<Direction>(direction)});
    ends.mirror = &*mirror;
  }
  Pump& pump = pumps_[direction];
  const ByteCount spliced_before = pump.spliced();
  const PumpResult result = pump.step(route_.rules, ends, worker_.room());
  if (direction == up && pump.sends() > 1) send_at_once();
  if (pump.spliced().value - spliced_before.value >= route_.rules.quantum.value) {
    worker_.loop().coalesce();
  }
  if (result.moved.value > 0) {
    Counters& counters = worker_.counters();
    (direction == up ? counters.bytes_up : counters.bytes_down).add(result.moved.value);
    touch();
  }
  return result;
}

/// Behind the second send up: the first one waits for no acknowledgement, and one request is all
/// that many connections bring. TCP_NODELAY also sends what the second one has left in the queue.
void Tunnel::send_at_once() {
  if (sends_at_once_) return;
  sends_at_once_ = true;
  worker_.send_at_once(far_->fd(), slot_.endpoint().address);
}

/// The source has been reset. What it said before that goes to the sink, as far as it takes it now;
/// the queue of a socket that was reset does not grow. Others wait meanwhile, so it has a bound, a
/// receive queue of 16 MiB.
void Tunnel::pass_on_rest(std::size_t direction) {
  if (state_ != TunnelState::Open || pumps_[direction].done()) return;
  for (int turns = 256; turns > 0 && step(direction, true).status == PumpStatus::Yield; --turns) {
  }
}

void Tunnel::after_step(std::size_t direction, const PumpResult& result) {
  loop::Loop& loop = worker_.loop();
  RawStream& source = direction == up ? static_cast<RawStream&>(*this) : *far_;
  RawStream& sink = direction == up ? static_cast<RawStream&>(*far_) : *this;
  switch (result.status) {
    case PumpStatus::WantRead:
      loop.emptied(source, loop::Emptied::ForNow);
      return loop.resume_reading(source);
    case PumpStatus::WantWrite:
      waits_for_sink_[direction] = true;
      loop.pause_reading(source);
      return loop.await_writable(sink);
    case PumpStatus::Yield:  // the sink's writable() comes in the next round
      waits_for_sink_[direction] = true;
      loop.pause_reading(source);
      return loop.yield(sink);
    case PumpStatus::Done:
      // Behind close_notify more may come, if only the FIN: drop_input() reads it.
      if (direction == down || front_ == nullptr) loop.emptied(source, loop::Emptied::ForGood);
      loop.resume_reading(source);
      end_mirror(direction, StreamEnd::Fin);
      if (pumps_[1 - direction].done()) return close(End::Done);
      return touch();
    case PumpStatus::SourceFailed:
      return close(direction == up ? End::ClientReset : End::UpstreamReset);
    case PumpStatus::SinkFailed:
      pass_on_rest(1 - direction);
      return close(direction == up ? End::UpstreamReset : End::ClientReset);
    case PumpStatus::WantKernel: {
      constexpr std::int64_t look_again_ms = 50;
      loop.pause_reading(source);
      return loop.set_deadline(*far_, loop.now_ms() + look_again_ms);
    }
    case PumpStatus::Truncated:
      front_->count_truncation();
      return close(End::TlsTruncated);
    case PumpStatus::TlsFailed:
      return tls_failed();
  }
}

std::int64_t Tunnel::timeout_ms() const {
  const bool half_closed = pumps_[up].done() || pumps_[down].done();
  return half_closed ? route_.route.half_closed_timeout_ms : route_.route.idle_timeout_ms;
}

/// A tunnel that has not settled yet is looked at soon in any case.
void Tunnel::touch() {
  if (settled_) worker_.loop().set_deadline(*this, worker_.loop().now_ms() + timeout_ms());
}

/// It has lived for a while: now the upstream's socket gets what only a long life needs, and what
/// would cost a short one five system calls.
void Tunnel::settle() {
  settled_ = true;
  worker_.keep_watch(far_->fd());
  touch();
}

// ---------------------------------------------------------------- ends

void Tunnel::timed_out() {
  switch (state_) {
    case TunnelState::Header:
      return close(End::ProxyTimeout);
    case TunnelState::Handshake:
      front_->give_up(tls::Outcome::Timeout);
      return close(End::HandshakeTimeout);
    case TunnelState::Pause:
      set_state(TunnelState::Seek);
      return seek();
    case TunnelState::Queue:
      queued_ns_ += worker_.loop().now_ns();
      return close(End::QueueTimeout);
    case TunnelState::Connect:
      return connect_failed(ETIMEDOUT);
    case TunnelState::Open: {
      if (!settled_) return settle();
      const bool half_closed = pumps_[up].done() || pumps_[down].done();
      return close(half_closed ? End::HalfClosedTimeout : End::IdleTimeout);
    }
    case TunnelState::Seek:
    case TunnelState::Closed:
      return;
  }
}

/// The client's socket.
void Tunnel::failed(Error) {
  if (state_ == TunnelState::Handshake) front_->give_up(tls::Outcome::PeerGone);
  pass_on_rest(up);
  close(End::ClientReset);
}

void Tunnel::far_failed(Error error) {
  if (state_ == TunnelState::Connect) return connect_failed(error.errno_value);
  pass_on_rest(down);
  close(End::UpstreamReset);
}

bool Tunnel::cut_off() {
  if (state_ == TunnelState::Closed) return false;
  close(End::DrainTimeout);
  return true;
}

void Tunnel::close(End end) {
  if (state_ == TunnelState::Closed) return;
  if (state_ == TunnelState::Open) worker_.counters().connected.subtract(1);
  set_state(TunnelState::Closed);
  leave_queue();
  worker_.counters().ends[static_cast<std::size_t>(end)].add(1);
  write_log(end);
  for (const std::size_t direction : {up, down}) end_mirror(direction, StreamEnd::Reset);
  // Of a handshake that failed the client hears the alert, and no stream is cut short by a FIN.
  if (end == End::Done || end == End::Handshake) {
    sys::finish_on_close(fd());
    if (far_ != nullptr) sys::finish_on_close(far_->fd());
  }
  if (slot_.taken()) {
    slot_.endpoint().bytes_up.fetch_add(pumps_[up].total().value, std::memory_order_relaxed);
    slot_.endpoint().bytes_down.fetch_add(pumps_[down].total().value, std::memory_order_relaxed);
  }
  if (far_ != nullptr) worker_.loop().retire(*far_);
  far_ = nullptr;
  worker_.loop().retire(*this);
  slot_.release();
}

void Tunnel::begin_mirror() {
  tap_ = std::make_unique<MirrorTap>();
  const std::string text = fmt::format(R"({{"client":"{}","upstream":"{}"}})", client_.to_string(),
                                       slot_.endpoint().text);
  route_.mirror->lane(worker_.index()).open(*tap_, text);
}

void Tunnel::end_mirror(std::size_t direction, StreamEnd how) {
  if (tap_ == nullptr) return;
  route_.mirror->lane(worker_.index()).end(*tap_, static_cast<Direction>(direction), how);
}

void Tunnel::write_log(End end) {
  log::AccessLog* const access_log = worker_.access_log();
  if (access_log == nullptr) return;
  log::AccessRecord* const record = access_log->begin(worker_.index());
  if (record == nullptr) return;  // the queue is full; counted there
  const std::int64_t now_ns = sys::monotonic_ns();
  std::array<char, 64> host;
  record->realtime_ns = sys::realtime_ns() - (now_ns - came_ns_);
  record->duration_ns = now_ns - came_ns_;
  record->complete = end == End::Done;
  const bool spliced = pumps_[up].spliced().value + pumps_[down].spliced().value > 0;
  const Pump& main = pumps_[up].total() > pumps_[down].total() ? pumps_[up] : pumps_[down];
  record->path = spliced ? "splice" : "copy";
  record->reason = token(main.reason());
  record->peer.assign(client_.host(host));
  record->tls = {};
  if (front_ != nullptr && front_->established()) record->tls = front_->log_record();
  log::TunnelRecord& tunnel = record->tunnel;
  tunnel.is_one = true;
  tunnel.client_port = client_.port();
  tunnel.tries = tries_;
  tunnel.up_bytes = pumps_[up].total().value;
  tunnel.down_bytes = pumps_[down].total().value;
  if (proxied_ != nullptr) tunnel.proxied_by.assign(proxied_->by.host(host));
  tunnel.queued_ns = queued_ns_ < 0 ? queued_ns_ + now_ns : queued_ns_;
  tunnel.connect_ns = connected_ns_ == 0 ? 0 : connected_ns_ - came_ns_;
  tunnel.end = token(end);
  tunnel.relay.assign(route_.route.name);
  if (slot_.taken()) tunnel.upstream.assign(slot_.endpoint().text);
  access_log->commit(worker_.index());
}

}  // namespace pagewire::relay
