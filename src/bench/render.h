// A Report as text: JSON and back, CSV, a terminal table, Markdown, SVG, one offline HTML file.
//
// Pure: values in, text out. Files are written by write_file() alone.
#pragma once

#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "base/result.h"
#include "bench/report.h"

namespace pagewire::bench {

/// docs/bench.schema.json; null stands for what is unknown, with its reason beside it.
std::string to_json(const Report& report);
/// The error says what is wrong and where: "schema_version is 7, this pagewire reads 1". Fills
/// summaries anew from the rounds.
tl::expected<Report, std::string> from_json(std::string_view text);

/// Tidy: one line per contender x round x metric, with source, reason and range; RFC 4180.
std::string to_csv(const Report& report);

struct TableOptions {
  std::size_t columns = 100;  ///< of the terminal
  bool colour = false;
};
/// For a terminal: environment in short, a table a row, what is missing and why, remarks.
std::string to_table(const Report& report, const TableOptions& options);
/// The same for docs/results.
std::string to_markdown(const Report& report);

/// Bars with whiskers (rows of one size), or curves over the size (sweep). Self-contained.
std::string to_svg(const Report& report);
/// One file without any reference outside it: pictures, table, environment, the JSON inside.
std::string to_html(const Report& report);

/// Writes beside `path` and renames, so that a full disk leaves an old report as it was and no
/// half of a new one. Errors: as open(2), write(2) (ENOSPC, EFBIG, EDQUOT), rename(2).
Result<void> write_file(const std::string& path, std::string_view text);

}  // namespace pagewire::bench
