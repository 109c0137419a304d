#include "relay/tls_front.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "sys/plain_calls.h"
#include "sys/socket.h"

namespace pagewire::relay {

using tls::Outcome;
using Read = tls::Session::Read;

namespace {

/// What the kernel leaves in the socket for bytes that are no record (sys::receive_tls).
bool is_of_no_record(int errno_value) {
  return errno_value == EBADMSG || errno_value == EMSGSIZE || errno_value == EINVAL;
}

}  // namespace

TlsFront::TlsFront(std::unique_ptr<tls::Session> session, const tls::SessionFacts& facts,
                   TlsRoom& room)
    : session_(std::move(session)), facts_(facts), room_(room) {}

TlsFront::~TlsFront() {
  room_.metrics.key_updates.add(session_->key_updates());
}

// ---------------------------------------------------------------- the handshake

/// What lies behind the handshake's last record stays in the socket, for the pump: so it is looked
/// at first (MSG_PEEK), and what the session took is then taken out.
TlsFront::Step TlsFront::shake_hands(int fd, std::span<char> buffer) {
  for (;;) {
    const ssize_t n = sys::plain_recv(fd, buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    // EAGAIN: nothing more for now; a reset comes from the loop as well.
    if (n < 0) return Step::WantRead;
    if (n == 0) {
      give_up(Outcome::PeerGone);
      return Step::Failed;
    }
    const auto received = static_cast<std::size_t>(n);
    session_->offer(buffer.first(received));
    const tls::Session::Step step = session_->handshake();
    const std::size_t taken = received - session_->input_size();
    session_->offer({});
    if (taken > 0) static_cast<void>(sys::plain_recv(fd, buffer.data(), taken, MSG_DONTWAIT));
    switch (step) {
      case tls::Session::Step::Done:
        begin(fd);
        return Step::Done;
      case tls::Session::Step::Failed:
        give_up(session_->outcome());
        return Step::Failed;
      case tls::Session::Step::WantInput:
        if (taken == 0) return Step::WantRead;
        break;
    }
  }
}

void TlsFront::begin(int fd) {
  handshake_counted_ = true;
  metrics::TlsMetrics& metrics = room_.metrics;
  metrics.handshakes[static_cast<std::size_t>(Outcome::Ok)].add(1);
  metrics.completed[session_->is_tls13() ? 1 : 0][session_->resumed() ? 1 : 0].add(1);
  session_->begin_sending(fd, room_.card_watch.look(facts_, room_.loop.now_ms()));
  const auto kernel = static_cast<std::size_t>(session_->kernel());
  metrics.kernel[kernel][static_cast<std::size_t>(session_->kernel_reason())].add(1);
  session_->begin_receiving(fd);
  room_.receive[static_cast<std::size_t>(session_->receive_reason())].add(1);
}

void TlsFront::give_up(Outcome outcome) {
  if (handshake_counted_) return;
  handshake_counted_ = true;
  room_.metrics.handshakes[static_cast<std::size_t>(outcome)].add(1);
}

// ---------------------------------------------------------------- what clients send

TlsFront::Opened TlsFront::open(std::span<const char> records) {
  PW_CHECK(plain_bytes(records.size()) <= room_.plain.size());
  session_->offer(records);
  std::size_t count = 0;
  while (session_->input_left()) {
    const Read read = session_->read(std::span(room_.plain).subspan(count));
    switch (read.kind) {
      case Read::Kind::Bytes:
        count += read.count;
        break;
      case Read::Kind::WantInput:
        break;
      case Read::Kind::Closed:
        session_->offer({});  // RFC 8446 6.1: what follows it is passed over
        room_.metrics.clean_closes.add(1);
        return {.plain = std::span(room_.plain).first(count), .closed = true};
      case Read::Kind::Failed:
        session_->offer({});
        room_.metrics.failures[static_cast<std::size_t>(session_->outcome())].add(1);
        return {.plain = {}, .failed = true};
    }
  }
  return {.plain = std::span(room_.plain).first(count)};
}

// ---------------------------------------------------------------- the same, by the kernel

TlsFront::Taken TlsFront::take(int fd, std::span<char> into, int error) {
  if (error != EINVAL && is_of_no_record(error)) return refuse(fd, error);
  if (error != 0 && error != EINVAL) return {.got = Got::SocketFailed, .error = error};
  const Result<sys::TlsReceived> received = sys::receive_tls(fd, into);
  if (received) return act_on(fd, *received, into.first(received->count));
  const int why = received.error().errno_value;
  // A record of another type would have come now: so EINVAL was the word for what is no record.
  if (why == EAGAIN && error == EINVAL) return refuse(fd, EINVAL);
  if (why == EAGAIN) return {.got = Got::Nothing};
  if (is_of_no_record(why)) return refuse(fd, why);
  return {.got = Got::SocketFailed, .error = why};
}

TlsFront::Taken TlsFront::act_on(int fd, const sys::TlsReceived& record,
                                 std::span<const char> bytes) {
  if (record.type == static_cast<std::uint8_t>(tls::RecordType::ApplicationData)) {
    return bytes.empty() ? Taken{.got = Got::Other}
                         : Taken{.got = Got::Bytes, .count = record.count};
  }
  if (record.type == 0) return {.got = Got::Truncated};
  const std::span message(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  switch (session_->take_record(fd, record.type, message).kind) {
    case Read::Kind::Bytes:
    case Read::Kind::WantInput:
      return {.got = Got::Other};
    case Read::Kind::Closed:
      room_.metrics.clean_closes.add(1);
      return {.got = Got::Closed};
    case Read::Kind::Failed:
      break;
  }
  room_.metrics.failures[static_cast<std::size_t>(session_->outcome())].add(1);
  return {.got = Got::Failed};
}

TlsFront::Taken TlsFront::refuse(int fd, int errno_value) {
  static_cast<void>(sys::take_error(fd));  // it would refuse our alert
  session_->refuse_record(errno_value);
  room_.metrics.failures[static_cast<std::size_t>(session_->outcome())].add(1);
  return {.got = Got::Failed};
}

TlsFront::Got TlsFront::drop(int fd, std::span<char> buffer) {
  const Result<sys::TlsReceived> received = sys::receive_tls(fd, buffer);
  if (received) return received->type == 0 ? Got::Truncated : Got::Other;
  switch (received.error().errno_value) {
    case EAGAIN:
    case EINTR:
      return Got::Nothing;
    case EBADMSG:
    case EMSGSIZE:
    case EINVAL:
    case EKEYEXPIRED:  // from Linux 6.14 on: behind a KeyUpdate, of which nobody takes notice now
      static_cast<void>(sys::take_error(fd));  // sending goes on
      keeps_bytes_ = true;
      return Got::Failed;
    default:
      return Got::SocketFailed;
  }
}

TlsFront::Blame TlsFront::blame(int fd, int errno_value) {
  if (!opened_by_kernel() || !is_of_no_record(errno_value)) return Blame::Send;
  // Kernel TLS leaves it there, while TCP's send has fetched it. There EINVAL may be splice's own.
  const int left = sys::take_error(fd);
  if (left == 0 && errno_value == EINVAL && by_kernel()) return Blame::Send;
  if (session_->peer_closed()) {  // RFC 8446 6.1
    keeps_bytes_ = true;
    return Blame::PassOver;
  }
  static_cast<void>(refuse(fd, errno_value));
  return Blame::Failed;
}

// ---------------------------------------------------------------- what they are sent

void TlsFront::seal(std::span<const char> plain) {
  tls::Outlet& outlet = session_->outlet();
  outlet.begin_response(room_.loop.now_ms(), ByteCount{plain.size()});
  while (!plain.empty()) {
    const std::size_t size = outlet.next_record(ByteCount{plain.size()});
    PW_CHECK(size > 0);
    const iovec piece{const_cast<char*>(plain.data()), size};
    outlet.seal({&piece, 1});
    plain = plain.subspan(size);
  }
}

Result<ByteCount> TlsFront::push(int fd) {
  if (!by_kernel()) {
    const Result<tls::Outlet::Sent> sent = session_->outlet().send(fd, false);
    if (!sent) return tl::unexpected(sent.error());
    return sent->plain;
  }
  const Result<bool> flushed = session_->flush(fd);
  if (!flushed) return tl::unexpected(flushed.error());
  if (!*flushed) return failure("send", EAGAIN);
  return ByteCount{};
}

/// By bytes, not by records: the bound of RFC 8446 5.5 is about the blocks of full ones, so that
/// many small records wear a key less. Records of TLS 1.3 that are made here change their key.
bool TlsFront::key_is_worn(ByteCount sent) const {
  if (!by_kernel() && session_->is_tls13()) return false;
  return sent.value >= tls::records_per_key * tls::most_plain_bytes;
}

/// Whether sending may go on: of what has come behind close_notify, it may.
bool TlsFront::pass_over_error(int fd) {
  if (!opened_by_kernel() || !session_->peer_closed()) return true;
  const int error = sys::take_error(fd);
  if (error == 0) return true;
  if (!is_of_no_record(error)) return false;  // ECONNRESET, ETIMEDOUT, EPIPE
  keeps_bytes_ = true;
  return true;
}

TlsFront::Finish TlsFront::finish(int fd, ByteCount sent) {
  // It would refuse our close_notify.
  if (!pass_over_error(fd)) return Finish::Failed;
  session_->close_notify();
  const Result<bool> flushed = session_->flush(fd);
  if (!flushed) return Finish::Failed;
  if (!*flushed) return Finish::WantWrite;
  if (session_->kernel_holds(fd, sent).value > 0) return Finish::WantKernel;
  const bool lost_by_reset =
      keeps_bytes_ && sys::unacknowledged(fd).value_or(ByteCount{}).value > 0;
  return lost_by_reset ? Finish::WantKernel : Finish::Done;
}

log::TlsRecord TlsFront::log_record() const {
  return {.version = session_->version(),
          .cipher = session_->cipher(),
          .kernel = tls::token(session_->kernel()),
          .kernel_reason = tls::token(session_->kernel_reason()),
          .receive = opened_by_kernel() ? "kernel" : "none",
          .receive_reason = tls::token(session_->receive_reason())};
}

void TlsFront::say_why(int fd) {
  static_cast<void>(session_->flush(fd));
}

}  // namespace pagewire::relay
