// Any bytes as the beginning of a connection that must carry a PROXY header.
//
// Beyond not crashing: a header lies within the bytes and its limit; all of its true prefixes need
// more and nothing behind it changes it; what is bad stays bad; and its addresses, written in
// either version, are read back as the same.
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "relay/proxy_protocol.h"

namespace {

using namespace pagewire::relay;
using Kind = ProxyHeader::Kind;

/// A copy of exactly that many bytes, so that the sanitizer sees a read beyond them.
ProxyHeader parse_first(const std::vector<char>& bytes, std::size_t count) {
  const std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  return parse_proxy_header(part);
}

bool same(const ProxyAddresses& a, const ProxyAddresses& b) {
  return a.source.to_string() == b.source.to_string() &&
         a.destination.to_string() == b.destination.to_string();
}

void check_written(const ProxyAddresses& addresses) {
  for (const ProxyVersion version : {ProxyVersion::V1, ProxyVersion::V2}) {
    std::array<char, max_written_proxy_bytes> room{};
    const std::string_view header = write_proxy_header(version, addresses, room);
    const ProxyHeader again = parse_proxy_header(std::span(header.data(), header.size()));
    PW_CHECK(again.kind == Kind::Parsed && !again.local);
    PW_CHECK(again.length == header.size());
    PW_CHECK(same(again.addresses, addresses));
  }
}

}  // namespace

/// The first byte says where to cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::vector<char> bytes(data + 1, data + size);
  const ProxyHeader whole = parse_proxy_header(bytes);
  const std::size_t cut = bytes.empty() ? 0 : data[0] * bytes.size() / 256U;
  const ProxyHeader before = parse_first(bytes, cut);
  switch (whole.kind) {
    case Kind::NeedMore:
      PW_CHECK(bytes.size() < max_proxy_header_bytes);
      PW_CHECK(before.kind == Kind::NeedMore);
      break;
    case Kind::Bad:
      PW_CHECK(!whole.why.empty());
      PW_CHECK(before.kind != Kind::Parsed);
      break;
    case Kind::Parsed:
      PW_CHECK(whole.length <= bytes.size() && whole.length <= max_proxy_header_bytes);
      PW_CHECK(parse_first(bytes, whole.length - 1).kind == Kind::NeedMore);
      PW_CHECK(before.kind == (cut < whole.length ? Kind::NeedMore : Kind::Parsed));
      PW_CHECK(parse_first(bytes, whole.length).length == whole.length);
      if (!whole.local) check_written(whole.addresses);
      break;
  }
  return 0;
}
