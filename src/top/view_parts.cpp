#include "top/view_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "top/table.h"

namespace pagewire::top {

// ---------------------------------------------------------------- numbers

std::string number(double value) {
  if (value <= 0) return "0";
  if (value < 0.0005) return "<0.001";
  if (value < 0.1) return fmt::format("{:.3f}", value);
  if (value < 10) return fmt::format("{:.2f}", value);
  if (value < 100) return fmt::format("{:.1f}", value);
  std::string digits = fmt::format("{:.0f}", value);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string count(std::optional<double> value) {
  if (!value) return "-";
  return *value < 100 ? fmt::format("{:.0f}", *value) : number(*value);
}

std::string number(std::optional<double> value) {
  return value ? number(*value) : "-";
}

std::string percent(std::optional<double> share) {
  if (!share) return "-";
  const double value = *share * 100;
  return fmt::format(fmt::runtime(value > 0 && value < 10 ? "{:.1f}%" : "{:.0f}%"), value);
}

std::string size(std::optional<double> bytes) {
  constexpr double unit = 1024;
  if (!bytes) return "-";
  if (*bytes < unit) return fmt::format("{:.0f} B", *bytes);
  if (*bytes < unit * unit) return number(*bytes / unit) + " KiB";
  return number(*bytes / unit / unit) + " MiB";
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(0.0, seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3'600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < 86'400) return fmt::format("{} h {:02} min", whole / 3'600, whole / 60 % 60);
  return fmt::format("{} d {} h", whole / 86'400, whole / 3'600 % 24);
}

// ---------------------------------------------------------------- lines

std::vector<Line> flow(const std::vector<Piece>& pieces, std::size_t width) {
  std::vector<Line> lines{{}};
  std::size_t used = 0;
  for (const Piece& piece : pieces) {
    const std::string text = cut(piece.text, width);
    const std::size_t columns = columns_of(text);
    if (used > 0 && used + 2 + columns > width) {
      lines.emplace_back();
      used = 0;
    }
    if (used > 0) lines.back().push_back({.text = "  "});
    used += columns + (used > 0 ? 2 : 0);
    lines.back().push_back({.text = text, .ink = piece.ink});
  }
  return lines;
}

void append(std::vector<Line>& lines, std::vector<Line> more) {
  lines.insert(lines.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
}

std::vector<Piece> named_rates(std::string_view title, const std::vector<Share>& rates, Ink ink) {
  std::vector<Piece> pieces{{.text = std::string(title), .ink = ink}};
  for (const auto& [what, rate] : rates) {
    pieces.push_back({.text = fmt::format("{} {}/s", what, number(rate)), .ink = ink});
  }
  return pieces;
}

Piece retransmits(const Summary& summary) {
  constexpr double many = 0.01;
  return {.text = "retransmits " + percent(summary.retransmitted),
          .ink = summary.retransmitted > many ? Ink::Warning : Ink::Plain};
}

std::vector<Line> nothing_sent(const Summary& summary) {
  return {{{.text = "nothing was sent in the last " + number(summary.seconds) + " s",
            .ink = Ink::Faint}}};
}

void append_thread(std::vector<Piece>& cells, const WorkerRow& row) {
  cells.push_back({.text = percent(cpu_of(row))});
  cells.push_back({.text = percent(row.user), .ink = Ink::Faint});
  cells.push_back({.text = percent(row.system), .ink = Ink::Faint});
  cells.push_back({.text = number(row.events_per_wakeup)});
}

std::vector<Column> thread_columns(int rank) {
  return {{.title = "CPU", .rank = rank},
          {.title = "user", .rank = rank + 2},
          {.title = "system", .rank = rank + 2},
          {.title = "events/wake", .rank = rank + 1}};
}

std::optional<double> cpu_of(const WorkerRow& row) {
  if (!row.user || !row.system) return std::nullopt;
  return *row.user + *row.system;
}

}  // namespace pagewire::top
