#include "top/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "top/table.h"
#include "top/view_parts.h"

namespace pagewire::top {

namespace {

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
  std::vector<Piece> first{
      {.text = number(summary.gbit) + " Gbit/s", .ink = Ink::Strong},
      {.text = number(summary.requests) + " requests/s", .ink = Ink::Strong},
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
  std::string cold = "cold waits " + number(summary.cold_waits) + "/s";
  if (summary.cold_wait_ms) cold += fmt::format(" of {} ms", number(*summary.cold_wait_ms));
  second.push_back({.text = cold, .ink = summary.cold_waits > 0 ? Ink::Warning : Ink::Plain});
  if (summary.ktls) second.push_back({.text = "kTLS " + percent(summary.ktls)});
  second.push_back(retransmits(summary));
  std::vector<Line> lines = flow(first, view.columns);
  append(lines, flow(second, view.columns));
  return lines;
}

std::vector<Line> workers(const Summary& summary, const View& view) {
  std::vector<std::vector<Piece>> rows;
  for (const WorkerRow& row :
       sorted(summary.workers, view, [](const WorkerRow& each) { return each.requests; })) {
    rows.push_back({{.text = row.name},
                    {.text = number(row.gbit), .ink = Ink::Strong},
                    {.text = number(row.requests)},
                    {.text = count(row.connections)}});
    append_thread(rows.back(), row);
  }
  std::vector<Column> columns{{.title = "WORKER", .left = true},
                              {.title = "Gbit/s"},
                              {.title = "req/s"},
                              {.title = "conns", .rank = 1}};
  std::ranges::copy(thread_columns(2), std::back_inserter(columns));
  return table(columns, rows, view.columns);
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
  if (rows.empty()) return nothing_sent(summary);
  return table({{.title = "PATH", .left = true},
                {.title = "share"},
                {.title = "Gbit/s", .rank = 1},
                {.title = "resp/s", .rank = 2},
                {.title = "per call", .rank = 3},
                {.title = "why", .left = true}},
               rows, view.columns);
}

std::vector<Line> errors(const Summary& summary, const View& view) {
  if (summary.errors.empty()) return {{{.text = "no errors", .ink = Ink::Faint}}};
  return flow(named_rates("errors:", summary.errors, Ink::Bad), view.columns);
}

std::vector<Line> help(const View& view) {
  constexpr std::array<std::array<std::string_view, 2>, 6> keys{{
      {"s", "sort by throughput, requests (new connections of a relay), name"},
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
  const bool relays = summary->relay.has_value();
  append(lines, relays ? relay_totals(*summary, view) : totals(*summary, view));
  append(lines, errors(*summary, view));
  if (relays) append(lines, relay_ends(*summary, view));
  if (!summary->workers.empty()) {
    lines.emplace_back();
    append(lines, relays ? relay_workers(*summary, view) : workers(*summary, view));
  }
  lines.emplace_back();
  append(lines, relays ? relay_paths(*summary, view) : paths(*summary, view));
  if (relays) {
    lines.emplace_back();
    append(lines, relay_routes(*summary, view));
  }
  return lines;
}

}  // namespace pagewire::top
