// One data connection: whole blocks out of the test's ration, not faster than its rate.
//
// Invariants: what all streams send in a test with -n or -k is exactly the ration, each a multiple
// of the block; a stream with a rate is never more than one block ahead of it. It is looked at once
// in a tick of the loop (100 ms), so it sends in bursts of as much; the average is exact.
#include "bench/iperf3_stream.h"

#include <algorithm>
#include <limits>

#include "bench/iperf3_peer.h"
#include "sys/clock.h"
#include "sys/socket.h"
#include "sys/tcp_info.h"

namespace pagewire::bench::iperf3 {

StreamSender::StreamSender(SendSource& source, Peer& peer)
    : peer_(&peer), pump_(source, peer.fd(), {.call = woken, .self = this}) {}

/// What the transfer waited for has come. We may be within another stream's step.
void StreamSender::woken(void* self) {
  const StreamSender& sender = *static_cast<StreamSender*>(self);
  if (sender.peer_ != nullptr) sender.peer_->take_turn();
}

StreamSender::Turn StreamSender::turn(Ration& ration) {
  std::uint64_t left = turn_quantum.value;
  waits_ = false;
  while (left > 0) {
    if (granted_bytes_ == 0) granted_bytes_ = grant(ration);
    if (granted_bytes_ == 0) return {.after = After::Spent, .ended_by = {}};
    const std::uint64_t allowed = allowed_by_rate(ration);
    waits_ = allowed == 0;
    if (waits_) return {.after = After::Wait, .ended_by = {}};
    const egress::StepResult result =
        pump_.step(ByteCount{std::min({left, granted_bytes_, allowed})});
    granted_bytes_ -= result.moved.value;
    left -= std::min(result.moved.value, left);
    switch (result.status) {
      case egress::Status::Moved:
        continue;
      case egress::Status::Done:
        pump_.rewind();
        continue;
      case egress::Status::WantWrite:
        return {.after = After::AwaitWritable, .ended_by = {}};
      case egress::Status::Submitted:
        return {.after = After::AwaitOperation, .ended_by = {}};
      case egress::Status::SourceTruncated:
      case egress::Status::SourceChanged:
      case egress::Status::PeerGone:
      case egress::Status::Failed:
      case egress::Status::WantPages:
      case egress::Status::Unsupported:  // egress::step has fallen to `copy` instead
        return {.after = After::Ended, .ended_by = result};
    }
  }
  return {.after = After::Yield, .ended_by = {}};
}

/// A turn's worth of whole blocks, as long as there are any.
std::uint64_t StreamSender::grant(Ration& ration) {
  if (!ration.left_bytes) return std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t blocks = std::max<std::uint64_t>(turn_quantum.value / ration.block_bytes, 1);
  const std::uint64_t granted = std::min(*ration.left_bytes, blocks * ration.block_bytes);
  *ration.left_bytes -= granted;
  return granted;
}

std::uint64_t StreamSender::allowed_by_rate(const Ration& ration) const {
  if (ration.rate_bits_per_s == 0) return turn_quantum.value;
  const auto elapsed_ns = static_cast<double>(sys::monotonic_ns() - counting_since_ns_);
  const auto due = static_cast<std::uint64_t>(static_cast<double>(ration.rate_bits_per_s) / 8 *
                                              elapsed_ns / 1e9);
  // Never a few bytes: on time or late, at least a block goes.
  return counted_bytes() > due ? 0 : due - counted_bytes() + ration.block_bytes;
}

void StreamSender::begin_counting() {
  base_bytes_ = pump_.sent_bytes();
  base_retransmits_ = retransmits();
  counting_since_ns_ = sys::monotonic_ns();
}

std::optional<std::uint64_t> StreamSender::counted_retransmits() const {
  const std::optional<std::uint64_t> now = retransmits();
  if (!now || !base_retransmits_) return std::nullopt;
  return *now - *base_retransmits_;
}

std::optional<std::uint64_t> StreamSender::retransmits() const {
  if (peer_ == nullptr) return std::nullopt;
  const Result<sys::TcpInfo> info = sys::tcp_info(peer_->fd());
  if (!info) return std::nullopt;
  return info->retransmits;
}

std::uint64_t StreamSender::acknowledged_bytes() const {
  if (peer_ == nullptr) return pump_.sent_bytes();
  const ByteCount queued = sys::unacknowledged(peer_->fd()).value_or(ByteCount{});
  return pump_.sent_bytes() - std::min(queued.value, pump_.sent_bytes());
}

}  // namespace pagewire::bench::iperf3
