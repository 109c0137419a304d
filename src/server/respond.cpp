// What a connection sends: from a parsed request to the last byte given to the kernel, and the
// account.
#include <cstring>

#include "base/check.h"
#include "server/connection.h"
#include "sys/clock.h"
#include "sys/tcp_info.h"

namespace pagewire::server {

using metrics::ConnectionEnd;

namespace {

/// A head and a body that fits behind it in the head's buffer, as one piece: a send of one piece
/// costs the kernel less than one of two (it copies neither msghdr nor vector), and more than
/// copying so few bytes costs us.
std::span<const iovec> joined(std::span<iovec> pieces, std::span<char> head_buffer) {
  if (pieces.size() != 2 || pieces[0].iov_base != head_buffer.data()) return pieces;
  const std::span<char> behind = head_buffer.subspan(pieces[0].iov_len);
  if (pieces[1].iov_len > behind.size()) return pieces;
  std::memcpy(behind.data(), pieces[1].iov_base, pieces[1].iov_len);
  pieces[0].iov_len += pieces[1].iov_len;
  return pieces.first(1);
}

}  // namespace

/// False: only the disk can tell what the name leads to, and a helper asks it.
bool Connection::respond_to(const http::Request& request) {
  if (exchange_ != nullptr && exchange_->disk_timed_out) {
    refuse(request, 503, "the disk did not answer in time");
    return true;
  }
  const Limits& limits = worker_.settings().limits;
  const bool too_large =
      request.body == http::BodyKind::Length && request.content_length > limits.body;
  if (too_large) {
    refuse(request, 413, "the request body is larger than this server reads");
    return true;
  }
  // A chunked body, or one whose sender waits for 100 (Continue), is not worth reading for a GET:
  // the final answer goes out at once and the connection ends (RFC 9110 10.1.1). What the client
  // sends meanwhile is dropped in Linger and never parsed as a request.
  const bool unreadable = request.body == http::BodyKind::Chunked ||
                          (request.body == http::BodyKind::Length && request.expect_continue);
  unread_body_ = request.body == http::BodyKind::Length ? request.content_length : ByteCount{};
  close_after_ = unreadable || draining_ || !request.keep_alive ||
                 (limits.requests != 0 && requests_ + 1 >= limits.requests) || key_is_worn();
  take_exchange(request);
  content::Resolution* const names = worker_.disk().has_helpers() ? &exchange_->names : nullptr;
  content::Response& response = exchange_->response;
  if (!worker_.site().respond(request, worker_.now(), close_after_, response, names)) {
    wait_for_name();
    return false;
  }
  ++requests_;
  close_after_ = close_after_ || response.close;
  begin_ahead();
  start_transfer();
  return true;
}

/// An answer after which the connection ends, because what follows cannot be told or is not wanted.
void Connection::refuse(const http::Request& request, int status, const char* why) {
  close_after_ = true;
  take_exchange(request);
  worker_.site().respond_error(request, worker_.now(), status, why, true, exchange_->response);
  start_transfer();
}

void Connection::refuse_busy() {
  if (state_ == State::Handshake) {  // nothing can be said before its end
    busy_ = true;
    return start();
  }
  refuse(http::Request{}, 503, "too many connections");
  settle();
}

/// Unless the request has one already: it was put before, and waited for a name.
void Connection::take_exchange(const http::Request& request) {
  if (exchange_ != nullptr) return;
  exchange_ = worker_.take_exchange();
  exchange_->disk_timed_out = false;
  exchange_->disk_waited_ms = 0;
  exchange_->asked_up_to = {};
  exchange_->start_ns = worker_.loop().now_ns();
  if (worker_.access_log() == nullptr) return;
  log::AccessRecord& record = exchange_->record;
  record.realtime_ns = sys::realtime_ns();
  record.http10 = request.version == http::Version::Http10;
  std::array<char, 64> buffer;
  record.peer.assign(peer_.host(buffer));
  record.method.assign(request.method_text);
  record.target.assign(request.target);
  record.referer.assign(request.referer);
  record.user_agent.assign(request.user_agent);
  record.range.assign(request.range.value_or(std::string_view()));
}

void Connection::start_transfer() {
  set_state(State::Respond);
  const std::span<const content::Segment> segments = exchange_->response.segments();
  const egress::ChooseInput input{
      .segments = segments,
      .transport = transport(),
      .route = over_loopback_ ? egress::Route::Loopback : egress::Route::Network,
      .backlog = worker_.resources().zero_copy.in_flight};
  const egress::Choice choice = egress::choose_now(input, worker_.facts());
  exchange_->reason = choice.reason;
  egress::Transfer& transfer = exchange_->transfer;
  transfer = egress::Transfer{};
  transfer.path = choice.path;
  transfer.transport = input.transport;
  transfer.resources = &worker_.resources();
  transfer.segments = segments;
  transfer.waker = {.call = woken, .self = this};
  worker_.resources().residency.now_ms = worker_.loop().now_ms();
  egress::prepare(transfer);
  if (socket_state_.zero_copy != nullptr) worker_.loop().expect_notifications(*this);
  rate_watched_ = false;
  ++turn_requests_;
  if (submit_transfer()) return;
  if (!answers_later_) return run_transfer();
  worker_.loop().yield(*this);
}

/// A response that is only memory goes out together with those of the other connections, where the
/// loop can do that: one system call for all. sent() goes on.
bool Connection::submit_transfer() {
  if (worker_.settings().engine != loop::Engine::Uring) return false;
  if (tls_ != nullptr && tls_->owes_key_update()) return false;  // run_transfer() sends it first
  const egress::Reason reason = exchange_->reason;
  const bool in_memory = reason == egress::Reason::HeadOnly || reason == egress::Reason::InMemory;
  if (!in_memory) return false;
  constexpr std::size_t most_pieces = 4;  // a head and a body, or two parts of one
  std::array<iovec, most_pieces> room;
  const std::size_t count =
      egress::memory_pieces(exchange_->transfer, worker_.settings().limits.quantum, room).size();
  const std::span<const iovec> pieces =
      joined(std::span(room).first(count), exchange_->response.head_buffer);
  send_submitted_ = worker_.loop().submit_send(*this, pieces, false);
  return send_submitted_;
}

/// Steps until the response is out, the socket is full, or this connection's turn is over.
void Connection::run_transfer() {
  PW_CHECK(!send_submitted_);  // the loop would send the same bytes a second time
  if (tls_ != nullptr && tls_->owes_key_update() && !flush_tls()) {
    if (!is_over()) wait_for_room();
    return;
  }
  const ByteCount quantum = worker_.settings().limits.quantum;
  worker_.resources().residency.now_ms = worker_.loop().now_ms();
  while (turn_bytes_ < quantum) {
    const egress::StepResult result = egress::step(exchange_->transfer, quantum - turn_bytes_);
    account(result);
    switch (result.status) {
      case egress::Status::Moved:
        read_ahead();
        continue;
      case egress::Status::Done:
        return finish_response();
      case egress::Status::WantWrite:
        worker_.loop().await_writable(*this);
        return wait_for_room();
      case egress::Status::SourceTruncated:
        return break_off(ConnectionEnd::SourceTruncated);
      case egress::Status::SourceChanged:
        return break_off(ConnectionEnd::SourceChanged);
      case egress::Status::PeerGone:
        return break_off(ConnectionEnd::PeerReset);
      case egress::Status::Failed:  // EIO, ENOMEM ... from the file or the socket
        return break_off(ConnectionEnd::ReadError);
      case egress::Status::Submitted:  // until woken()
        return wait_for_room();
      case egress::Status::WantPages:
        return wait_for_pages(result.pages);
      case egress::Status::Unsupported:
        PW_CHECK(false);  // `copy` and tls_copy support everything
    }
  }
  worker_.loop().yield(*this);
  wait_for_room();
}

/// What the transfer waited for has come. We may be within another connection's step.
void Connection::woken(void* self) {
  Connection& connection = *static_cast<Connection*>(self);
  connection.worker_.loop().yield(connection);
}

void Connection::account(const egress::StepResult& result) {
  if (result.calls == 0 && result.copied.value == 0) return;
  const std::size_t path = egress::index_of(*exchange_->transfer.path);
  metrics::WorkerMetrics& metrics = worker_.metrics();
  metrics.path_copied[path].add(result.copied.value);
  metrics.path_bytes[path].add(result.moved.value);
  metrics.path_calls[path].add(result.calls);
  sent_bytes_ += result.moved.value;
  turn_bytes_ += result.moved;
}

/// The response did not go out in one turn: from now on its reader has to keep a minimum rate.
void Connection::wait_for_room() {
  if (!unsent_limited_) limit_unsent();
  if (!rate_watched_) watch_rate();
}

/// A send buffer filled to the brim (4 MiB) makes large files cost more CPU than one that holds
/// what the network needs next. Not before a connection has such a response: small ones would pay
/// for it.
void Connection::limit_unsent() {
  unsent_limited_ = true;
  const ByteCount limit = worker_.settings().limits.unsent;
  // Fails only on a socket that has gone; the next step says so.
  if (limit.value > 0) static_cast<void>(sys::limit_unsent(fd(), limit));
}

/// What counts is what the peer acknowledged: the send buffer may be megabytes deep, so that a
/// reader who goes on slowly makes room for the next step only once in minutes.
std::uint64_t Connection::acknowledged_now() const {
  const ByteCount queued = sys::unacknowledged(fd()).value_or(ByteCount{});
  return sent_bytes_ - std::min(queued.value, sent_bytes_);
}

void Connection::watch_rate() {
  rate_watched_ = true;
  acknowledged_ = acknowledged_now();
  set_timeout(worker_.settings().timeouts.rate_window_ms);
}

/// A window is over: goes on to the next one, or ends the connection of a reader who was too slow.
/// While our disk is read for it nobody can tell.
void Connection::check_rate() {
  const Settings& settings = worker_.settings();
  const auto window_ms = static_cast<std::uint64_t>(settings.timeouts.rate_window_ms);
  const std::uint64_t wanted = settings.limits.min_rate * window_ms / 1'000;
  const std::uint64_t before = acknowledged_;
  watch_rate();
  if (disk_is_read()) return wait_for_disk_on(acknowledged_ > before);
  if (exchange_ != nullptr) exchange_->disk_waited_ms = 0;
  if (acknowledged_ - before < wanted) break_off(ConnectionEnd::SlowReader);
}

/// The time to wait for the client is over (idle, linger). It is not for one who is still taking in
/// the last response, which stands in the send buffer: that one has to keep the minimum rate, too.
/// True when that is so, and settled.
bool Connection::still_reading() {
  if (sys::unacknowledged(fd()).value_or(ByteCount{}).value == 0) return false;
  rate_watched_ ? check_rate() : watch_rate();
  return true;
}

void Connection::finish_response() {
  close_exchange(true);
  after_response();
}

/// Counts and logs the response, if there is one yet, and gives the Exchange back.
void Connection::close_exchange(bool complete) {
  if (exchange_->transfer.path == nullptr) return give_back_exchange();
  Exchange& exchange = *exchange_;
  const std::int64_t duration_ns = sys::monotonic_ns() - exchange.start_ns;
  metrics::WorkerMetrics& metrics = worker_.metrics();
  const std::size_t path = egress::index_of(*exchange.transfer.path);
  metrics.responses[static_cast<std::size_t>(exchange.response.status)].add(1);
  metrics.path_responses[path].add(1);
  metrics.path_reasons[path][static_cast<std::size_t>(exchange.reason)].add(1);
  metrics.request_time.record_ns(static_cast<std::uint64_t>(duration_ns));
  if (worker_.access_log() != nullptr) write_log(complete, duration_ns);
  egress::finish(exchange.transfer);
  give_back_exchange();
}

void Connection::give_back_exchange() {
  exchange_->response.file = content::FileRef();
  exchange_->transfer.path = nullptr;  // the next request may end before it has one
  worker_.give_back(std::exchange(exchange_, nullptr));
}

void Connection::write_log(bool complete, std::int64_t duration_ns) {
  log::AccessRecord* const line = worker_.access_log()->begin(worker_.index());
  if (line == nullptr) return;  // the queue is full; counted there
  const egress::Transfer& transfer = exchange_->transfer;
  const std::uint64_t head_bytes = exchange_->response.segments().front().size().value;
  log::AccessRecord& record = exchange_->record;
  record.duration_ns = duration_ns;
  record.status = static_cast<std::uint16_t>(exchange_->response.status);
  record.bytes = transfer.sent.value;
  record.body_bytes = record.bytes - std::min(record.bytes, head_bytes);
  record.complete = complete;
  record.path = transfer.path->name;
  record.reason = egress::token(exchange_->reason);
  record.tls = {};
  if (tls_ != nullptr) {
    record.tls = {.version = tls_->version(),
                  .cipher = tls_->cipher(),
                  .kernel = tls::token(tls_->kernel()),
                  .kernel_reason = tls::token(tls_->kernel_reason())};
  }
  *line = record;
  worker_.access_log()->commit(worker_.index());
}

void Connection::after_response() {
  rate_watched_ = false;
  if (close_after_) return begin_linger();
  const Timeouts& timeouts = worker_.settings().timeouts;
  const bool has_body = unread_body_.value > 0;
  set_state(has_body ? State::DropBody : State::ReadHead);
  set_timeout(has_body ? timeouts.head_ms : timeouts.idle_ms);
  // The drain began behind this answer's head, which said nothing of closing: the next request may
  // be on its way, and will be told.
  if (draining_) drain();
}

/// The peer must not take what it got for the whole: the connection ends with RST.
void Connection::break_off(ConnectionEnd why) {
  count_end(why);
  close(Farewell::Reset);
}

/// The last answer is queued. A close(2) now, with bytes of the client's unread or still to come (a
/// body, a pipelined request), would make the kernel send RST, which drops what is queued and can
/// overtake what is on its way (RFC 9112 9.6). So: FIN, and reading on until the client has closed
/// too.
void Connection::begin_linger() {
  constexpr ByteCount most{1 * mib};
  linger_left_ = most;
  set_state(State::Linger);
  set_timeout(worker_.settings().timeouts.linger_ms);
  if (tls_ != nullptr) {
    tls_->close_notify();
    fin_owed_ = true;
    return send_fin();
  }
  sys::finish_sending(fd());
}

void Connection::close(Farewell farewell) {
  // The kernel may still read from it: then the destructor gives it back, which the loop calls once
  // the send is over.
  if (exchange_ != nullptr && !send_submitted_) close_exchange(false);
  DiskNode::unlink();  // a helper that is at work finishes for nobody
  if (farewell == Farewell::Fin && !say_goodbye()) return begin_linger();
  take_completions();
  ask_tcp();  // now: a reset forgets
  if (socket_state_.busy()) return begin_draining(farewell);
  if (farewell == Farewell::Reset) sys::abort_on_close(fd());
  bury();
}

/// What the connection came to, as TCP counted it: one call a connection, none a request.
void Connection::ask_tcp() {
  const Result<sys::TcpInfo> info = sys::tcp_info(fd());
  if (!info) return;  // ENODATA: a kernel before 4.10
  metrics::TcpMetrics& tcp = worker_.metrics().tcp;
  tcp.connections.add(1);
  tcp.retransmits.add(info->retransmits);
  tcp.busy_us.add(info->busy_us);
  tcp.receiver_limited_us.add(info->receiver_limited_us);
  tcp.send_buffer_limited_us.add(info->send_buffer_limited_us);
}

/// The peer is told now what close(2) would tell it; the socket stays, because completions come on
/// its error queue alone. A reset drops what is queued, so most of them come with it.
void Connection::begin_draining(Farewell farewell) {
  set_state(State::Draining);
  worker_.metrics().connections_draining.add(1);
  switch (farewell) {
    case Farewell::Fin:
      sys::finish_sending(fd());
      break;
    case Farewell::Reset:
      sys::reset_now(fd());
      break;
  }
  std::string().swap(pending_);
  paused_ = true;
  worker_.loop().pause_reading(*this);
  set_timeout(worker_.settings().timeouts.release_ms);
  notified();
}

void Connection::take_completions() {
  const egress::Completed completed = socket_state_.take_completions(fd());
  if (completed.copied.value == 0) return;
  const std::size_t path = egress::index_of(*completed.path);
  worker_.metrics().path_copied[path].add(completed.copied.value);
}

/// The end of every connection.
void Connection::bury() {
  if (state_ == State::Draining) worker_.metrics().connections_draining.subtract(1);
  set_state(State::Closed);
  worker_.loop().retire(*this);
}

void Connection::count_end(ConnectionEnd why) {
  worker_.metrics().ends[static_cast<std::size_t>(why)].add(1);
}

}  // namespace pagewire::server
