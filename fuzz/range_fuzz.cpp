// Any bytes as a Range field over a representation of any size.
//
// Input: eight bytes of size, one of limits, the field. Beyond not crashing: parts lie within the
// representation, are not empty, neither overlap nor touch, are no more than the limit, together no
// more than the representation; and asking for exactly them selects exactly them.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "http/http.h"

namespace {

using namespace pagewire;
using namespace pagewire::http;
using Kind = RangeSelection::Kind;

constexpr std::size_t prefix_bytes = 9;

std::vector<ByteRange> parts_of(const RangeSelection& selection) {
  return {selection.parts.begin(),
          selection.parts.begin() + static_cast<std::ptrdiff_t>(selection.count)};
}

void check_parts(std::vector<ByteRange> parts, ByteCount size) {
  std::uint64_t total = 0;
  for (const ByteRange& part : parts) {
    PW_CHECK(part.count.value > 0);
    PW_CHECK(part.offset.value < size.value);
    PW_CHECK(part.count.value <= size.value - part.offset.value);
    total += part.count.value;
  }
  PW_CHECK(total <= size.value);
  std::sort(parts.begin(), parts.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.offset < b.offset; });
  for (std::size_t i = 1; i < parts.size(); ++i) PW_CHECK(parts[i - 1].end() < parts[i].offset);
}

void check_asked_again(const RangeSelection& selection, ByteCount size, const RangeLimits& limits) {
  std::string field = "bytes=";
  for (const ByteRange& part : parts_of(selection)) {
    field += std::to_string(part.offset.value) + "-" + std::to_string(part.end().value - 1) + ",";
  }
  const RangeSelection again = select_ranges(field, size, limits);
  PW_CHECK(again.kind == Kind::Partial);
  PW_CHECK(parts_of(again) == parts_of(selection));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < prefix_bytes) return 0;
  std::uint64_t file_size = 0;
  std::memcpy(&file_size, data, sizeof file_size);
  const ByteCount representation{file_size & max_file_size_bytes};
  const RangeLimits limits{.parts = 1U + (data[8] & 15U), .specs = 1U + (data[8] >> 4U) * 5U};
  const std::vector<char> bytes(data + prefix_bytes, data + size);
  const std::string_view field(bytes.data(), bytes.size());

  const RangeSelection selection = select_ranges(field, representation, limits);
  PW_CHECK((selection.kind == Kind::Partial) == (selection.count > 0));
  PW_CHECK(selection.count <= std::min(limits.parts, limits.specs));
  PW_CHECK(selection.kind != Kind::Partial || representation.value > 0);
  check_parts(parts_of(selection), representation);
  if (selection.kind == Kind::Partial) check_asked_again(selection, representation, limits);
  return 0;
}
