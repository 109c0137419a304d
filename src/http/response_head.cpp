// response_head: status lines and fields, written into a buffer that the caller owns.
//
// Invariant: what does not fit as a whole is left out and sets overflowed(); nothing is cut in two
// and nothing is written past the buffer.
// Relies on RFC 9112 section 4 (status line) and RFC 9110 sections 14.4 and 15.
#include <charconv>

#include "http/http.h"

namespace pagewire::http {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 304:
      return "Not Modified";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:  // a number, not an enumeration: there are many that pagewire never sends
      return "Unknown";
  }
}

void HeadWriter::status(int status) {
  append("HTTP/1.1 ");
  append_number(static_cast<std::uint64_t>(status));
  append(" ");
  append(reason_phrase(status));
  append("\r\n");
}

void HeadWriter::field(std::string_view name, std::string_view value) {
  append(name);
  append(": ");
  append(value);
  append("\r\n");
}

void HeadWriter::field(std::string_view name, std::uint64_t value) {
  append(name);
  append(": ");
  append_number(value);
  append("\r\n");
}

void HeadWriter::raw(std::string_view lines) {
  append(lines);
}

void HeadWriter::content_range(ByteRange part, ByteCount size) {
  append("Content-Range: bytes ");
  append_number(part.offset.value);
  append("-");
  append_number(part.offset.value + part.count.value - 1);
  append("/");
  append_number(size.value);
  append("\r\n");
}

void HeadWriter::content_range_unsatisfied(ByteCount size) {
  append("Content-Range: bytes */");
  append_number(size.value);
  append("\r\n");
}

void HeadWriter::end() {
  append("\r\n");
}

// Once something did not fit nothing is added any more: a head with a hole in it must not look
// whole.
void HeadWriter::append(std::string_view text) {
  overflowed_ = overflowed_ || text.size() > buffer_.size() - size_;
  if (overflowed_) return;
  size_ += text.copy(buffer_.data() + size_, text.size());
}

void HeadWriter::append_number(std::uint64_t value) {
  std::array<char, 20> digits;  // 2^64 - 1 has twenty
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  append({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

}  // namespace pagewire::http
