// text: the few lexical rules of RFC 9110 section 5.6 that every field of this room shares.
// Private to the room. ASCII only: no locale, no <cctype>.
#pragma once

#include <cstddef>
#include <string_view>

namespace pagewire::http {

inline bool is_ows(char c) {
  return c == ' ' || c == '\t';
}
inline bool is_decimal(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_hex_digit(char c) {
  return is_decimal(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
inline char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// `lower` is a literal in lower case already.
inline bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (to_lower(text[i]) != lower[i]) return false;
  }
  return true;
}

inline std::string_view trim_ows(std::string_view text) {
  while (!text.empty() && is_ows(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_ows(text.back())) text.remove_suffix(1);
  return text;
}

/// Takes what stands before the first `separator` (or all) off the front of `rest`, trimmed.
inline std::string_view take_until(char separator, std::string_view& rest) {
  const std::size_t at = rest.find(separator);
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return trim_ows(taken);
}

/// Calls visit(element) for each non-empty element of a comma-separated list (RFC 9110 5.6.1.2:
/// a recipient ignores a reasonable number of empty ones). Only for lists of unquoted elements.
template <class Visit>
void for_each_element(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::string_view element = take_until(',', list);
    if (!element.empty()) visit(element);
  }
}

}  // namespace pagewire::http
