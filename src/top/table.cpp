#include "top/table.h"

#include <algorithm>
#include <array>
#include <utility>

namespace pagewire::top {

namespace {

constexpr std::size_t gap = 2;

bool begins_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

std::vector<std::size_t> widths_of(const std::vector<Column>& columns,
                                   const std::vector<std::vector<Piece>>& rows) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::size_t width = columns_of(columns[i].title);
    for (const std::vector<Piece>& row : rows) width = std::max(width, columns_of(row[i].text));
    widths.push_back(width);
  }
  return widths;
}

/// The indexes of the columns that fit; those of rank 0 always.
std::vector<std::size_t> fitting(const std::vector<Column>& columns,
                                 const std::vector<std::size_t>& widths, std::size_t width) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < columns.size(); ++i) kept.push_back(i);
  while (true) {
    std::size_t needed = 0;
    for (const std::size_t i : kept) needed += widths[i] + gap;
    if (needed <= width + gap) return kept;
    const auto last = std::max_element(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) {
      return columns[a].rank < columns[b].rank;
    });
    if (columns[*last].rank == 0) return kept;
    kept.erase(last);
  }
}

std::string padded(std::string_view text, std::size_t width, bool left) {
  const std::string shown = cut(text, width);
  const std::string blanks(width - std::min(width, columns_of(shown)), ' ');
  return left ? shown + blanks : blanks + shown;
}

}  // namespace

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

std::string cut(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end) {
    if (begins_character(text[end]) && ++seen == columns) break;
  }
  return std::string(text.substr(0, end)) + "~";
}

std::vector<Line> table(const std::vector<Column>& columns,
                        const std::vector<std::vector<Piece>>& rows, std::size_t width) {
  std::vector<std::size_t> widths = widths_of(columns, rows);
  const std::vector<std::size_t> kept = fitting(columns, widths, width);
  std::size_t needed = 0;
  for (const std::size_t i : kept) needed += widths[i] + gap;
  // Of rank 0 alone, and still too wide: text gives way before figures, the last before the first.
  std::array<std::size_t, 2> yielding{kept.back(), kept.front()};
  if (!columns[kept.back()].left) std::swap(yielding[0], yielding[1]);
  for (const std::size_t i : yielding) {
    const std::size_t over = needed > width + gap ? needed - width - gap : 0;
    const std::size_t taken = std::min(over, widths[i] > 4 ? widths[i] - 4 : 0);
    widths[i] -= taken;
    needed -= taken;
  }
  std::vector<Line> lines;
  std::string titles;
  for (const std::size_t i : kept) {
    titles += (i == kept.front() ? "" : std::string(gap, ' ')) +
              padded(columns[i].title, widths[i], columns[i].left);
  }
  titles.resize(std::max(titles.size(), width), ' ');
  lines.push_back({{.text = titles, .ink = Ink::Heading}});
  for (const std::vector<Piece>& row : rows) {
    Line line;
    for (const std::size_t i : kept) {
      if (i != kept.front()) line.push_back({.text = std::string(gap, ' ')});
      line.push_back({.text = padded(row[i].text, widths[i], columns[i].left), .ink = row[i].ink});
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace pagewire::top
