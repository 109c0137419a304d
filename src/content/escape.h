// Escaping of names for the places that generated bodies and heads put them in. Pure; private.
#pragma once

#include <string>
#include <string_view>

namespace pagewire::content {

/// RFC 3986: all but unreserved characters and '/' as %XX. The result is plain ASCII that needs no
/// further escaping in a Location field or an HTML attribute.
void append_percent_encoded(std::string& text, std::string_view path);

/// For text and quoted attributes: & < > " '
void append_html_escaped(std::string& text, std::string_view name);

/// The inside of a JSON string (RFC 8259 section 7).
void append_json_escaped(std::string& text, std::string_view value);

}  // namespace pagewire::content
