// The looks at the page cache. See residency.h.
//
// Invariant: a transfer always gets on. What a helper has fetched is stepped over once, however
// long ago it was, and for a moment more often, even if the kernel goes on saying that it is not
// there: on some filesystems it never is (FUSE with direct_io, some network ones), and beyond the
// end of a truncated file there is nothing to fetch. Rests on cachestat(2), preadv2(2)
// (sys/page_cache.h).
#include "egress/residency.h"

#include "sys/file.h"
#include "sys/page_cache.h"

namespace pagewire::egress {

namespace {

using content::OpenFile;
using content::Segment;

/// One look covers so much: enough to be rare in a hot transfer, little enough to be quick.
constexpr ByteCount look_size{2 * mib};

/// How long a transfer believes its own look: it passes each page once, so that one evicted
/// meanwhile is a rare accident.
constexpr std::int64_t own_look_trusted_ms = 100;

/// How long others believe it. A hot file passes the same pages always: believed for longer than
/// the time between two of its requests, a look would never be made before the page that was
/// evicted is missed, however rarely that happens. DAMON, for one, takes pages that sendfile alone
/// uses for unused ones.
constexpr std::int64_t look_trusted_ms = 1;

/// How long what was fetched is stepped over unseen. Longer than the wait for a turn; short enough
/// that a slow reader's pages, evicted while they wait for it, are fetched again and not waited
/// for.
constexpr std::int64_t fetch_trusted_ms = 1'000;

/// How long every page of a file that was cold is asked for: while a disk is reading, what is there
/// has gaps of any size.
constexpr std::int64_t cold_memory_ms = 10'000;

bool contains(ByteRange range, FileOffset offset) {
  return range.offset <= offset && offset < range.end();
}

/// The first `size` bytes of `rest`, or some fewer, so that the next part begins at a round offset.
ByteRange first_part(ByteRange rest, ByteCount size) {
  constexpr std::uint64_t round = 128 * kib;
  const FileOffset end{(rest.offset + size).value / round * round};
  return {rest.offset, ByteCount{std::min(end, rest.end()).value - rest.offset.value}};
}

/// Part of `range` is not enough: a step that ends where the knowledge does would be a short one.
bool covers(const content::SeenPages& seen, ByteRange range) {
  return contains(seen.range, range.offset) && range.end() <= seen.range.end();
}

bool was_fetched(const Transfer& transfer, const OpenFile& file, FileOffset offset) {
  const ResidencyGate& gate = transfer.resources->residency;
  return transfer.wanted.file == &file && contains(transfer.fetched.range, offset) &&
         (transfer.just_fetched || gate.now_ms - transfer.fetched.at_ms < fetch_trusted_ms);
}

void want(Transfer& transfer, const OpenFile& file, ByteRange range) {
  file.cold_at_ms() = transfer.resources->residency.now_ms;
  transfer.wanted = {&file, first_part(range, fetch_size)};
}

/// Adds to what other transfers of the file may believe. Neighbouring looks become one range, as
/// old as the oldest of them.
void note(const OpenFile& file, const content::SeenPages& seen, const ResidencyGate& gate) {
  content::SeenPages& known = file.seen();
  const bool fresh = gate.now_ms - known.at_ms < look_trusted_ms;
  const bool adjoins =
      known.range.offset <= seen.range.offset && seen.range.offset <= known.range.end();
  if (!fresh || !adjoins) {
    known = seen;
    return;
  }
  const FileOffset end = std::max(known.range.end(), seen.range.end());
  known.range.count = ByteCount{end.value - known.range.offset.value};
}

/// How much of `rest`, the rest of a slice, may be sent; at most `most`.
ByteCount resident_run(Transfer& transfer, const OpenFile& file, ByteRange rest, ByteCount most) {
  ResidencyGate& gate = transfer.resources->residency;
  const ByteRange next{rest.offset, most};
  const auto age_ms = [&](const content::SeenPages& seen) { return gate.now_ms - seen.at_ms; };
  if (transfer.seen_file == &file && covers(transfer.seen, next) &&
      age_ms(transfer.seen) < own_look_trusted_ms) {
    return most;
  }
  if (covers(file.seen(), next) && age_ms(file.seen()) < look_trusted_ms) return most;

  ++gate.looks;
  const std::int64_t cold_at_ms = file.cold_at_ms();
  const bool was_cold = cold_at_ms != 0 && gate.now_ms - cold_at_ms < cold_memory_ms;
  // A sampled look can be shared, which small files' are.
  const bool reads_tell = transfer.path->reads_nowait && (was_cold || rest.count >= look_size);
  const sys::Look look = reads_tell ? sys::Look::Present
                         : was_cold ? sys::Look::EveryPage
                                    : sys::Look::Sampled;
  const ByteCount reach = look == sys::Look::EveryPage ? fetch_size : look_size;
  const ByteRange part = first_part(rest, reach);
  ByteCount run = sys::resident_prefix(file.fd(), part, look);
  gate.asked += part.count;
  gate.found += run;
  if (run.value == 0 && was_fetched(transfer, file, rest.offset)) {
    ++gate.unseen;
    run = std::min(ByteCount{transfer.fetched.range.end().value - rest.offset.value}, rest.count);
  }
  if (run.value == 0) return {};
  transfer.seen = {.range = {rest.offset, run}, .at_ms = gate.now_ms};
  transfer.seen_file = &file;
  // What is being read only now is nothing that others may believe.
  if (look != sys::Look::Present) note(file, transfer.seen, gate);
  return std::min(run, most);
}

}  // namespace

ByteCount resident_ahead(Transfer& transfer, ByteCount quantum) {
  ByteCount found;
  ByteCount gone = transfer.sent_of_segment;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) {
    const ByteCount size = segment.size() - gone;
    const FileOffset offset = segment.slice.offset + gone;
    gone = {};
    if (segment.kind == Segment::Kind::Memory || size.value == 0) continue;
    const ByteCount most = std::min(size, quantum - found);
    const ByteCount run = resident_run(transfer, *segment.file, {offset, size}, most);
    found += run;
    if (run < most) {
      if (found.value == 0) want(transfer, *segment.file, {offset, size});
      return found;
    }
    if (found == quantum) break;
  }
  return quantum;
}

