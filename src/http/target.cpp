// target: the four forms of a request target, and the authority that two of them share with Host.
//
// Invariant: a path begins with '/' and is still percent-encoded; whoever decodes it does so once.
// Relies on RFC 9112 section 3.2, RFC 9110 sections 4.2 and 7.2, RFC 3986 section 3.2.2.
#include "http/target.h"

#include "http/text.h"

namespace pagewire::http {
namespace {

constexpr HeadFault bad_target{.status = 400, .why = "invalid target"};

// Beast lets obs-text through; nobody may put it, or a fragment, on the wire.
bool has_forbidden_byte(std::string_view target) {
  for (const char c : target) {
    if (c <= ' ' || c > '~' || c == '#') return true;
  }
  return false;
}

void split_path_and_query(std::string_view text, Request& request) {
  const std::size_t mark = text.find('?');
  request.path = text.substr(0, mark);
  if (mark != std::string_view::npos) request.query = text.substr(mark + 1);
  if (request.path.empty()) request.path = "/";
}

// What follows "http://" or "https://"; empty for any other scheme.
std::string_view after_scheme(std::string_view target) {
  const std::size_t colon = target.find("://");
  if (colon == std::string_view::npos) return {};
  const std::string_view scheme = target.substr(0, colon);
  if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) return {};
  return target.substr(colon + 3);
}

bool is_port(std::string_view port) {
  unsigned value = 0;
  for (const char c : port) {
    if (!is_decimal(c)) return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > 65535) return false;
  }
  return true;  // an empty port means the scheme's own (RFC 3986 3.2.3)
}

// IPv6address loosely, IPvFuture ("v1.name"); the brackets are what matters to a parser.
bool is_ip_literal(std::string_view inside) {
  if (inside.size() < 2) return false;
  for (const char c : inside) {
    if (!is_hex_digit(c) && c != ':' && c != '.' && c != 'v' && c != 'V') return false;
  }
  return true;
}

// unreserved and sub-delims of RFC 3986; '%' needs its two digits besides.
bool is_reg_name_character(char c) {
  const char lower = to_lower(c);
  return is_decimal(c) || (lower >= 'a' && lower <= 'z') ||
         std::string_view("-._~!$&'()*+,;=").find(c) != std::string_view::npos;
}

bool is_reg_name(std::string_view name) {
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '%') {
      if (i + 2 >= name.size()) return false;
      if (!is_hex_digit(name[i + 1]) || !is_hex_digit(name[i + 2])) return false;
      i += 2;
    } else if (!is_reg_name_character(name[i])) {
      return false;
    }
  }
  return !name.empty();
}

HeadFault parse_authority_form(Request& request) {
  const std::size_t colon = request.target.rfind(':');
  const bool has_port = colon != std::string_view::npos && colon + 1 < request.target.size();
  if (!has_port || !is_valid_authority(request.target)) return bad_target;
  request.host = request.target;
  request.path = "/";
  return {};
}

HeadFault parse_absolute_form(Request& request) {
  const std::string_view rest = after_scheme(request.target);
  const std::size_t end = rest.find_first_of("/?");
  const std::string_view authority = rest.substr(0, end);
  if (!is_valid_authority(authority)) return bad_target;
  request.host = authority;
  split_path_and_query(rest.substr(authority.size()), request);
  return {};
}

}  // namespace

HeadFault take_target(bool is_connect, Request& request) {
  const std::string_view target = request.target;
  if (has_forbidden_byte(target)) return bad_target;
  if (is_connect) return parse_authority_form(request);
  if (target.front() == '/') {
    split_path_and_query(target, request);
    return {};
  }
  if (target == "*") {
    if (request.method != Method::Options) return bad_target;
    request.asterisk = true;
    request.path = "/";
    return {};
  }
  return parse_absolute_form(request);
}

bool is_valid_authority(std::string_view authority) {
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos || !is_ip_literal(authority.substr(1, close - 1))) {
      return false;
    }
    const std::string_view after = authority.substr(close + 1);
    return after.empty() || (after.front() == ':' && is_port(after.substr(1)));
  }
  const std::size_t colon = authority.find(':');
  if (!is_reg_name(authority.substr(0, colon))) return false;
  return colon == std::string_view::npos || is_port(authority.substr(colon + 1));
}

}  // namespace pagewire::http
