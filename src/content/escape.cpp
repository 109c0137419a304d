// Escaping for URIs (RFC 3986 2.3), HTML and JSON (RFC 8259 7).
#include "content/escape.h"

namespace pagewire::content {

namespace {

constexpr std::string_view hex_digits = "0123456789ABCDEF";

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

void append_hex(std::string& text, char c) {
  const auto code = static_cast<unsigned char>(c);
  text.push_back(hex_digits[code >> 4U]);
  text.push_back(hex_digits[code & 15U]);
}

}  // namespace

void append_percent_encoded(std::string& text, std::string_view path) {
  for (const char c : path) {
    if (is_unreserved(c) || c == '/') {
      text.push_back(c);
    } else {
      text.push_back('%');
      append_hex(text, c);
    }
  }
}

void append_html_escaped(std::string& text, std::string_view name) {
  for (const char c : name) {
    switch (c) {
      case '&':
        text += "&amp;";
        break;
      case '<':
        text += "&lt;";
        break;
      case '>':
        text += "&gt;";
        break;
      case '"':
        text += "&quot;";
        break;
      case '\'':
        text += "&#39;";
        break;
      default:
        text.push_back(c);
    }
  }
}

void append_json_escaped(std::string& text, std::string_view value) {
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text.push_back('\\');
      text.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      text += "\\u00";
      append_hex(text, c);
    } else {
      text.push_back(c);
    }
  }
}

}  // namespace pagewire::content