Attempt read_resident(Transfer& transfer, const OpenFile& file, ByteRange rest,
                      std::span<char> into) {
  const FileOffset offset = rest.offset;
  const auto failed = [](Error error) {  // EIO: the disk
    Attempt attempt = stopped(Status::Failed);
    attempt.error = error;
    return attempt;
  };
  const auto read = [&](ByteCount count) {
    Attempt attempt = stopped(Status::Moved);
    attempt.count = count;
    attempt.asked = ByteCount{into.size()};
    return attempt;
  };
  if (transfer.resources->residency.on) {
    const Result<sys::CachedRead> got = sys::read_cached_at(file.fd(), offset, into);
    if (!got) return failed(got.error());
    if (got->count.value == into.size()) return read(got->count);
    if (!got->would_wait) return stopped(Status::SourceTruncated);
    if (got->count.value > 0) return read(got->count);
  }
  if (!transfer.resources->residency.on || was_fetched(transfer, file, offset)) {
    // What a helper has read and is gone again is waited for, so that the transfer gets on; but
    // never more than that.
    const std::uint64_t most = transfer.resources->residency.on
                                   ? transfer.fetched.range.end().value - offset.value
                                   : into.size();
    const std::span<char> part = into.first(std::min<std::uint64_t>(into.size(), most));
    const Result<ByteCount> got = sys::read_at(file.fd(), offset, part);
    if (!got) return failed(got.error());
    return got->value < part.size() ? stopped(Status::SourceTruncated) : read(*got);
  }
  // Evicted since the look, or still being read.
  transfer.seen_file = nullptr;
  file.seen() = {};
  want(transfer, file, rest);
  return stopped(Status::WantPages);
}

void fetched(Transfer& transfer, ByteRange range) {
  const std::int64_t now_ms = transfer.resources->residency.now_ms;
  transfer.fetched = {.range = range, .at_ms = now_ms};
  transfer.just_fetched = true;
  transfer.seen = transfer.fetched;
  transfer.seen_file = transfer.wanted.file;
}

Result<void> fetch_in_place(Transfer& transfer) {
  const WantedPages& wanted = transfer.wanted;
  const Result<ByteCount> read =
      sys::fetch_pages(wanted.file->fd(), wanted.range, transfer.resources->scratch);
  if (!read) return tl::unexpected(read.error());
  fetched(transfer, wanted.range);
  return {};
}

}  // namespace pagewire::egress
