// Which path a response takes, and why. Pure: values in, value out, tested as a table.
//
// The order of the rules is the whole policy. Nothing but memory needs no file path, and the choice
// is made before anything else is looked at: such responses are the smallest and the most. What the
// user pinned comes next. Then the rule by size: a small body goes by copy, because one sendmsg of
// head and body is cheaper than two calls, and a large one by sendfile, because copying then costs
// more than the second call. Where a calibration has measured another usable path to be surely
// cheaper at that size than the one of the rule, it takes its place.
//
// Without sendfile the next best depends on why and on where the bytes go. Not in this kernel or
// refused by a filter: splice moves the same pages. Failed in the self-test: splice rests on the
// same code of the filesystem (its splice_read), so that it is not trusted either, whatever it did
// in three transfers. Then zerocopy from a mapping, on a network: over loopback the kernel copies
// and the completions come on top. Then mmap, which copies once; then copy, which copies twice.
//
// TLS whose records are made in user space has one path, tls_copy, whatever the size and the pin.
//
// Two things put a choice aside. A path that sends from a mapping meets pages that are not in
// memory as faults, which stop the whole worker in the kernel, where copy and sendfile can be kept
// waiting before their call (WantPages): a cold body goes by sendfile, a small one by copy. Figures
// of a calibration are of resident pages, and its mapping paths are put aside likewise. And while
// the kernel holds as much memory as it may (the backlog), no path lends it more.
#include "egress/choose.h"

#include "base/check.h"
#include "egress/egress.h"
#include "egress/registry.h"
#include "sys/page_cache.h"

