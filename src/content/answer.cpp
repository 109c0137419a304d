// Answers: heads from ready-made lines, and the list of segments behind them.
//
// Invariant: Content-Length is the sum of the segments after the head, except for HEAD (which says
// what GET would have) and for 204 and 304 (which have none, RFC 9110 8.6).
// RFC 9110: 13.2.2 order of conditions, 14 ranges, 15 what each status carries; Fetch standard:
// CORS.
#include "content/answer.h"

#include "base/check.h"
#include "content/error_body.h"
#include "content/escape.h"

namespace pagewire::content {

namespace {

http::HeadWriter begin_head(const Exchange& exchange, int status);
std::string_view connection_line(const Exchange& exchange);
void end_head(const Exchange& exchange, http::HeadWriter& head);
bool has_conditions(const http::Request& request);
http::Precondition evaluate(const Exchange& exchange, const OpenFile& file);
http::RangeSelection::Kind ranges_of(const Exchange& exchange, const OpenFile& file,
                                     const http::RangeLimits& limits,
                                     http::RangeSelection& selection);
void answer_whole(const Exchange& exchange, const FileRef& file);
void answer_part(const Exchange& exchange, const FileRef& file, ByteRange part);
void answer_parts(const Exchange& exchange, const FileRef& file,
                  const http::RangeSelection& selection, BoundaryMaker& boundaries);
void answer_not_modified(const Exchange& exchange, const OpenFile& file);
void answer_unsatisfiable(const Exchange& exchange, ByteCount size, std::string_view why);
void append_query(std::string& text, std::string_view query);

}  // namespace

void answer_file(const Exchange& exchange, const FileRef& file, const http::RangeLimits& limits,
                 BoundaryMaker& boundaries) {
  if (has_conditions(exchange.request)) {
    switch (evaluate(exchange, *file.get())) {
      case http::Precondition::NotModified:
        return answer_not_modified(exchange, *file.get());
      case http::Precondition::Failed:
        return answer_error(exchange, 412, "the file is not the one that the request is about");
      case http::Precondition::Proceed:
        break;
    }
  }
  // Range is defined for GET alone (RFC 9110 14.2): HEAD is told of the whole.
  if (!exchange.request.range || exchange.request.method != http::Method::Get) {
    return answer_whole(exchange, file);
  }
  http::RangeSelection selection;
  switch (ranges_of(exchange, *file.get(), limits, selection)) {
    case http::RangeSelection::Kind::Whole:
      return answer_whole(exchange, file);
    case http::RangeSelection::Kind::Partial:
      return selection.count == 1 ? answer_part(exchange, file, selection.parts[0])
                                  : answer_parts(exchange, file, selection, boundaries);
    case http::RangeSelection::Kind::Unsatisfiable:
      return answer_unsatisfiable(exchange, file->status().size, "no such range in the file");
    case http::RangeSelection::Kind::Refused:
      return answer_unsatisfiable(exchange, file->status().size, "too many or overlapping ranges");
  }
}

void answer_error(const Exchange& exchange, int status, std::string_view why,
                  std::string_view lines) {
  Response& response = exchange.response;
  const bool json = http::prefers_json(exchange.request.accept);
  response.text.clear();
  (json ? append_error_json : append_error_text)(response.text, status, why);

  http::HeadWriter head = begin_head(exchange, status);
  head.field("Content-Type", json ? "application/json" : "text/plain; charset=utf-8");
  head.field("Content-Length", response.text.size());
  // A segment that is not there yet will be in a second: no cache may keep the 404.
  head.field("Cache-Control", "no-cache");
  head.raw(lines);
  head.raw(exchange.site_lines);
  end_head(exchange, head);
  if (exchange.request.method != http::Method::Head) {
    response.add(Segment::of_memory(response.text));
  }
}

void answer_page(const Exchange& exchange) {
  Response& response = exchange.response;
  http::HeadWriter head = begin_head(exchange, 200);
  head.field("Content-Type", "text/html; charset=utf-8");
  head.field("Content-Length", response.text.size());
  head.field("Cache-Control", "no-cache");
  head.raw(exchange.site_lines);
  end_head(exchange, head);
  if (exchange.request.method != http::Method::Head) {
    response.add(Segment::of_memory(response.text));
  }
}

// The Location may be longer than the head's buffer (a target has up to 8 KiB, three times that
// when every byte needs an escape), so this head is made in response.text.
//
// It is a path and starts with exactly one slash, because a resolved path has no empty component:
// "//host/" would be a reference to another host.
void answer_redirect(const Exchange& exchange, std::string_view path) {
  Response& response = exchange.response;
  http::HeadWriter head = begin_head(exchange, 301);
  head.raw("Content-Length: 0\r\n");
  head.raw(exchange.site_lines);
  head.raw(connection_line(exchange));
  PW_CHECK(!head.overflowed());

  std::string& text = response.text;
  text.assign(head.text());
  text.append("Location: /");
  append_percent_encoded(text, path);
  text.push_back('/');
  append_query(text, exchange.request.query);
  text.append("\r\n\r\n");
  response.add(Segment::of_memory(text));
}

void answer_options(const Exchange& exchange, bool cors) {
  http::HeadWriter head = begin_head(exchange, 204);
  head.raw(allow_line);
  if (cors && exchange.request.is_preflight) {
    // What players send beside the simple fields: ranges, conditions, and CTA-5004 (CMCD).
    head.raw(
        "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
        "Access-Control-Allow-Headers: Range, If-Range, If-Match, If-None-Match, "
        "If-Modified-Since, If-Unmodified-Since, Cache-Control, "
        "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status\r\n"
        "Access-Control-Max-Age: 86400\r\n");
  }
  head.raw(exchange.site_lines);
  end_head(exchange, head);
}

namespace {

http::HeadWriter begin_head(const Exchange& exchange, int status) {
  exchange.response.status = status;
  exchange.response.close = exchange.close;
  http::HeadWriter head(exchange.response.head_buffer);
  head.status(status);
  head.raw(exchange.date_line);
  return head;
}

std::string_view connection_line(const Exchange& exchange) {
  if (exchange.close) return "Connection: close\r\n";
  // HTTP/1.0 closes unless told otherwise, 1.1 stays open.
  return exchange.request.version == http::Version::Http10 ? "Connection: keep-alive\r\n" : "";
}

void end_head(const Exchange& exchange, http::HeadWriter& head) {
  head.raw(connection_line(exchange));
  head.end();
  PW_CHECK(!head.overflowed());  // every part is bounded: check_cache_rules, and lines of our own
  exchange.response.add(Segment::of_memory(head.text()));
}

bool has_conditions(const http::Request& request) {
  return request.if_none_match.present() || !request.if_modified_since.empty() ||
         request.if_match.present() || !request.if_unmodified_since.empty();
}

http::Validators validators_of(const OpenFile& file) {
  return {.etag = file.etag(),
          // Without a usable date no If-Range can be equal to it.
          .last_modified_s =
              file.head().has_last_modified ? file.status().mtime_ns / 1'000'000'000 : -1};
}

http::Precondition evaluate(const Exchange& exchange, const OpenFile& file) {
  if (file.head().has_last_modified) {
    return http::evaluate_preconditions(exchange.request, validators_of(file));
  }
  // RFC 9110 13.1.3 and 13.1.4: conditions by date are ignored when there is no date.
  http::Request without_dates = exchange.request;
  without_dates.if_modified_since = {};
  without_dates.if_unmodified_since = {};
  return http::evaluate_preconditions(without_dates, validators_of(file));
}

http::RangeSelection::Kind ranges_of(const Exchange& exchange, const OpenFile& file,
                                     const http::RangeLimits& limits,
                                     http::RangeSelection& selection) {
  const http::Request& request = exchange.request;
  if (!request.if_range.empty() && !http::if_range_holds(request, validators_of(file))) {
    return http::RangeSelection::Kind::Whole;
  }
  selection = http::select_ranges(*request.range, file.status().size, limits);
  return selection.kind;
}

void answer_whole(const Exchange& exchange, const FileRef& file) {
  http::HeadWriter head = begin_head(exchange, 200);
  head.raw(file->head().lines);
  end_head(exchange, head);
  const ByteCount size = file->status().size;
  if (exchange.request.method == http::Method::Head || size.value == 0) return;
  exchange.response.file = file;
  exchange.response.add(segment_of(*file.get(), {.offset = FileOffset{0}, .count = size}));
}

void answer_part(const Exchange& exchange, const FileRef& file, ByteRange part) {
  http::HeadWriter head = begin_head(exchange, 206);
  head.field("Content-Length", part.count.value);
  head.content_range(part, file->status().size);
  head.raw(file->head().tail(file->head().from_type));
  end_head(exchange, head);
  exchange.response.file = file;
  exchange.response.add(segment_of(*file.get(), part));
}

void answer_parts(const Exchange& exchange, const FileRef& file,
                  const http::RangeSelection& selection, BoundaryMaker& boundaries) {
  const BoundaryMaker::Boundary bytes = boundaries.next();
  const std::string_view boundary(bytes.data(), bytes.size());
  const Multipart multipart(*file.get(), selection, boundary, exchange.response.text);

  http::HeadWriter head = begin_head(exchange, 206);
  head.field("Content-Length", multipart.length().value);
  head.raw("Content-Type: multipart/byteranges; boundary=");
  head.raw(boundary);
  head.raw("\r\n");
  head.raw(file->head().tail(file->head().from_ranges));
  end_head(exchange, head);
  exchange.response.file = file;
  multipart.add_segments(exchange.response);
}

void answer_not_modified(const Exchange& exchange, const OpenFile& file) {
  http::HeadWriter head = begin_head(exchange, 304);
  head.raw(file.head().tail(file.head().from_validators));
  end_head(exchange, head);
}

void answer_unsatisfiable(const Exchange& exchange, ByteCount size, std::string_view why) {
  std::array<char, 64> buffer{};
  http::HeadWriter line(buffer);
  line.content_range_unsatisfied(size);
  answer_error(exchange, 416, why, line.text());
}

// As it was sent; but what could end the line or the field is escaped, whatever the parser let
// pass.
void append_query(std::string& text, std::string_view query) {
  if (query.empty()) return;
  text.push_back('?');
  for (const char c : query) {
    if (c > 0x20 && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '#') {
      text.push_back(c);
    } else {
      append_percent_encoded(text, std::string_view(&c, 1));
    }
  }
}

}  // namespace

}  // namespace pagewire::content
