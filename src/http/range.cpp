// range: which bytes of a representation a Range field selects.
//
// Invariant: the parts lie within the representation, are not empty, and no two of them overlap or
// touch; so what is sent is never more than the representation has.
// Relies on RFC 9110 sections 14.1.1, 14.1.2, 14.2 and, for what is refused, 17.15.
#include <algorithm>
#include <optional>

#include "http/http.h"
#include "http/text.h"

namespace pagewire::http {
namespace {

using Kind = RangeSelection::Kind;

// RFC 9110 14.2 calls a set with more than two overlapping ranges a sign of an attack.
constexpr std::size_t max_overlapping_pairs = 2;

// One range-spec as it was sent: first-last, first- or (suffix) -last.
struct Spec {
  bool is_suffix = false;
  std::uint64_t first = 0;
  std::uint64_t last = max_file_size_bytes;
};

std::optional<std::string_view> after_bytes_unit(std::string_view field);
std::optional<Spec> parse_spec(std::string_view text);
std::optional<std::uint64_t> parse_saturating(std::string_view digits);
std::optional<ByteRange> satisfiable(const Spec& spec, ByteCount size);
std::size_t count_overlaps(std::span<const ByteRange> asked, ByteRange next);
void coalesce(RangeSelection& selection, ByteRange next);

RangeSelection& outcome(RangeSelection& selection, Kind kind) {
  selection.kind = kind;
  if (kind != Kind::Partial) selection.count = 0;
  return selection;
}

}  // namespace

RangeSelection select_ranges(std::string_view field, ByteCount size, const RangeLimits& limits) {
  RangeSelection selection;
  const std::optional<std::string_view> set = after_bytes_unit(field);
  if (!set) return outcome(selection, Kind::Whole);

  // What was asked, next to selection.parts, which is what is left of it after coalescing.
  std::array<ByteRange, RangeSelection::max_parts> asked;
  std::size_t asked_count = 0;
  std::size_t spec_count = 0;
  std::size_t overlaps = 0;
  const std::size_t max_specs = std::min(limits.specs, asked.size());
  for (std::string_view rest = *set; !rest.empty();) {
    const std::string_view element = take_until(',', rest);
    if (element.empty()) continue;
    const std::optional<Spec> spec = parse_spec(element);
    if (!spec) return outcome(selection, Kind::Whole);
    if (++spec_count > max_specs) return outcome(selection, Kind::Refused);
    const std::optional<ByteRange> range = satisfiable(*spec, size);
    if (!range) continue;
    overlaps += count_overlaps({asked.data(), asked_count}, *range);
    if (overlaps > max_overlapping_pairs) return outcome(selection, Kind::Refused);
    asked[asked_count++] = *range;
    coalesce(selection, *range);
  }
  if (spec_count == 0) return outcome(selection, Kind::Whole);  // an empty set is a syntax error
  if (selection.count == 0) return outcome(selection, Kind::Unsatisfiable);
  if (selection.count > limits.parts) return outcome(selection, Kind::Whole);
  return outcome(selection, Kind::Partial);
}

namespace {

std::optional<std::string_view> after_bytes_unit(std::string_view field) {
  const std::size_t equals = field.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  if (!equals_ignoring_case(field.substr(0, equals), "bytes")) return std::nullopt;
  return field.substr(equals + 1);
}

std::optional<Spec> parse_spec(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view before = text.substr(0, dash);
  const std::string_view after = text.substr(dash + 1);
  Spec spec{.is_suffix = before.empty()};
  if (!spec.is_suffix) {
    const std::optional<std::uint64_t> first = parse_saturating(before);
    if (!first) return std::nullopt;
    spec.first = *first;
    if (after.empty()) return spec;
  }
  const std::optional<std::uint64_t> last = parse_saturating(after);
  if (!last || *last < spec.first) return std::nullopt;
  spec.last = *last;
  return spec;
}

std::optional<std::uint64_t> parse_saturating(std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (!is_decimal(c)) return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    value = value > (max_file_size_bytes - digit) / 10 ? max_file_size_bytes : value * 10 + digit;
  }
  return value;
}

std::optional<ByteRange> satisfiable(const Spec& spec, ByteCount size) {
  if (spec.is_suffix) {
    const std::uint64_t count = std::min(spec.last, size.value);
    // A suffix of an empty representation has no first byte that Content-Range could name.
    if (count == 0) return std::nullopt;
    return ByteRange{FileOffset{size.value - count}, ByteCount{count}};
  }
  if (spec.first >= size.value) return std::nullopt;
  const std::uint64_t last = std::min(spec.last, size.value - 1);
  return ByteRange{FileOffset{spec.first}, ByteCount{last - spec.first + 1}};
}

std::size_t count_overlaps(std::span<const ByteRange> asked, ByteRange next) {
  return static_cast<std::size_t>(
      std::count_if(asked.begin(), asked.end(), [next](const ByteRange& other) {
        return next.offset < other.end() && other.offset < next.end();
      }));
}

// Puts `next` in. The parts before it neither overlap nor touch, so joining one of them with `next`
// cannot make it reach another that `next` alone does not reach: one pass is enough. The joined
// part stands where the first of its members stood, for that is the order the client asked in.
void coalesce(RangeSelection& selection, ByteRange next) {
  std::size_t kept = 0;
  std::optional<std::size_t> place;
  for (std::size_t i = 0; i < selection.count; ++i) {
    const ByteRange part = selection.parts[i];
    if (next.offset > part.end() || part.offset > next.end()) {
      selection.parts[kept++] = part;
      continue;
    }
    const FileOffset begin = std::min(next.offset, part.offset);
    const FileOffset end = std::max(next.end(), part.end());
    next = ByteRange{begin, ByteCount{end.value - begin.value}};
    if (!place) place = kept++;
  }
  selection.parts[place.value_or(kept)] = next;
  selection.count = place ? kept : kept + 1;
}

}  // namespace
}  // namespace pagewire::http
