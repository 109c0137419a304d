// Any bytes as a request head, and every field of it to whoever reads that field.
//
// Beyond not crashing: the verdict of the scan does not depend on how bytes arrive, a complete head
// has no bare line end or control byte in it, every view points into the input, and what is
// accepted has one meaning only (one framing, a path, a host).
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "http/http.h"

namespace {

using namespace pagewire;
using namespace pagewire::http;
using State = HeadScan::State;

// Small enough that the fuzzer reaches every limit.
constexpr HeadLimits limits{.head_bytes = 600, .target_bytes = 120, .fields = 12};

void check_splits(std::string_view input, const HeadScan& whole) {
  HeadScan scan;
  for (std::size_t size = 0; size <= input.size(); ++size) {
    scan = scan_head(input.substr(0, size), scan.resume, limits);
    PW_CHECK(scan.resume <= size && scan.end <= size);
    if (scan.state != State::Incomplete) break;
    if (size % 13 != input.size() % 13) continue;  // every split point of some input, and fast
    const HeadScan rest = scan_head(input, scan.resume, limits);
    PW_CHECK(rest.state == whole.state && rest.end == whole.end);
  }
  PW_CHECK(scan.state == whole.state && scan.leading == whole.leading && scan.end == whole.end);
}

void check_lines(std::string_view head) {
  PW_CHECK(head.ends_with("\r\n\r\n"));
  PW_CHECK(head.find("\r\n\r\n") == head.size() - 4);
  for (std::size_t i = 0; i < head.size(); ++i) {
    const auto byte = static_cast<unsigned char>(head[i]);
    if (head[i] == '\n') PW_CHECK(i > 0 && head[i - 1] == '\r');
    if (head[i] == '\r') PW_CHECK(head[i + 1] == '\n');
    PW_CHECK(byte >= 0x20 || byte == '\t' || byte == '\r' || byte == '\n');
  }
}

void check_view(std::string_view view, std::string_view head) {
  if (view.empty()) return;
  PW_CHECK(view.data() >= head.data());
  PW_CHECK(view.data() + view.size() <= head.data() + head.size());
  PW_CHECK(view.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
}

void check_views(const Request& request, std::string_view head) {
  for (const std::string_view view :
       {request.method_text, request.target, request.query, request.host,
        request.range.value_or(std::string_view{}), request.if_range, request.if_modified_since,
        request.if_unmodified_since, request.origin, request.user_agent, request.referer}) {
    check_view(view, head);
  }
  if (request.path != "/") check_view(request.path, head);
  for (const FieldLines* lines :
       {&request.if_match, &request.if_none_match, &request.accept_encoding, &request.accept}) {
    PW_CHECK(lines->count <= FieldLines::capacity);
    for (std::size_t i = 0; i < lines->count; ++i) check_view(lines->lines[i], head);
  }
}

void check_accepted(const Request& request) {
  PW_CHECK(!request.method_text.empty() && !request.target.empty());
  PW_CHECK(request.target.size() <= limits.target_bytes);
  PW_CHECK(request.path.starts_with('/'));
  PW_CHECK(request.version == Version::Http10 || !request.host.empty());
  PW_CHECK(!request.asterisk || request.method == Method::Options);
  PW_CHECK(request.body != BodyKind::Chunked || request.version == Version::Http11);
  PW_CHECK(request.body == BodyKind::Length || request.content_length.value == 0);
  PW_CHECK(request.content_length.value <= max_file_size_bytes);
  for (const char c : request.target) PW_CHECK(c > ' ' && c <= '~' && c != '#');
}

void check_date(std::string_view text) {
  const auto seconds = parse_http_date(text);
  if (!seconds || *seconds < 0 || *seconds > 253'402'300'799) return;
  std::array<char, http_date_size> written;
  format_http_date(*seconds, written);
  PW_CHECK(parse_http_date({written.data(), written.size()}) == seconds);
}

void read_every_field(const Request& request) {
  const Validators validators{.etag = "\"a\"", .last_modified_s = 784'111'777};
  const Precondition precondition = evaluate_preconditions(request, validators);
  const bool conditional = request.if_match.present() || request.if_none_match.present() ||
                           !request.if_modified_since.empty() ||
                           !request.if_unmodified_since.empty();
  PW_CHECK(conditional || precondition == Precondition::Proceed);
  PW_CHECK(!request.if_range.empty() || if_range_holds(request, validators));
  check_date(request.if_modified_since);
  check_date(request.if_unmodified_since);
  const CodingWeights weights = parse_accept_encoding(request.accept_encoding);
  for (const unsigned weight : {weights.brotli, weights.zstd, weights.gzip, weights.identity}) {
    PW_CHECK(weight <= 1000);
  }
  PW_CHECK(preferred_codings(weights).count <= 4);
  PW_CHECK(request.accept.present() || !prefers_json(request.accept));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> bytes(data, data + size);  // ends where the address sanitizer sees it
  const std::string_view input(bytes.data(), bytes.size());
  const HeadScan scan = scan_head(input, 0, limits);
  check_splits(input, scan);

  // parse_head() must stand any bytes, not only what the scan lets through.
  Request raw;
  if (parse_head(input, limits, raw).status == 0) PW_CHECK(scan.state == State::Complete);
  check_views(raw, input);
  if (scan.state != State::Complete) return 0;

  PW_CHECK(scan.end <= input.size() && scan.end - scan.leading <= limits.head_bytes);
  const std::string_view head = input.substr(scan.leading, scan.end - scan.leading);
  check_lines(head);
  Request request;
  const HeadFault fault = parse_head(head, limits, request);
  check_views(request, head);
  PW_CHECK((fault.status == 0) == (std::strlen(fault.why) == 0));
  if (fault.status == 0) {
    check_accepted(request);
    read_every_field(request);
  }
  return 0;
}
