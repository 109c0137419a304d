// A connection that waits for a disk helper: for what a name leads to, or for a file's next pages.
//
// The client is not to blame for our disk: neither the idle time nor the minimum rate runs
// meanwhile, only Timeouts::disk_ms.
#include "base/check.h"
#include "server/connection.h"

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

void Connection::name_resolved(const std::string& key, const content::Lookup& found) {
  exchange_->names.found.emplace_back(key, found);
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
  if (!read) return break_off(ConnectionEnd::ReadError);  // EIO: the disk
  worker_.resources().residency.now_ms = worker_.loop().now_ms();
  egress::fetched(exchange_->transfer, range);
  set_state(State::Respond);
  watch_rate();
  read_ahead();
  worker_.loop().yield(*this);
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

}  // namespace pagewire::server
