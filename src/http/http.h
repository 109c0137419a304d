// http: request heads, ranges, conditionals and response heads (RFC 9110, RFC 9112).
//
// Pure: values in, values out, no I/O, no clock. Views in a Request point into the caller's input
// buffer and live as long as it does. Nothing here allocates.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/units.h"

namespace pagewire::http {

// ---------------------------------------------------------------- request head (head.cpp)

enum class Method : std::uint8_t {
  Get,
  Head,
  Options,
  NotAllowed,  ///< a method of RFC 9110 or 5789 that a file server does not do: 405
  Unknown,     ///< any other token: 501
};

enum class Version : std::uint8_t { Http10, Http11 };

enum class BodyKind : std::uint8_t { None, Length, Chunked };

/// The lines of one list-valued field (If-None-Match, Accept-Encoding ...), which may be repeated;
/// RFC 9110 section 5.3 makes them one list. Above `capacity` lines, `overflowed` is set.
struct FieldLines {
  static constexpr std::size_t capacity = 4;
  std::array<std::string_view, capacity> lines;
  std::uint8_t count = 0;
  bool overflowed = false;

  bool present() const { return count != 0; }
  void add(std::string_view line) {
    if (count == capacity) {
      overflowed = true;
    } else {
      lines[count++] = line;
    }
  }
};

struct Request {
  Method method = Method::Unknown;
  Version version = Version::Http11;
  std::string_view method_text;
  std::string_view target;  ///< as sent: origin-form, absolute-form or "*"
  std::string_view path;    ///< the target's path, still percent-encoded ("/" for "*" and empty)
  std::string_view query;   ///< after '?', without it
  bool asterisk = false;    ///< OPTIONS *
  std::string_view host;

  bool keep_alive = true;  ///< from the version and Connection
  bool expect_continue = false;
  bool expect_unknown = false;  ///< an Expect other than 100-continue: 417
  BodyKind body = BodyKind::None;
  ByteCount content_length;  ///< when body == Length

  std::optional<std::string_view> range;  ///< nullopt when absent or repeated
  std::string_view if_range;
  FieldLines if_match;
  FieldLines if_none_match;
  std::string_view if_modified_since;
  std::string_view if_unmodified_since;
  FieldLines accept_encoding;
  FieldLines accept;
  std::string_view origin;    ///< CORS: Origin
  bool is_preflight = false;  ///< CORS: Access-Control-Request-Method is there
  std::string_view user_agent;
  std::string_view referer;
};

struct HeadLimits {
  std::size_t head_bytes = 16 * kib;   ///< request line and fields: above it 431
  std::size_t target_bytes = 8 * kib;  ///< above it 414
  std::size_t fields = 100;            ///< above it 431
};

/// Where a head stands in the bytes received so far.
struct HeadScan {
  enum class State : std::uint8_t {
    Incomplete,  ///< more bytes are needed
    Complete,    ///< the head is input[leading, end)
    Malformed,   ///< bare LF or CR, control byte, obs-fold, second leading empty line: 400, close
    TargetTooLong,  ///< the request line alone is above the limit: 414 and close
    TooLarge,       ///< above head_bytes: 431 and close
  };
  State state = State::Incomplete;
  std::size_t leading = 0;  ///< bytes of one empty line before the request line (RFC 9112 2.2)
  std::size_t end = 0;      ///< one past the empty line that ends the head
  std::size_t resume = 0;   ///< give this back as `resume_at` when more bytes have come
};

/// Looks for the end of a head. Scans each byte once over all calls when `resume_at` is handed
/// back.
HeadScan scan_head(std::string_view input, std::size_t resume_at, const HeadLimits& limits);

/// What is wrong with a head. `status` 0 means nothing. Every refusal here closes the connection,
/// because the framing of what follows cannot be trusted (or is not worth trusting).
struct HeadFault {
  int status = 0;        ///< 400, 414, 431, 501 (unknown transfer coding), 505
  const char* why = "";  ///< a short literal for the error body and the log
};

/// Parses a complete head (exactly scan_head's [leading, end)) strictly by RFC 9112: field syntax,
/// Host (present once on 1.1, valid), target form for the method, Content-Length and
/// Transfer-Encoding (repeated, signed, overflowing, both at once, TE on 1.0: 400), obs-fold and
/// space before the colon: 400. On a fault `request` holds whatever was understood before it
/// (method_text, target and version for the log).
HeadFault parse_head(std::string_view head, const HeadLimits& limits, Request& request);

// ---------------------------------------------------------------- ranges (range.cpp)

struct RangeLimits {
  std::size_t parts = 16;  ///< ranges left after coalescing; above: the whole representation
  std::size_t specs = 64;  ///< range-specs in the field; above: refused
};

struct RangeSelection {
  enum class Kind : std::uint8_t {
    Whole,          ///< no (usable) Range: 200. Also for other units, bad syntax (RFC 9110 14.2)
    Partial,        ///< 206; parts in the order asked, coalesced when they overlap or touch
    Unsatisfiable,  ///< 416
    Refused,        ///< too many specs, or more than two pairs that overlap (14.2, 17.15): 416
  };
  static constexpr std::size_t max_parts = 64;
  Kind kind = Kind::Whole;
  std::size_t count = 0;
  std::array<ByteRange, max_parts> parts;
};

/// `field` is the value of Range, e.g. "bytes=0-99,-5". Numbers above 2^63-1 saturate, they never
/// wrap.
RangeSelection select_ranges(std::string_view field, ByteCount size, const RangeLimits& limits);

// ---------------------------------------------------------------- conditionals (conditional.cpp)

/// What the selected representation is.
struct Validators {
  std::string_view etag;             ///< with its quotes; strong
  std::int64_t last_modified_s = 0;  ///< seconds since 1970
};

enum class Precondition : std::uint8_t { Proceed, NotModified, Failed };

/// If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since in the order of RFC 9110 13.2.2.
/// Only for GET and HEAD. Weak tags match only where weak comparison is used (If-None-Match).
Precondition evaluate_preconditions(const Request& request, const Validators& validators);

/// True when a Range may be honoured: no If-Range, or one that matches (strong ETag comparison, or
/// a date exactly equal to last_modified_s).
bool if_range_holds(const Request& request, const Validators& validators);

// ---------------------------------------------------------------- dates (date.cpp)

inline constexpr std::size_t http_date_size = 29;  ///< "Sun, 06 Nov 1994 08:49:37 GMT"

/// Writes IMF-fixdate. `seconds` within years 1970 to 9999.
void format_http_date(std::int64_t seconds, std::span<char, http_date_size> into);

/// IMF-fixdate, and the obsolete RFC 850 and asctime forms. nullopt for anything else: a field with
/// a bad date is ignored (RFC 9110 13.1.3). `now_s` decides the century of RFC 850's two digits.
std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now_s = 0);

