// What the load client wants to know of a response head, and no more: is it whole, is it 200, how
// long is the body. It is read for every response, so it is one pass over the lines and no copy.
//
// Relies on RFC 9112 section 2.1 (lines end in CRLF, an empty line ends the head) and RFC 9110
// section 5.1 (field names are case-insensitive).
#pragma once

#include <strings.h>

#include <charconv>
#include <cstdint>
#include <string_view>

namespace pagewire::bench {

enum class HeadState { Incomplete, Good, BadStatus, BadLength };

struct ResponseHead {
  HeadState state = HeadState::Incomplete;
  std::size_t size_bytes = 0;  ///< with the empty line; valid when Good
  std::uint64_t content_length = 0;
};

inline bool field_is(std::string_view line, std::string_view name_and_colon) {
  return line.size() >= name_and_colon.size() &&
         ::strncasecmp(line.data(), name_and_colon.data(), name_and_colon.size()) == 0;
}

/// `bytes` begins with a response; it may go on behind the head with the body.
inline ResponseHead read_response_head(std::string_view bytes) {
  constexpr std::string_view status_200 = "HTTP/1.1 200 ";
  constexpr std::string_view length_field = "content-length:";
  ResponseHead head;
  bool has_length = false;
  for (std::size_t start = 0;;) {
    const std::size_t end = bytes.find("\r\n", start);
    if (end == bytes.npos) return head;
    const std::string_view line = bytes.substr(start, end - start);
    if (start == 0 && !line.starts_with(status_200)) return {.state = HeadState::BadStatus};
    start = end + 2;
    if (line.empty()) {
      head.size_bytes = start;
      head.state = has_length ? HeadState::Good : HeadState::BadLength;
      return head;
    }
    if (!field_is(line, length_field)) continue;
    std::string_view value = line.substr(length_field.size());
    while (value.starts_with(' ')) value.remove_prefix(1);
    const auto [rest, error] =
        std::from_chars(value.data(), value.data() + value.size(), head.content_length);
    if (error != std::errc() || rest != value.data() + value.size() || has_length) {
      return {.state = HeadState::BadLength};
    }
    has_length = true;
  }
}

}  // namespace pagewire::bench
