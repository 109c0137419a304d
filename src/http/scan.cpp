// scan: finds where a request head ends while its bytes are still coming in.
//
// Invariant: the verdict depends on the bytes alone, never on how they were split into reads; it is
// the verdict of the first byte that decides. So a client that ends its lines with a bare LF is
// told 400 at that byte and not after a timeout.
// Relies on RFC 9112 section 2.2 (line ends, one leading empty line) and 5.2 (obs-fold refused).
#include "http/scan.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "http/http.h"
#include "http/text.h"

namespace pagewire::http {
namespace {

// A request line is the target and "OPTIONS " before it, " HTTP/1.1" after it; a longer method is
// one that we do not know, and a kind client does not have one above this.
constexpr std::size_t method_and_version_bytes = 64;

// Every LF before `at` has been screened, so it is the end of a CRLF.
bool line_begins_at(std::string_view input, std::size_t at) {
  return at > 0 && input[at - 1] == '\n';
}

HeadScan verdict(HeadScan::State state, std::size_t leading, std::size_t position) {
  const bool complete = state == HeadScan::State::Complete;
  return {.state = state, .leading = leading, .end = complete ? position : 0, .resume = position};
}

HeadScan::State public_state(Screened::State state) {
  switch (state) {
    case Screened::State::Incomplete:
      return HeadScan::State::Incomplete;
    case Screened::State::Complete:
      return HeadScan::State::Complete;
    case Screened::State::Malformed:
      return HeadScan::State::Malformed;
  }
  return HeadScan::State::Malformed;
}

// The first byte below 0x20 in [at, input.size()). Eight bytes at a time: this is the one loop that
// touches each byte of each request.
std::size_t skip_text(std::string_view input, std::size_t at) {
  constexpr std::uint64_t ones = 0x0101'0101'0101'0101U;
  constexpr std::uint64_t highs = 0x80 * ones;
  while (at + 8 <= input.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, input.data() + at, sizeof word);
    // Exact up to the first hit in little-endian order; a borrow can only add hits above it.
    const std::uint64_t controls = (word - 0x20 * ones) & ~word & highs;
    if (controls != 0) {
      if constexpr (std::endian::native == std::endian::little) {
        return at + static_cast<std::size_t>(std::countr_zero(controls)) / 8;
      }
      break;
    }
    at += 8;
  }
  while (at < input.size() && static_cast<unsigned char>(input[at]) >= 0x20) ++at;
  return at;
}

}  // namespace

HeadScan scan_head(std::string_view input, std::size_t resume_at, const HeadLimits& limits) {
  using State = HeadScan::State;
  const std::size_t leading = input.starts_with("\r\n") ? 2 : 0;
  const std::size_t head_end = leading + limits.head_bytes;
  const std::size_t line_end =
      leading + std::min(limits.head_bytes, limits.target_bytes + method_and_version_bytes);

  std::size_t at = std::max(resume_at, leading);
  // First up to where the request line must have ended, then up to where the head must have.
  if (at <= line_end) {
    const Screened screened = screen_lines(input.substr(0, line_end), at);
    at = screened.position;
    if (screened.state != Screened::State::Incomplete) {
      return verdict(public_state(screened.state), leading, at);
    }
    if (input.size() > line_end &&
        input.substr(leading, line_end - leading).find('\n') == std::string_view::npos) {
      return verdict(State::TargetTooLong, leading, at);
    }
  }
  const Screened screened = screen_lines(input.substr(0, head_end), at);
  if (screened.state == Screened::State::Incomplete && input.size() > head_end) {
    return verdict(State::TooLarge, leading, screened.position);
  }
  return verdict(public_state(screened.state), leading, screened.position);
}

Screened screen_lines(std::string_view input, std::size_t from) {
  using State = Screened::State;
  std::size_t at = from;
  while (at < input.size()) {
    // obs-fold, or white space between the request line and the first field (RFC 9112 2.2).
    if (line_begins_at(input, at) && is_ows(input[at])) return {State::Malformed, at};
    at = skip_text(input, at);
    if (at == input.size()) break;
    if (input[at] == '\t') {
      ++at;
      continue;
    }
    if (input[at] != '\r') return {State::Malformed, at};  // a bare LF, a NUL, another control
    if (at + 1 == input.size()) break;
    if (input[at + 1] != '\n') return {State::Malformed, at};
    const bool empty_line = at == 0 || line_begins_at(input, at);
    at += 2;
    // Before byte 2 no request line can have been: this is an empty line too many.
    if (empty_line) return {at <= 4 ? State::Malformed : State::Complete, at};
  }
  return {State::Incomplete, at};
}

}  // namespace pagewire::http
