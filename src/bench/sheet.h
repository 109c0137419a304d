// What the terminal, Markdown and HTML show, before it gets a form: tables of ready texts. Pure.
//
// A column that nobody has a figure for is left out; why stands in missing_figures() (facts.h).
#pragma once

#include <string>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {

struct SheetColumn {
  std::string title;   ///< "CPU per Gbit"
  std::string unit;    ///< "ms"; may be ""
  int importance = 0;  ///< where there is no room, the least important ones go first
};

struct SheetCell {
  std::string text;           ///< "n/a" for what is missing
  bool is_best = false;       ///< of its column, and surely so
  bool is_elsewhere = false;  ///< missing: the reason stands below the tables
};

/// The first column is text, the others are numbers.
struct Sheet {
  std::string title;               ///< "the bill"
  bool columns_are_paths = false;  ///< none is less important: better two tables than one less
  bool is_detail = false;          ///< a terminal does without
  std::vector<SheetColumn> columns;
  std::vector<std::vector<SheetCell>> lines;
};

/// A heading and the tables below it: a row of the report, or all rows of a sweep.
struct Chapter {
  std::string title;
  std::vector<Sheet> sheets;
};

/// In the order that they are shown. A sweep has one chapter with a line for each size.
std::vector<Chapter> chapters_of(const Report& report);

/// Every metric of a row with its source: a line a metric, a column a contender.
Sheet every_metric(const Row& row);

/// Whether it is shown as curves over the size, one chapter for all rows.
bool is_sweep(const Report& report);

/// The contenders' names over all rows, in the order of their first appearance.
std::vector<std::string> contender_names(const Report& report);

/// The summary of a metric if it has a median, else null.
const Summary* summary_with_value(const Contender& contender, Metric metric);

/// Whether the intervals of the means overlap. Without intervals (a single round) nothing is known,
/// and this is false.
bool may_be_the_same(const Summary& a, const Summary& b);

}  // namespace pagewire::bench
