// Text that is safe inside XML and HTML. Pure.
#pragma once

#include <string>
#include <string_view>

namespace pagewire::bench {

/// For element content and for attributes in double or single quotes. What no XML document may hold
/// (most control characters, bytes that are not UTF-8; XML 1.0, section 2.2) becomes U+FFFD, line
/// breaks and tabs become spaces.
std::string escape_markup(std::string_view text);

/// For <script type="application/json">: no "<" is left that could end the element or begin a
/// comment (HTML, section 13.2.5.4); JSON says it as \u003c, which may only stand in strings, as
/// does every "<" of a JSON text.
std::string escape_json_in_script(std::string_view json);

/// RFC 4648, section 4; for data: URIs.
std::string base64(std::string_view bytes);

}  // namespace pagewire::bench
