// Which path a response takes, and why. Pure: values in, value out, tested as a table.
//
// The order of the rules is the whole policy: nothing but memory needs no file path; what the user
// pinned comes next; then a small body goes by copy, because one sendmsg of head and body is
// cheaper than two calls, and a large one by sendfile, because copying then costs more than the
// second call.
#include "egress/registry.h"

namespace pagewire::egress {

namespace {

using Segments = std::span<const content::Segment>;

bool all_memory(Segments segments) {
  for (const content::Segment& segment : segments) {
    if (segment.kind != content::Segment::Kind::Memory) return false;
  }
  return true;
}

ByteCount total_size(Segments segments) {
  ByteCount total;
  for (const content::Segment& segment : segments) total += segment.size();
  return total;
}

}  // namespace

Choice choose(Segments segments, const Transport& transport, const ChooserSettings& settings) {
  if (segments.size() <= 1) return {&copy_path, Reason::HeadOnly};
  const Segments body = segments.subspan(1);
  if (all_memory(body)) return {&copy_path, Reason::InMemory};

  const Path* const pinned = settings.pinned;
  const bool pin_fits =
      pinned != nullptr && settings.pinned_available && pinned->fits(segments, transport);
  if (pin_fits) return {pinned, Reason::Pinned};

  const bool small = total_size(body) <= settings.small_body;
  const bool copied = small || !sendfile_path.fits(segments, transport);
  const Reason by_size = small ? Reason::SmallBody : Reason::LargeBody;
  return {copied ? &copy_path : &sendfile_path, pinned != nullptr ? Reason::PinUnfit : by_size};
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
  }
  return "";
}

}  // namespace pagewire::egress
