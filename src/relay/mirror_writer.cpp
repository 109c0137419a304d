#include "relay/mirror_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "sys/clock.h"

namespace pagewire::relay {

namespace {

constexpr std::size_t gathered_limit = 64 * kib;
constexpr std::uint32_t largest_small_record = 8 * kib;  // above it two splices cost less

void count(std::atomic<std::uint64_t>& counter, std::uint64_t more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

std::int64_t now_ms() {
  return sys::monotonic_ns() / 1'000'000;
}

/// Not fmt::print: that throws when standard error cannot be written either.
void complain(const std::string& target, const Error& error) {
  const std::string text = fmt::format(
      "pagewire: mirror {}: {}; what there is no room for is dropped until it can be written\n",
      target, describe(error));
  (void)std::fputs(text.c_str(), stderr);
}

}  // namespace

Result<void> MirrorWriter::open_next(MirrorSink::Patience patience) {
  if (Result<void> opened = sink_.open_next(patience); !opened) return opened;
  const std::uint64_t part = sinks_opened.load(std::memory_order_relaxed);
  count(sinks_opened, 1);
  const std::string text =
      fmt::format(R"({{"mirror":1,"pagewire":"{}","part":{}}})", PAGEWIRE_VERSION, part);
  const EncodedMirrorHead head = encode({.connection = setting_.run,
                                         .offset = part,
                                         .realtime_ns = sys::realtime_ns(),
                                         .length = static_cast<std::uint32_t>(text.size()),
                                         .flags = mirror_flag::start});
  gathered_.insert(gathered_.begin(), text.begin(), text.end());
  gathered_.insert(gathered_.begin(), head.begin(), head.end());
  return {};
}

bool MirrorWriter::is_ready(MirrorSink::Patience patience) {
  if (now_ms() < retry_at_ms_) return false;
  broke_off_ = false;
  if (!sink_.is_open()) {
    opened_at_ms_ = now_ms();
    if (const Result<void> opened = open_next(patience); !opened) {
      broken(opened.error());
      return false;
    }
  }
  return large_ ? send_large() : send_gathered(MirrorSink::More::No);
}

bool MirrorWriter::take_record(MirrorLane::Shared& lane) {
  if (broke_off_ || large_ || gathered_.size() >= gathered_limit) return false;
  const MirrorHead* const front = lane.heads.front();
  if (front == nullptr) return false;
  const MirrorHead head = *front;
  if (!rotate_before(mirror_head_bytes + head.length)) return false;
  lane.heads.pop();
  add_head(head);
  if (head.length > largest_small_record) {
    large_.emplace(Large{.head = head, .lane = &lane});
    return send_large();
  }
  gather(lane, head);
  return gathered_.size() < gathered_limit || send_gathered(MirrorSink::More::Yes);
}

/// False: the sink failed, and the record stays where it is.
bool MirrorWriter::rotate_before(std::uint64_t record_bytes) {
  if (!sink_.is_file() || setting_.rotate.value == 0 || sink_.size_bytes() == 0) return true;
  if (sink_.size_bytes() + gathered_.size() + record_bytes <= setting_.rotate.value) return true;
  if (!send_gathered(MirrorSink::More::No)) return false;
  const Result<void> opened = open_next({});
  if (!opened) broken(opened.error());  // the file that is open stays in use
  return opened.has_value();
}

void MirrorWriter::add_head(const MirrorHead& head) {
  const EncodedMirrorHead bytes = encode(head);
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
}

void MirrorWriter::gather(MirrorLane::Shared& lane, const MirrorHead& head) {
  const std::size_t at = gathered_.size();
  gathered_.resize(at + head.length);
  for (std::size_t done = 0; done < head.length;) {
    const ssize_t n =
        ::read(lane.pipe.read_end.get(), gathered_.data() + at + done, head.length - done);
    if (n < 0 && errno == EINTR) continue;
    PW_CHECK(n > 0);  // committed after it was put there
    done += static_cast<std::size_t>(n);
  }
  count(lane.taken_bytes, head.length);
}

bool MirrorWriter::send_large() {
  if (!gathered_.empty()) {
    if (!send_gathered(MirrorSink::More::Yes)) return false;
    large_->head_at = sink_.size_bytes() - mirror_head_bytes;
  }
  Large& record = *large_;
  while (record.head.length > 0) {
    const std::uint64_t in_lane = record.head.length - record.in_own_pipe;
    if (record.in_own_pipe == 0) {
      const ssize_t moved =
          ::splice(record.lane->pipe.read_end.get(), nullptr, own_pipe_.write_end.get(), nullptr,
                   in_lane, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (moved < 0 && errno == EINTR) continue;
      PW_CHECK(moved > 0);  // committed after it was put there, and our pipe is empty
      record.in_own_pipe = static_cast<std::uint64_t>(moved);
      count(record.lane->taken_bytes, record.in_own_pipe);
    }
    const auto more =
        record.head.length > record.in_own_pipe ? MirrorSink::More::Yes : MirrorSink::More::No;
    const Result<ByteCount> sent = sink_.splice(own_pipe_, ByteCount{record.in_own_pipe}, more);
    if (!sent) {
      if (sent.error().errno_value == EAGAIN && wait_(sink_.fd())) continue;
      if (sent.error().errno_value != EAGAIN) broken(sent.error());
      return false;
    }
    record.in_own_pipe -= sent->value;
    record.sent += sent->value;
    record.head.offset += sent->value;
    record.head.length -= static_cast<std::uint32_t>(sent->value);
    count(mirrored_bytes, sent->value);
  }
  large_.reset();
  failing_ = false;
  return true;
}

bool MirrorWriter::send_gathered(MirrorSink::More more) {
  if (broke_off_) return false;
  while (gathered_sent_ < gathered_.size()) {
    const std::span<const unsigned char> rest{gathered_.data() + gathered_sent_,
                                              gathered_.size() - gathered_sent_};
    const Result<ByteCount> sent = sink_.write(rest, more);
    if (sent) {
      gathered_sent_ += sent->value;
      continue;
    }
    if (sent.error().errno_value == EAGAIN && wait_(sink_.fd())) continue;
    if (sent.error().errno_value != EAGAIN) broken(sent.error());
    return false;
  }
  keep_unsent_records();
  if (!large_) failing_ = false;
  return true;
}

/// Whole records that were sent go out of gathered_; one that was sent in part stays whole.
void MirrorWriter::keep_unsent_records() {
  std::size_t at = 0;
  while (at < gathered_.size()) {
    const MirrorHead head = *decode(std::span(gathered_).subspan(at).first<mirror_head_bytes>());
    const bool is_large = large_ && at + mirror_head_bytes == gathered_.size();
    const std::size_t next = at + mirror_head_bytes + (is_large ? 0 : head.length);
    if (next > gathered_sent_) break;
    const bool is_text = head.has(mirror_flag::start) || head.has(mirror_flag::open);
    if (!is_large && !is_text) count(mirrored_bytes, head.length);
    at = next;
  }
  gathered_.erase(gathered_.begin(), gathered_.begin() + static_cast<std::ptrdiff_t>(at));
  gathered_sent_ -= at;
}

/// Whatever it was, it may pass: ENOSPC, EDQUOT (a full disk), EFBIG (a limit on file sizes), EIO
/// (a broken disk); EPIPE, ECONNRESET, ETIMEDOUT (the recorder went), ECONNREFUSED, EHOSTUNREACH
/// (it has not come); EMFILE. A file is gone on with, a recorder is connected to again.
void MirrorWriter::broken(const Error& error) {
  count(sink_failures, 1);
  if (!failing_) complain(setting_.target, error);
  failing_ = true;
  if (sink_.is_open() && !gathered_.empty()) {
    keep_unsent_records();
    if (sink_.is_file()) sink_.cut_to(sink_.size_bytes() - gathered_sent_);
    gathered_sent_ = 0;
  } else if (sink_.is_open() && large_) {
    end_large_here();
  }
  // A recorder that was there for long is called again at once.
  retry_at_ms_ = (sink_.is_file() ? now_ms() : opened_at_ms_) + setting_.retry_ms;
  if (!sink_.is_file()) sink_.close();
  broke_off_ = true;
}

/// What the sink has of the large record becomes all of it, and the rest a record of its own.
void MirrorWriter::end_large_here() {
  Large& record = *large_;
  if (sink_.is_file() && record.sent == 0) sink_.cut_to(record.head_at);
  if (sink_.is_file() && record.sent > 0) {
    MirrorHead had = record.head;
    had.offset -= record.sent;
    had.length = static_cast<std::uint32_t>(record.sent);
    sink_.overwrite(record.head_at, encode(had));
  }
  if (record.sent > 0) record.head.flags &= static_cast<std::uint8_t>(~mirror_flag::gap);
  record.sent = 0;
  add_head(record.head);
}

}  // namespace pagewire::relay
