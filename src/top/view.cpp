#include "top/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "top/table.h"

namespace pagewire::top {

namespace {

// ---------------------------------------------------------------- numbers

/// About three digits: "0", "0.031", "14.2", "1,108".
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

/// Of things that there are only whole ones of.
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

/// Pieces one behind the other, in as many lines as they need; none is broken.
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

std::vector<Line> header(const Summary* summary, const View& view) {
  std::vector<Piece> pieces;
  const bool known = summary != nullptr && !summary->version.empty();
  pieces.push_back(
      {.text = known ? "pagewire " + summary->version : "pagewire top", .ink = Ink::Strong});
  pieces.push_back({.text = view.url, .ink = Ink::Faint});
  if (summary != nullptr && !summary->engine.empty()) pieces.push_back({.text = summary->engine});
  if (summary != nullptr && summary->up_s) {
    pieces.push_back({.text = "up " + duration(*summary->up_s)});
  }
  if (view.paused) pieces.push_back({.text = "[paused]", .ink = Ink::Warning});
  std::vector<Line> lines = flow(pieces, view.columns);
  if (!view.trouble.empty()) {
    append(lines, flow({{.text = view.trouble, .ink = Ink::Bad}}, view.columns));
  }
  return lines;
}

/// One character for each of the last readings, of the height that they have of the highest.
Line sparkline(const View& view) {
  constexpr std::array<std::string_view, 9> blocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array<std::string_view, 9> ascii{" ", ".", ".", ":", ":", "+", "+", "#", "#"};
  constexpr std::size_t most = 60;
  const std::size_t count = std::min({view.history.size(), most, view.columns});
  const std::span<const double> shown = std::span(view.history).last(count);
  double highest = 0;
  for (const double value : shown) highest = std::max(highest, value);
  std::string text;
  for (const double value : shown) {
    const auto level =
        highest > 0 ? static_cast<std::size_t>(std::ceil(value / highest * 8)) : std::size_t{0};
    text += (view.unicode ? blocks : ascii)[std::min<std::size_t>(level, 8)];
  }
  return {{.text = text, .ink = Ink::Good}};
}

std::vector<Line> totals(const Summary& summary, const View& view) {
  const bool relays = summary.program == Program::Relay;
  std::vector<Piece> first{
      {.text = number(summary.gbit) + " Gbit/s", .ink = Ink::Strong},
      {.text = number(summary.requests) + (relays ? " new connections/s" : " requests/s"),
       .ink = Ink::Strong},
      {.text = count(summary.connections) + " connections", .ink = Ink::Strong},
      {.text = "CPU " + percent(summary.cpu)}};
  if (summary.cpu_ms_per_gbit) {
    first.push_back({.text = number(*summary.cpu_ms_per_gbit) + " ms/Gbit", .ink = Ink::Good});
  }
  std::vector<Piece> second;
  if (summary.p99_ms) {
    second.push_back({.text = fmt::format("p50 {} ms, p99 {} ms", number(summary.p50_ms),
                                          number(summary.p99_ms))});
  }
  if (relays) return flow(first, view.columns);  // no requests that take time, no disk
  std::string cold = "cold waits " + number(summary.cold_waits) + "/s";
  if (summary.cold_wait_ms) cold += fmt::format(" of {} ms", number(*summary.cold_wait_ms));
  second.push_back({.text = cold, .ink = summary.cold_waits > 0 ? Ink::Warning : Ink::Plain});
  if (summary.ktls) second.push_back({.text = "kTLS " + percent(summary.ktls)});
  constexpr double many = 0.01;
  second.push_back({.text = "retransmits " + percent(summary.retransmitted),
                    .ink = summary.retransmitted > many ? Ink::Warning : Ink::Plain});
  std::vector<Line> lines = flow(first, view.columns);
  append(lines, flow(second, view.columns));
  return lines;
}

/// By the user's choice; `gbit`, `requests` and `name` of a row are asked for by functions.
template <class Row, class Requests>
std::vector<Row> sorted(std::vector<Row> rows, const View& view, Requests requests) {
  const auto before = [&](const Row& a, const Row& b) {
    switch (view.sort) {
      case Sort::Throughput:
        return a.gbit > b.gbit;
      case Sort::Requests:
        return requests(a) > requests(b);
      case Sort::Name:
        return a.name.size() != b.name.size() ? a.name.size() < b.name.size() : a.name < b.name;
    }
    return false;
  };
  std::stable_sort(rows.begin(), rows.end(), before);
  if (view.reversed) std::reverse(rows.begin(), rows.end());
  return rows;
}

std::vector<Line> workers(const Summary& summary, const View& view) {
  std::vector<std::vector<Piece>> rows;
  for (const WorkerRow& row :
       sorted(summary.workers, view, [](const WorkerRow& each) { return each.requests; })) {
    rows.push_back({{.text = row.name},
                    {.text = number(row.gbit), .ink = Ink::Strong},
                    {.text = number(row.requests)},
                    {.text = count(row.connections)},
                    {.text = percent(row.user + row.system)},
                    {.text = percent(row.user), .ink = Ink::Faint},
                    {.text = percent(row.system), .ink = Ink::Faint},
                    {.text = number(row.events_per_wakeup)}});
  }
  return table({{.title = "WORKER", .left = true},
                {.title = "Gbit/s"},
                {.title = "req/s"},
                {.title = "conns", .rank = 1},
                {.title = "CPU", .rank = 2},
                {.title = "user", .rank = 4},
                {.title = "system", .rank = 4},
                {.title = "events/wake", .rank = 3}},
               rows, view.columns);
}

std::vector<Line> paths(const Summary& summary, const View& view) {
  std::vector<std::vector<Piece>> rows;
  for (const PathRow& row :
       sorted(summary.paths, view, [](const PathRow& each) { return each.responses; })) {
    std::string reasons;
    for (const auto& [reason, share] : row.reasons) {
      reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", reason, percent(share));
    }
    rows.push_back({{.text = row.name},
                    {.text = percent(row.share), .ink = Ink::Strong},
                    {.text = number(row.gbit)},
                    {.text = number(row.responses)},
                    {.text = size(row.bytes_per_call)},
                    {.text = reasons, .ink = Ink::Faint}});
  }
  if (rows.empty()) {
    return {{{.text = "nothing was sent in the last " + number(summary.seconds) + " s",
              .ink = Ink::Faint}}};
  }
  return table({{.title = "PATH", .left = true},
                {.title = "share"},
                {.title = "Gbit/s", .rank = 1},
                {.title = "resp/s", .rank = 2},
                {.title = "per call", .rank = 3},
                {.title = "why", .left = true}},
               rows, view.columns);
}

std::vector<Line> relay(const Summary& summary, const View& view) {
  std::vector<std::vector<Piece>> rows;
  for (const RelayRow& row : summary.relay) {
    // An upstream that is down is news; of all else 0 says nothing.
    if (row.value == 0 && !row.name.starts_with("upstream_up ")) continue;
    rows.push_back(
        {{.text = row.name}, {.text = number(row.value) + (row.per_second ? "/s" : "  ")}});
  }
  return table({{.title = "RELAY", .left = true}, {.title = "now"}}, rows, view.columns);
}

std::vector<Line> errors(const Summary& summary, const View& view) {
  if (summary.errors.empty()) return {{{.text = "no errors", .ink = Ink::Faint}}};
  std::vector<Piece> pieces{{.text = "errors:", .ink = Ink::Bad}};
  for (const auto& [what, rate] : summary.errors) {
    pieces.push_back({.text = fmt::format("{} {}/s", what, number(rate)), .ink = Ink::Bad});
  }
  return flow(pieces, view.columns);
}

std::vector<Line> help(const View& view) {
  constexpr std::array<std::array<std::string_view, 2>, 6> keys{{
      {"s", "sort by throughput, requests, name"},
      {"r", "reverse the order"},
      {"p, space", "pause, go on"},
      {"+ -", "read more often, less often"},
      {"up, down", "scroll"},
      {"q", "quit"},
  }};
  std::vector<Line> lines;
  for (const auto& [key, what] : keys) {
    lines.push_back({{.text = fmt::format("{:<10}", key), .ink = Ink::Strong},
                     {.text = cut(what, view.columns > 10 ? view.columns - 10 : 0)}});
  }
  return lines;
}

}  // namespace

std::string_view name(Sort sort) {
  switch (sort) {
    case Sort::Throughput:
      return "throughput";
    case Sort::Requests:
      return "requests";
    case Sort::Name:
      return "name";
  }
  return "";
}

std::vector<Line> picture(const Summary* summary, const View& view) {
  std::vector<Line> lines = header(summary, view);
  if (view.help) {
    lines.emplace_back();
    append(lines, help(view));
    return lines;
  }
  if (summary == nullptr) {
    if (view.trouble.empty()) {
      append(lines,
             flow({{.text = "waiting for the next figures", .ink = Ink::Faint}}, view.columns));
    }
    return lines;
  }
  if (!view.history.empty()) lines.push_back(sparkline(view));
  append(lines, totals(*summary, view));
  append(lines, errors(*summary, view));
  if (!summary->workers.empty()) {
    lines.emplace_back();
    append(lines, workers(*summary, view));
  }
  lines.emplace_back();
  append(lines, paths(*summary, view));
  if (!summary->relay.empty()) {
    lines.emplace_back();
    append(lines, relay(*summary, view));
  }
  return lines;
}

}  // namespace pagewire::top
