// What the pictures of serve and of a relay have in common: numbers as people read them, lines of
// pieces, rows in the order that the user chose. Pure. Private to this room.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "top/table.h"
#include "top/view.h"

namespace pagewire::top {

/// About three digits: "0", "0.031", "14.2", "1,108".
std::string number(double value);
/// "-" for what could not be had, as all of these.
std::string number(std::optional<double> value);
/// Of things that there are only whole ones of.
std::string count(std::optional<double> value);
std::string percent(std::optional<double> share);
std::string size(std::optional<double> bytes);
std::string duration(double seconds);

/// Pieces one behind the other, in as many lines as they need; none is broken.
std::vector<Line> flow(const std::vector<Piece>& pieces, std::size_t width);
void append(std::vector<Line>& lines, std::vector<Line> more);
/// `title`, then "done 3.00/s" and so on; only the title where there are none.
std::vector<Piece> named_rates(std::string_view title, const std::vector<Share>& rates, Ink ink);
Piece retransmits(const Summary& summary);
std::vector<Line> nothing_sent(const Summary& summary);
/// What a worker's thread took of one CPU, and what a wake-up brought: the last cells of its row,
/// and their columns, which go from `rank` on when there is no room.
void append_thread(std::vector<Piece>& cells, const WorkerRow& row);
std::vector<Column> thread_columns(int rank);
/// Of one CPU.
std::optional<double> cpu_of(const WorkerRow& row);

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

/// The parts of picture() that a relay has and serve has not, or otherwise. Of its `relay`.
std::vector<Line> relay_totals(const Summary& summary, const View& view);
std::vector<Line> relay_workers(const Summary& summary, const View& view);
std::vector<Line> relay_paths(const Summary& summary, const View& view);
std::vector<Line> relay_ends(const Summary& summary, const View& view);
std::vector<Line> relay_routes(const Summary& summary, const View& view);

}  // namespace pagewire::top