namespace pagewire::egress {

namespace {

using content::Segment;
using Segments = std::span<const Segment>;

bool all_memory(Segments segments) {
  for (const Segment& segment : segments) {
    if (segment.kind != Segment::Kind::Memory) return false;
  }
  return true;
}

ByteCount total_size(Segments segments) {
  ByteCount total;
  for (const Segment& segment : segments) total += segment.size();
  return total;
}

bool can_take(const Path* path, const ChooseInput& input, const WorkerFacts& facts) {
  return path != nullptr && facts.usable.contains(*path) &&
         path->fits(input.segments, input.transport);
}

/// Whether `path` must not have this response now, and why.
struct Hindrance {
  bool hinders = false;
  Reason reason = Reason::ColdBody;
};

Hindrance hindrance(const Path& path, const ChooseInput& input, const WorkerFacts& facts) {
  if (input.residency == Residency::Cold && facts.maps.contains(path)) {
    return {.hinders = true, .reason = Reason::ColdBody};
  }
  if (input.backlog >= facts.backlog_limit && facts.pins.contains(path)) {
    return {.hinders = true, .reason = Reason::Backlog};
  }
  return {};
}

Choice without_sendfile(const ChooseInput& input, const WorkerFacts& facts) {
  const bool failed = facts.sendfile != nullptr && facts.quarantined.contains(*facts.sendfile);
  Choice choice{.path = &copy_path, .reason = failed ? Reason::Quarantined : Reason::NoSendfile};
  const Path* const in_order[] = {failed ? nullptr : facts.splice,
                                  input.route == Route::Network ? facts.zerocopy : nullptr,
                                  facts.mmap};
  for (const Path* const path : in_order) {
    if (!can_take(path, input, facts)) continue;
    const Hindrance found = hindrance(*path, input, facts);
    if (!found.hinders) {
      choice.path = path;
      return choice;
    }
    choice.reason = found.reason;
  }
  return choice;
}

Choice by_rule(ByteCount body, const ChooseInput& input, const WorkerFacts& facts) {
  if (body <= facts.settings.small_body) return {&copy_path, Reason::SmallBody};
  if (can_take(facts.sendfile, input, facts)) return {facts.sendfile, Reason::LargeBody};
  return without_sendfile(input, facts);
}

/// The measured size that is next to `body`, on a scale of doublings. Above the largest one a byte
/// costs what it costs there; much below the smallest one nothing is known.
const CostsAtSize* costs_near(ByteCount body, const std::vector<CostsAtSize>& costs) {
  if (costs.empty() || body.value < costs.front().size.value / 2) return nullptr;
  const CostsAtSize* nearest = &costs.front();
  for (const CostsAtSize& here : costs) {
    // Beyond the geometric mean of the two: body^2 > a * b, without its overflow.
    const double a = static_cast<double>(nearest->size.value);
    const double b = static_cast<double>(here.size.value);
    const double size = static_cast<double>(body.value);
    if (size * size < a * b) break;
    nearest = &here;
  }
  return nearest;
}

/// The cheapest usable path, where it is surely cheaper than the one of the rule; else the rule's.
Choice calibrated(const Choice& rule, ByteCount body, const ChooseInput& input,
                  const WorkerFacts& facts) {
  const CostsAtSize* const here = costs_near(body, facts.settings.costs);
  if (here == nullptr) return rule;
  const Cost* ours = nullptr;
  for (const Cost& cost : here->costs) {
    if (cost.path == rule.path) ours = &cost;
  }
  if (ours == nullptr) return rule;  // not measured, or not well enough: nothing to compare with
  Choice choice = rule;
  for (const Cost& cost : here->costs) {
    if (cost.high >= ours->low || !can_take(cost.path, input, facts)) continue;
    const Hindrance found = hindrance(*cost.path, input, facts);
    if (!found.hinders) return {cost.path, Reason::Calibrated};
    choice.reason = found.reason;
  }
  return choice;
}

}  // namespace

Choice choose(const ChooseInput& input, const WorkerFacts& facts) {
  const bool user_tls = input.transport.kind == Transport::Kind::UserTls;
  const Path* const for_memory = user_tls ? &tls_copy_path : &copy_path;
  if (input.segments.size() <= 1) return {for_memory, Reason::HeadOnly};
  const Segments body = input.segments.subspan(1);
  if (all_memory(body)) return {for_memory, Reason::InMemory};
  if (user_tls) {
    return {&tls_copy_path, facts.settings.pinned == nullptr ? Reason::TlsUser : Reason::PinUnfit};
  }

  const Path* const pinned = facts.settings.pinned;
  if (can_take(pinned, input, facts)) return {pinned, Reason::Pinned};
  const ByteCount size = total_size(body);
  Choice choice = by_rule(size, input, facts);
  if (!facts.settings.costs.empty()) choice = calibrated(choice, size, input, facts);
  choice.unless_cold = input.residency == Residency::Unknown && facts.maps.contains(*choice.path);
  if (pinned != nullptr) choice.reason = Reason::PinUnfit;
  return choice;
}

Choice choose_now(const ChooseInput& input, const WorkerFacts& facts) {
  const Choice choice = choose(input, facts);
  if (!choice.unless_cold) return choice;
  ChooseInput known = input;
  for (const Segment& segment : input.segments) {
    if (segment.kind != Segment::Kind::File) continue;
    const ByteRange first_byte{segment.slice.offset, ByteCount{1}};
    const bool there = sys::resident_prefix(segment.file->fd(), first_byte).value > 0;
    known.residency = there ? Residency::Resident : Residency::Cold;
    break;
  }
  return choose(known, facts);
}

WorkerFacts::WorkerFacts(ChooserSettings chooser, PathSet usable_paths, PathSet quarantined_paths,
                         ByteCount backlog_limit_bytes)
    : settings(std::move(chooser)),
      usable(usable_paths),
      quarantined(quarantined_paths),
      sendfile(find_path("sendfile")),
      splice(find_path("splice")),
      mmap(find_path("mmap")),
      zerocopy(find_path("zerocopy")),
      backlog_limit(backlog_limit_bytes) {
  for (const Path* const path : paths()) {
    if (path->maps_file) maps.insert(*path);
    if (path->lends_memory) pins.insert(*path);
  }
}

bool WorkerFacts::may_choose(const Path& path) const {
  if (!usable.contains(path)) return false;
  if (settings.pinned == &path) return true;
  if (&path == sendfile || &path == splice || &path == mmap || &path == zerocopy) return true;
  for (const CostsAtSize& here : settings.costs) {
    for (const Cost& cost : here.costs) {
      if (cost.path == &path) return true;
    }
  }
  return &path == &copy_path;
}

PathSet::PathSet(std::initializer_list<const Path*> paths) {
  for (const Path* const path : paths) insert(*path);
}

void PathSet::insert(const Path& path) {
  bits_ |= std::uint32_t{1} << index_of(path);
}

void PathSet::erase(const Path& path) {
  bits_ &= ~(std::uint32_t{1} << index_of(path));
}

bool PathSet::contains(const Path& path) const {
  const std::span<const Path* const> all = paths();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] == &path) return (bits_ >> i & 1U) != 0;
  }
  return false;
}

std::string_view token(Reason reason) {
  switch (reason) {
    case Reason::HeadOnly:
      return "head-only";
    case Reason::InMemory:
      return "in-memory";
    case Reason::SmallBody:
      return "small-body";
    case Reason::LargeBody:
      return "large-body";
    case Reason::Pinned:
      return "pinned";
    case Reason::PinUnfit:
      return "pin-unfit";
    case Reason::Calibrated:
      return "calibrated";
    case Reason::Quarantined:
      return "quarantined";
    case Reason::NoSendfile:
      return "no-sendfile";
    case Reason::ColdBody:
      return "cold-body";
    case Reason::Backlog:
      return "backlog";
    case Reason::TlsUser:
      return "tls-user";
  }
  return "";
}

}  // namespace pagewire::egress
