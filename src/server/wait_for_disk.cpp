// A connection that waits for a disk helper: for what a name leads to, or for a file's next pages.
//
// The client is not to blame for our disk: neither the idle time nor the minimum rate runs
// meanwhile, only Timeouts::disk_ms.
#include "base/check.h"
#include "server/connection.h"
#include "sys/file_advice.h"

namespace pagewire::server {

using metrics::ConnectionEnd;

namespace {

/// A cold stream keeps the disk busy so far ahead, at least, and at most twice as far. Not before
/// its first pages have come: until then it would only make others wait for theirs.
constexpr ByteCount ahead_size{1 * mib};

}  // namespace

/// The head's bytes stay in pending_, and are read again when the name is known.
void Connection::wait_for_name() {
  set_state(State::Resolve);
  set_timeout(worker_.settings().timeouts.disk_ms);
  worker_.disk().resolve(*this, exchange_->names.wish);
}

/// No head has gone, so the client can be told. The request is put again, for how it wants to be.
void Connection::give_name_up() {
  DiskNode::unlink();
  count_end(ConnectionEnd::DiskTimeout);
  exchange_->disk_timed_out = true;
  set_state(State::ReadHead);
  start();
  worker_.loop().yield(*this);
}

void Connection::name_resolved(const content::FoundName& found) {
  exchange_->names.found.push_back(found);
  set_state(State::ReadHead);
  start();
  worker_.loop().yield(*this);
}

void Connection::wait_for_pages(const egress::WantedPages& pages) {
  const content::FileRef& file = exchange_->response.file;
  PW_CHECK(pages.file == file.get());  // a response sends from one file
  set_state(State::Fetch);
  set_timeout(worker_.settings().timeouts.disk_ms);
  worker_.disk().fetch(*this, file, pages.range);
  exchange_->asked_up_to = std::max(exchange_->asked_up_to, pages.range.end());
}

void Connection::pages_fetched(ByteRange range, const Result<ByteCount>& read) {
  if (!read) {  // EIO: the disk
    const ByteRange wanted = exchange_->transfer.wanted.range;
    if (range == wanted) return break_off(ConnectionEnd::ReadError);
    // Somebody else's pages, maybe: ours may be fine.
    set_timeout(worker_.settings().timeouts.disk_ms);
    return worker_.disk().fetch_alone(*this, exchange_->response.file, wanted);
  }
  worker_.resources().residency.now_ms = worker_.loop().now_ms();
  egress::fetched(exchange_->transfer, range);
  set_state(State::Respond);
  watch_rate();
  read_ahead();
  worker_.loop().yield(*this);
}

/// What Site says is to be read ahead (--readahead SIZE), by a helper where there are any, because
/// that may wait for the disk.
void Connection::begin_ahead() {
  const content::Response& response = exchange_->response;
  if (response.ahead.count.value == 0) return;
  if (worker_.disk().has_helpers()) {
    return worker_.disk().read_ahead(response.file, response.ahead);
  }
  // ESPIPE cannot be: it is a regular file. A filesystem that refuses is served without.
  static_cast<void>(sys::read_ahead(response.file->fd(), response.ahead));
}

/// Has the disk read what a cold stream comes to next, so that it need not stop there.
void Connection::read_ahead() {
  FileOffset& asked = exchange_->asked_up_to;
  const egress::Transfer& transfer = exchange_->transfer;
  if (asked.value == 0 || transfer.finished()) return;
  const content::Segment& segment = transfer.segments[transfer.index];
  if (segment.kind != content::Segment::Kind::File) return;
  const FileOffset cursor = segment.slice.offset + transfer.sent_of_segment;
  const FileOffset end = segment.slice.end();
  if (asked < cursor || end < asked) asked = cursor;  // in another slice now
  if (asked == end || cursor + ahead_size < asked) return;
  const ByteCount count = std::min(ahead_size, ByteCount{end.value - asked.value});
  worker_.disk().read_ahead(exchange_->response.file, {asked, count});
  asked = asked + count;
}

/// The kernel reads from the file for this response, in a thread of its own (uring_splice).
bool Connection::disk_is_read() const {
  if (exchange_ == nullptr) return false;
  const egress::LaneHold& lane = exchange_->transfer.lane;
  return lane.operation >= 0 && !lane.handed_over;
}

/// A rate window is over in which the disk was read. `moved`: and the client has taken something.
void Connection::wait_for_disk_on(bool moved) {
  const Timeouts& timeouts = worker_.settings().timeouts;
  std::int64_t& waited_ms = exchange_->disk_waited_ms;
  waited_ms = moved ? 0 : waited_ms + timeouts.rate_window_ms;
  if (waited_ms >= timeouts.disk_ms) break_off(ConnectionEnd::DiskTimeout);
}

}  // namespace pagewire::server