// ---------------------------------------------------------------- negotiation (negotiate.cpp)

enum class Coding : std::uint8_t { Identity, Brotli, Zstd, Gzip };

/// "", "br", "zst", "gz": what a precompressed sibling's name ends with; and the coding's token.
std::string_view file_suffix(Coding coding);
std::string_view coding_token(Coding coding);

/// Accept-Encoding's weights, in thousandths (0 = not acceptable). Without the field only identity
/// is acceptable for us, so that a client that does not ask gets the file as it is.
struct CodingWeights {
  std::uint16_t brotli = 0;
  std::uint16_t zstd = 0;
  std::uint16_t gzip = 0;
  std::uint16_t identity = 1000;
};
CodingWeights parse_accept_encoding(const FieldLines& accept_encoding);

/// The codings to try, best first (by weight, then br, zstd, gzip), identity last unless the client
/// weighs it higher; `count` entries. Codings with weight 0 are left out.
struct CodingOrder {
  std::array<Coding, 4> codings;
  std::size_t count = 0;
};
CodingOrder preferred_codings(const CodingWeights& weights);

/// True when Accept prefers application/json to text/plain.
bool prefers_json(const FieldLines& accept);

// ---------------------------------------------------------------- response head
// (response_head.cpp)

/// "Not Found"; "Unknown" for a code that pagewire never sends.
std::string_view reason_phrase(int status);

/// Builds a response head in a fixed buffer. Never overruns: what does not fit sets overflowed().
class HeadWriter {
 public:
  explicit HeadWriter(std::span<char> buffer) : buffer_(buffer) {}

  /// "HTTP/1.1 206 Partial Content\r\n"
  void status(int status);
  /// "Name: value\r\n"
  void field(std::string_view name, std::string_view value);
  void field(std::string_view name, std::uint64_t value);
  /// Ready-made lines, each with its CRLF.
  void raw(std::string_view lines);
  /// "Content-Range: bytes 0-99/1000\r\n"
  void content_range(ByteRange part, ByteCount size);
  /// "Content-Range: bytes */1000\r\n"
  void content_range_unsatisfied(ByteCount size);
  /// The empty line.
  void end();

  std::string_view text() const { return {buffer_.data(), size_}; }
  std::size_t size() const { return size_; }
  bool overflowed() const { return overflowed_; }

 private:
  void append(std::string_view text);
  void append_number(std::uint64_t value);

  std::span<char> buffer_;
  std::size_t size_ = 0;
  bool overflowed_ = false;
};

}  // namespace pagewire::http
