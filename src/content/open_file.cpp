// OpenFile: an open descriptor, its status, and the head lines made from that status.
//
// Invariant: lines, validators and (when kept) the body all belong to one fstat(2) result.
// Validators: RFC 9110 8.8. The ETag is strong because inode, size and mtime in nanoseconds change
// whenever a file is replaced by rename or written at another time; each precompressed sibling is a
// file of its own and so has its own.
#include "content/open_file.h"

#include <fmt/format.h>

#include <array>

#include "content/cache_rules.h"
#include "content/mime.h"

namespace pagewire::content {

namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;

void add_line(std::string& lines, std::string_view name, std::string_view value) {
  lines.append(name).append(": ").append(value).append("\r\n");
}

// Last-Modified is left out for an mtime later than Date, which RFC 9110 8.8.2.1 forbids to send,
// and for one at or before the epoch: that is what reproducible builds and image tools write for
// "no time", so that every version of a file has it. Conditions by date are then ignored (13.1.3).
bool is_usable_date(std::int64_t mtime_s, const Now& now) {
  return mtime_s > 0 && mtime_s <= now.realtime_s;
}

void add_validators(EntityHead& head, const sys::FileStatus& status, const Now& now) {
  head.etag = fmt::format("\"{:x}-{:x}-{:x}\"", status.inode, status.size.value,
                          static_cast<std::uint64_t>(status.mtime_ns));
  add_line(head.lines, "ETag", head.etag);

  const std::int64_t mtime_s = status.mtime_ns / ns_per_s;
  head.has_last_modified = is_usable_date(mtime_s, now);
  if (!head.has_last_modified) return;
  std::array<char, http::http_date_size> date{};
  http::format_http_date(mtime_s, date);
  add_line(head.lines, "Last-Modified", {date.data(), date.size()});
}

}  // namespace

EntityHead make_entity_head(const HeadPolicy& policy, const FileName& name,
                            const sys::FileStatus& status, const Now& now) {
  const MediaType& type = media_type(name.path);
  EntityHead head;
  head.content_type = type.name;
  head.has_siblings = policy.precompressed && type.compressible;
  head.lines.reserve(512);
  head.lines = fmt::format("Content-Length: {}\r\n", status.size.value);

  head.from_type = head.lines.size();
  add_line(head.lines, "Content-Type", type.name);

  head.from_ranges = head.lines.size();
  add_line(head.lines, "Accept-Ranges", "bytes");
  if (name.coding != http::Coding::Identity) {
    add_line(head.lines, "Content-Encoding", http::coding_token(name.coding));
  }

  head.from_validators = head.lines.size();
  add_validators(head, status, now);
  const std::string_view cache_control = cache_control_for(policy.cache_rules, name.path);
  if (!cache_control.empty()) add_line(head.lines, "Cache-Control", cache_control);
  // Also when no sibling is there now: a cache must not give a later sibling to everyone, and
  // whether the line is sent must not depend on when the file was opened.
  if (head.has_siblings) add_line(head.lines, "Vary", "Accept-Encoding");
  head.lines += policy.site_lines;
  return head;
}

bool OpenFile::unchanged() const {
  Result<sys::FileStatus> now = sys::status_of(fd());
  // A device (/dev/zero: load generation) has no size; what it was given here is nobody's to
  // change.
  if (now && status_.type == sys::FileType::Other) now->size = status_.size;
  // fstat(2) on an open descriptor fails only when the filesystem itself has gone (ESTALE, EIO).
  return now.has_value() && *now == status_;
}

}  // namespace pagewire::content
