// The columns of text.h.
#include <algorithm>

#include "text/text.h"

namespace pagewire {

namespace {

bool is_utf8_start(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U;
}

}  // namespace

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, is_utf8_start));
}

std::string cut_to(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  std::size_t kept = 0;
  std::size_t end = 0;
  while (end < text.size() && (kept + 1 < columns || !is_utf8_start(text[end]))) {
    if (is_utf8_start(text[end])) ++kept;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string cut_in_the_middle(std::string_view text, std::size_t columns) {
  const std::size_t all = columns_of(text);
  if (all <= columns || columns < 3) return cut_to(text, columns);
  const std::size_t behind = (columns - 1) / 2;
  std::size_t begin = 0;
  for (std::size_t passed = 0; passed < all - behind; ++passed) {
    do {
      ++begin;
    } while (begin < text.size() && !is_utf8_start(text[begin]));
  }
  return cut_to(text, columns - behind) + std::string(text.substr(begin));
}

std::vector<std::string> wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n\t\r"), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (!line.empty() && columns_of(line) + 1 + columns_of(word) > columns) {
      lines.push_back(std::move(line));
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

}  // namespace pagewire
