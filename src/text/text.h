// Text for people and for markup: numbers, columns of a terminal, what XML and HTML may hold.
//
// Pure. Shared by whatever reports something: bench, doctor, profile.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pagewire {

// Numbers: as many digits as a measurement of a few seconds deserves, and separators where they
// help. What reads figures back takes JSON or CSV, which have every digit.

/// About three digits: 0.031, 0.31, 14.2, 815, 1,108,910; "0" for nothing.
std::string format_number(double value);
/// "256 MiB", "1.50 KiB", "17 B": the largest unit that leaves at least 1. What is not a whole
/// number of units has two decimals at most.
std::string format_size(double bytes);
/// As format_number, but 1e6 and more get a suffix: "310 M", "14.2 G".
std::string format_large(double value);
/// 1234.5 with 2 decimals is "1,234.50".
std::string with_decimals(double value, int decimals);
/// Enough for two or three digits.
int decimals_for(double value);

/// Columns that a UTF-8 text takes on a terminal, as far as it has no wide or combining characters.
std::size_t columns_of(std::string_view text);
/// The first `columns` of a UTF-8 text, with "…" as the last one when something was cut off.
std::string cut_to(std::string_view text, std::size_t columns);
/// The same with "…" in the middle: versions at the end of names are what tells them apart.
std::string cut_in_the_middle(std::string_view text, std::size_t columns);
/// Broken at spaces so that no line is longer than `columns`, but for words that are.
std::vector<std::string> wrap(std::string_view text, std::size_t columns);

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

}  // namespace pagewire
