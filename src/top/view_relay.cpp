// The picture of a relay: where its bytes and connections go, upstream by upstream.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "top/table.h"
#include "top/view_parts.h"

namespace pagewire::top {

namespace {

std::string rate(double value) {
  return number(value) + "/s";
}

std::string name_of(const UpstreamRow& row) {
  if (row.address.empty() || row.address == row.upstream) return row.upstream;
  return fmt::format("{} ({})", row.upstream, row.address);
}

Piece state_of(const UpstreamRow& row) {
  if (!row.up) return {.text = "-"};
  return *row.up ? Piece{.text = "up", .ink = Ink::Good} : Piece{.text = "DOWN", .ink = Ink::Bad};
}

/// "refused 3.00/s, timeout 1.00/s"
std::string listed(const std::vector<Share>& rates) {
  std::string text;
  for (const auto& [what, value] : rates) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", what, rate(value));
  }
  return text;
}

double connections_of(const RouteRow& route) {
  double sum = 0;
  for (const UpstreamRow& row : route.upstreams) sum += row.connections.value_or(0);
  return sum;
}

Piece ups_of(const RouteRow& route) {
  std::size_t up = 0;
  for (const UpstreamRow& row : route.upstreams) up += row.up.value_or(true) ? 1 : 0;
  const Ink ink = up == route.upstreams.size() ? Ink::Good : up > 0 ? Ink::Warning : Ink::Bad;
  return {.text = fmt::format("{} of {}", up, route.upstreams.size()), .ink = ink};
}

std::vector<Piece> route_row(const RouteRow& route, bool with_mirror) {
  std::vector<Piece> row{
      {.text = route.name},
      ups_of(route),
      {.text = count(connections_of(route)), .ink = Ink::Strong},
      {.text = count(route.queued), .ink = route.queued > 0 ? Ink::Warning : Ink::Plain},
      {.text = rate(route.lookup_failures),
       .ink = route.lookup_failures > 0 ? Ink::Warning : Ink::Faint}};
  if (!with_mirror) return row;
  if (!route.mirror) {
    row.insert(row.end(), 2, {.text = "-", .ink = Ink::Faint});
    return row;
  }
  const MirrorRow& mirror = *route.mirror;
  // Beginnings and ends may be missing where no bytes are.
  const bool whole = mirror.dropped_bytes <= 0 && mirror.dropped_records <= 0;
  row.push_back({.text = number(mirror.gbit)});
  row.push_back({.text = whole ? "0" : size(mirror.dropped_bytes) + "/s",
                 .ink = whole ? Ink::Faint : Ink::Bad});
  return row;
}

std::vector<Line> upstreams(const RelaySummary& relay, const View& view) {
  const bool several = relay.routes.size() > 1;
  std::vector<Column> columns{{.title = "UPSTREAM", .left = true},
                              {.title = "state", .left = true},
                              {.title = "conns"},
                              {.title = "new/s", .rank = 1},
                              {.title = "failed", .rank = 2, .left = true}};
  if (several) columns.push_back({.title = "of relay", .rank = 3, .left = true});
  std::vector<std::vector<Piece>> rows;
  for (const RouteRow& route : relay.routes) {
    for (const UpstreamRow& row : route.upstreams) {
      rows.push_back({{.text = name_of(row)},
                      state_of(row),
                      {.text = count(row.connections), .ink = Ink::Strong},
                      {.text = number(row.connects)},
                      {.text = listed(row.failures), .ink = Ink::Bad}});
      if (several) rows.back().push_back({.text = route.name, .ink = Ink::Faint});
    }
  }
  return table(columns, rows, view.columns);
}

}  // namespace

