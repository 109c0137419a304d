// A stream on io_uring: its receive, its sends, its poll, and its end. See uring_loop.h.
//
// Kernel facts relied on (io_uring_prep_recv_multishot(3), io_uring_prep_poll_multishot(3),
// io_uring_prep_cancel64(3)): a multishot operation is over when a completion comes without
// IORING_CQE_F_MORE: at the FIN, at an error, when no provided buffer was left (ENOBUFS), when the
// completion queue was full, when it was cancelled. A send with MSG_DONTWAIT is over within the
// io_uring_enter(2) that submits it. A poll always tells POLLERR, POLLHUP and POLLRDHUP, too, and a
// multishot one tells changes, as EPOLLET does: a one-shot poll for POLLOUT would come back at once
// and without end for a peer that has half-closed.
#include <netinet/in.h>
#include <poll.h>

#include "loop/uring_loop.h"
#include "sys/socket.h"

namespace pagewire::loop {

Result<void> UringLoop::attach(std::unique_ptr<Stream> stream) {
  if (stream->raw_) return failure("attach", EOPNOTSUPP);
  Stream& attached = *stream.release();
  members_.push_back(attached);
  ++stream_count_;
  if (begun_) arm_receive(attached);
  return {};
}

// ---------------------------------------------------------------- receiving

void UringLoop::arm_receive(Stream& stream) {
  io_uring_sqe& place = submission();
  ::io_uring_prep_recv_multishot(&place, stream.fd(), nullptr, 0, 0);
  place.flags |= IOSQE_BUFFER_SELECT;
  place.buf_group = sys::BufferRing::group;
  place.user_data = tag_of(&stream, Operation::Receive);
  ++stream.operations_;
  stream.receiving_ = true;
}

void UringLoop::receive_done(Stream& stream, const sys::Completion& completion) {
  if (!completion.more()) {
    stream.receiving_ = false;
    stream.receive_cancelled_ = false;
  }
  if (completion.has_buffer()) take_bytes(stream, completion);
  if (!stream.retired_ && !completion.more()) {
    if (completion.result == 0) stream.end_held_ = true;
    if (completion.result < 0) receive_failed(stream, -completion.result);
    // Whatever ended it, the FIN is told or a new one begun, once the bytes before it are told.
    if (!stream.retired_) make_ready(stream);
  }
  if (!completion.more()) operation_over(stream);
}

void UringLoop::take_bytes(Stream& stream, const sys::Completion& completion) {
  if (completion.result > 0 && !stream.retired_) {
    const std::span<const char> bytes =
        buffers_.view(completion.buffer(), static_cast<std::size_t>(completion.result));
    if (stream.reading_paused_ || !stream.held_.empty()) {
      stream.held_.append(bytes.data(), bytes.size());
    } else {
      stream.received(bytes);
    }
  }
  buffers_.give_back(completion.buffer());
  // From here on the peer's bytes stay in the socket. Only now: most pauses end before the peer
  // sends again, and cost nothing.
  const bool stop = stream.reading_paused_ && !stream.held_.empty() && stream.receiving_;
  if (!stop || stream.receive_cancelled_ || stream.retired_) return;
  stream.receive_cancelled_ = true;
  ++stream.operations_;
  cancel(&stream, Operation::Receive, Operation::Cancel);
}

void UringLoop::receive_failed(Stream& stream, int errno_value) {
  switch (errno_value) {
    case ENOBUFS:  // no provided buffer was free; all are, when this round is over
      ++counters_.no_buffers;
      return;
    case ECANCELED:  // by take_bytes()
    case EINTR:      // a signal
    case EAGAIN:     // the kernel could not wait for bytes (no memory)
      return;
    default:  // ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM
      return fail(stream, Error{"recv", errno_value});
  }
}

void UringLoop::fail(Stream& stream, Error error) {
  if (stream.input_over_) return;
  stream.input_over_ = true;
  stream.failed(error);
}

void UringLoop::resume_reading(Stream& stream) {
  stream.reading_paused_ = false;
  const bool behind = !stream.held_.empty() || stream.end_held_ || !stream.receiving_;
  if (behind) make_ready(stream);
}

/// Tells what was held, in order, and goes on receiving.
void UringLoop::pump(Stream& stream) {
  if (stream.retired_ || stream.reading_paused_ || stream.input_over_) return;
  if (!stream.held_.empty()) {
    std::string bytes;
    bytes.swap(stream.held_);
    stream.received(bytes);
    if (stream.retired_ || stream.reading_paused_) return;
  }
  if (stream.end_held_) {
    stream.end_held_ = false;
    stream.input_over_ = true;
    return stream.ended();
  }
  if (!stream.receiving_ && begun_) arm_receive(stream);
}

// ---------------------------------------------------------------- sending

bool UringLoop::submit_send(Stream& stream, std::span<const iovec> pieces, bool more) {
  if (!begun_ || stream.sending_ || pieces.empty() || pieces.size() > pieces_per_send) return false;
  io_uring_sqe& place = submission();
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
  if (pieces.size() == 1) {
    ::io_uring_prep_send(&place, stream.fd(), pieces[0].iov_base, pieces[0].iov_len, flags);
  } else {
    Gathered& gathered = gathered_[ring_.place_of(place)];
    std::copy(pieces.begin(), pieces.end(), gathered.pieces.begin());
    gathered.message = {};
    gathered.message.msg_iov = gathered.pieces.data();
    gathered.message.msg_iovlen = pieces.size();
    ::io_uring_prep_sendmsg(&place, stream.fd(), &gathered.message, static_cast<unsigned>(flags));
  }
  place.user_data = tag_of(&stream, Operation::Send);
  ++stream.operations_;
  stream.sending_ = true;
  sends_queued_ = true;
  return true;
}

void UringLoop::send_done(Stream& stream, const sys::Completion& completion) {
  stream.sending_ = false;
  if (!stream.retired_) {
    if (completion.result >= 0) {
      stream.sent(ByteCount{static_cast<std::uint64_t>(completion.result)});
    } else {  // EAGAIN, EPIPE, ECONNRESET ...: as send(2); the stream tells them apart
      stream.sent(failure("send", -completion.result));
    }
  }
  operation_over(stream);
}

// ---------------------------------------------------------------- readiness

void UringLoop::await_writable(Stream& stream) {
  stream.awaits_writable_ = true;
  arm_poll(stream);
}

void UringLoop::expect_notifications(Stream& stream) {
  stream.notifies_ = true;
  arm_poll(stream);
}

void UringLoop::arm_poll(Stream& stream) {
  if (stream.polling_ || !begun_) return;
  io_uring_sqe& place = submission();
  ::io_uring_prep_poll_multishot(&place, stream.fd(), POLLOUT | POLLERR);
  place.user_data = tag_of(&stream, Operation::Poll);
  ++stream.operations_;
  stream.polling_ = true;
}

void UringLoop::poll_done(Stream& stream, const sys::Completion& completion) {
  if (!completion.more()) stream.polling_ = false;
  const int events = completion.result;
  if (!stream.retired_ && events > 0 && (events & POLLERR) != 0) {
    const int error = sys::take_error(stream.fd());
    // Once the input is over an error is news of the error queue alone: a reset completes what was
    // in flight.
    const bool broken = error != 0 && !stream.input_over_;
    broken ? fail(stream, Error{"socket", error}) : stream.notified();
  }
  const bool writable = events > 0 && (events & (POLLOUT | POLLHUP)) != 0;
  if (!stream.retired_ && writable && stream.awaits_writable_) {
    stream.awaits_writable_ = false;
    stream.writable();
  }
  // It ended by itself: the completion queue was full. A new one tells what is there already, so no
  // edge is lost. After an error (ENOMEM) only who cannot go on without tries again.
  const bool wanted = stream.awaits_writable_ || (stream.notifies_ && completion.result >= 0);
  if (!stream.retired_ && !stream.polling_ && wanted) arm_poll(stream);
  if (!completion.more()) operation_over(stream);
}

// ---------------------------------------------------------------- the end

void UringLoop::retire(Stream& stream) {
  if (stream.retired_) return;
  stream.retired_ = true;
  wheel_.forget(stream);
  static_cast<ReadyNode&>(stream).unlink();
  static_cast<MemberNode&>(stream).unlink();
  --stream_count_;
  if (stream.operations_ == 0) return let_go(stream);
  dying_.push_back(stream);
  ++dying_count_;
  if (owner_ != std::this_thread::get_id()) return;  // the ring is not ours: see ~UringLoop()
  // A send needs no cancel: it is over with the next call.
  if (stream.receiving_ && !stream.receive_cancelled_) {
    ++stream.operations_;
    cancel(&stream, Operation::Receive, Operation::Cancel);
  }
  if (stream.polling_) {
    ++stream.operations_;
    cancel(&stream, Operation::Poll, Operation::Cancel);
  }
}

void UringLoop::operation_over(Stream& stream) {
  PW_CHECK(stream.operations_ > 0);
  --stream.operations_;
  if (!stream.retired_ || stream.operations_ > 0) return;
  --dying_count_;
  let_go(stream);
}

/// No operation names it any more: its descriptor may become somebody else's.
void UringLoop::let_go(Stream& stream) {
  static_cast<MemberNode&>(stream).unlink();
  stream.owned_fd().close();
  retired_.push_back(&stream);
}

}  // namespace pagewire::loop
