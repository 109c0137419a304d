#include <cstddef>
#include <cstdint>

#include "text/text.h"

namespace pagewire {

namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";  // U+FFFD

struct Decoded {
  std::uint32_t code_point = 0;
  std::size_t length = 0;  ///< 0: not UTF-8
};

/// How many bytes a sequence has that starts with `first`; 0 where none can.
std::size_t length_by(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/// The first character of a text that is not empty (RFC 3629).
Decoded decode(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = length_by(first);
  if (length == 0 || length > text.size()) return {};
  if (length == 1) return {first, 1};
  std::uint32_t code_point = first & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xc0U) != 0x80U) return {};
    code_point = code_point << 6 | (byte & 0x3fU);
  }
  const bool is_longer_than_needed =
      (length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000);
  return is_longer_than_needed ? Decoded{} : Decoded{code_point, length};
}

bool is_xml_character(std::uint32_t code_point) {
  return (code_point >= 0x20 && code_point < 0x7f) || (code_point >= 0xa0 && code_point < 0xd800) ||
         (code_point >= 0xe000 && code_point < 0xfffe) ||
         (code_point >= 0x10000 && code_point < 0x110000);
}

void append_escaped(char c, std::string& into) {
  switch (c) {
    case '&':
      into += "&amp;";
      return;
    case '<':
      into += "&lt;";
      return;
    case '>':
      into += "&gt;";
      return;
    case '"':
      into += "&quot;";
      return;
    case '\'':
      into += "&#39;";
      return;
  }
  into += c;
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const Decoded decoded = decode(text);
    const std::size_t length = decoded.length == 0 ? 1 : decoded.length;
    if (text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
      safe += ' ';
    } else if (decoded.length == 0 || !is_xml_character(decoded.code_point)) {
      safe += replacement;
    } else if (length == 1) {
      append_escaped(text[0], safe);
    } else {
      safe += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return safe;
}

std::string escape_json_in_script(std::string_view json) {
  std::string safe;
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0U);
    }
    const std::size_t known = bytes.size() - i;  // 1 and 2 bytes are padded
    text += digits[group >> 18 & 63U];
    text += digits[group >> 12 & 63U];
    text += known > 1 ? digits[group >> 6 & 63U] : '=';
    text += known > 2 ? digits[group & 63U] : '=';
  }
  return text;
}

}  // namespace pagewire