std::vector<Line> relay_totals(const Summary& summary, const View& view) {
  const RelaySummary& relay = *summary.relay;
  std::vector<Piece> first{
      {.text = number(summary.gbit) + " Gbit/s", .ink = Ink::Strong},
      {.text = fmt::format("({} up, {} down)", number(relay.gbit_up), number(relay.gbit_down))},
      {.text = number(summary.requests) + " new connections/s", .ink = Ink::Strong},
      {.text = count(summary.connections) + " connections", .ink = Ink::Strong},
      {.text = "CPU " + percent(summary.cpu)}};
  if (summary.cpu_ms_per_gbit) {
    first.push_back({.text = number(*summary.cpu_ms_per_gbit) + " ms/Gbit", .ink = Ink::Good});
  }
  std::vector<Piece> second{
      {.text = count(relay.tunnels) + " tunnels"},
      {.text = fmt::format("pipes {} in use, {} idle", count(relay.pipes_in_use),
                           count(relay.pipes_idle))},
      {.text = "retries " + rate(relay.retries),
       .ink = relay.retries > 0 ? Ink::Warning : Ink::Plain}};
  if (summary.ktls) second.push_back({.text = "kTLS " + percent(summary.ktls)});
  second.push_back(retransmits(summary));
  if (relay.splice_usable == false) {
    second.push_back({.text = "splice does not work here", .ink = Ink::Bad});
  }
  std::vector<Line> lines = flow(first, view.columns);
  append(lines, flow(second, view.columns));
  return lines;
}

std::vector<Line> relay_workers(const Summary& summary, const View& view) {
  std::vector<std::vector<Piece>> rows;
  for (const WorkerRow& row :
       sorted(summary.workers, view, [](const WorkerRow& each) { return each.requests; })) {
    rows.push_back({{.text = row.name},
                    {.text = number(row.gbit_up), .ink = Ink::Strong},
                    {.text = number(row.gbit_down), .ink = Ink::Strong},
                    {.text = number(row.requests)},
                    {.text = count(row.connections)}});
    append_thread(rows.back(), row);
  }
  std::vector<Column> columns{{.title = "WORKER", .left = true},
                              {.title = "Gbit/s up"},
                              {.title = "down"},
                              {.title = "new/s", .rank = 2},
                              {.title = "conns", .rank = 1}};
  std::ranges::copy(thread_columns(3), std::back_inserter(columns));
  return table(columns, rows, view.columns);
}

std::vector<Line> relay_paths(const Summary& summary, const View& view) {
  std::vector<std::vector<Piece>> rows;
  for (const PathRow& row : sorted(summary.paths, view, [](const PathRow& each) {
         return each.gbit;  // requests have no path here
       })) {
    rows.push_back({{.text = row.name},
                    {.text = percent(row.share), .ink = Ink::Strong},
                    {.text = number(row.gbit)},
                    {.text = size(row.bytes_per_call)}});
  }
  std::vector<Line> lines;
  if (rows.empty()) {
    lines = nothing_sent(summary);
  } else {
    lines = table({{.title = "PATH", .left = true},
                   {.title = "share"},
                   {.title = "Gbit/s"},
                   {.title = "per call", .rank = 1}},
                  rows, view.columns);
  }
  if (!summary.relay->switches.empty()) {
    append(lines,
           flow(named_rates("switches:", summary.relay->switches, Ink::Faint), view.columns));
  }
  return lines;
}

std::vector<Line> relay_ends(const Summary& summary, const View& view) {
  std::vector<Piece> pieces = named_rates("ends:", summary.relay->ends, Ink::Warning);
  pieces.front().ink = Ink::Plain;
  for (Piece& piece : pieces) {
    if (piece.text.starts_with("done ")) piece.ink = Ink::Good;
  }
  if (pieces.size() == 1) pieces = {{.text = "no connection ended", .ink = Ink::Faint}};
  return flow(pieces, view.columns);
}

std::vector<Line> relay_routes(const Summary& summary, const View& view) {
  const RelaySummary& relay = *summary.relay;
  if (relay.routes.empty()) return {};
  const bool with_mirror = std::any_of(relay.routes.begin(), relay.routes.end(),
                                       [](const RouteRow& row) { return row.mirror.has_value(); });
  std::vector<Column> columns{{.title = "RELAY", .left = true},
                              {.title = "up", .left = true},
                              {.title = "conns", .rank = 1},
                              {.title = "queued"},
                              {.title = "look-ups failed", .rank = 3}};
  if (with_mirror) {
    columns.push_back({.title = "mirror Gbit/s", .rank = 2});
    columns.push_back({.title = "lost"});
  }
  std::vector<std::vector<Piece>> rows;
  for (const RouteRow& route : relay.routes) rows.push_back(route_row(route, with_mirror));
  std::vector<Line> lines = table(columns, rows, view.columns);
  lines.emplace_back();
  append(lines, upstreams(relay, view));
  return lines;
}

}  // namespace pagewire::top
