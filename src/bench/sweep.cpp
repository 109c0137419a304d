// bench sweep: one row for each size, as requests, and the break-evens.
//
// Invariants: the paths take turns within a size, so that a machine that drifts over the minutes
// of a sweep does so between sizes, never between paths; a size that was cut short keeps its
// complete rounds, and one without any is left out.
#include <fmt/format.h>

#include <algorithm>

#include "bench/contest.h"
#include "bench/environment.h"
#include "bench/format_number.h"
#include "bench/run.h"
#include "bench/run_parts.h"

namespace pagewire::bench {

namespace {

std::string size_text(ByteCount size) {
  return format_size(static_cast<double>(size.value));
}

bool has_round(const Row& row) {
  return std::any_of(row.contenders.begin(), row.contenders.end(),
                     [](const Contender& contender) { return !contender.rounds.empty(); });
}

std::string sizes_text(const std::vector<ByteCount>& sizes) {
  std::string text;
  for (const ByteCount size : sizes) text += (text.empty() ? "" : ", ") + size_text(size);
  return text;
}

std::string wrong_sizes(const std::vector<ByteCount>& sizes) {
  if (sizes.empty()) return "--sizes: there is no size to measure";
  if (sizes.front().value == 0) return "--sizes: a file needs at least one byte";
  const auto not_ascending =
      std::adjacent_find(sizes.begin(), sizes.end(),
                         [](ByteCount smaller, ByteCount larger) { return smaller >= larger; });
  if (not_ascending != sizes.end()) return "--sizes: they must ascend, each once";
  return {};
}

/// The rounds of one size. The error is why there is no file of it.
tl::expected<Row, CannotRun> row_of(const RunSettings& settings, ByteCount size, Contest& contest,
                                    Watch& watch) {
  const tl::expected<SourceFile, CannotRun> source =
      make_source({.folder = settings.folder, .size = size}, watch);
  if (!source) return tl::unexpected(source.error());
  return contest.hold({.source = &*source,
                       .title = fmt::format("{} x {}, request{}", size_text(size),
                                            settings.connections, settings.cold ? ", cold" : ""),
                       .suffix = " at " + size_text(size)});
}

}  // namespace

std::vector<ByteCount> default_sweep_sizes() {
  std::vector<ByteCount> sizes;
  // Every power of two where break-evens are expected, every power of four above.
  for (std::uint64_t size = kib; size < 256 * kib; size *= 2) sizes.push_back({size});
  for (std::uint64_t size = 256 * kib; size <= 64 * mib; size *= 4) sizes.push_back({size});
  return sizes;
}

tl::expected<Report, CannotRun> sweep(const SweepSettings& settings, Watch& watch) {
  RunSettings each = settings.run;
  each.mode = Mode::Request;
  each.file.clear();
  each.zeros = {};
  std::string wrong = wrong_sizes(settings.sizes);
  if (wrong.empty()) wrong = what_is_wrong(each);
  if (!wrong.empty()) return tl::unexpected(CannotRun{std::move(wrong)});

  Contest contest(each, watch);
  if (const auto prepared = contest.prepare(); !prepared) {
    return tl::unexpected(prepared.error());
  }
  Report report;
  report.kind = "sweep";
  report.title = fmt::format("{} to {} x {}, request", size_text(settings.sizes.front()),
                             size_text(settings.sizes.back()), each.connections);
  report.environment = describe_environment(place_of(each), each.net);
  report.settings = settings_of(each);
  report.settings.emplace_back("--sizes", sizes_text(settings.sizes));
  std::vector<ByteCount> left_out;
  for (const ByteCount size : settings.sizes) contest.expect(size);
  for (const ByteCount size : settings.sizes) {
    tl::expected<Row, CannotRun> row = row_of(each, size, contest, watch);
    if (!row) {
      contest.end(row.error().text);
    } else if (has_round(*row)) {
      report.rows.push_back(std::move(*row));
    } else {
      left_out.push_back(size);
    }
    if (!contest.ended().empty()) break;
  }
  if (report.rows.empty()) {
    const std::string why = contest.ended().empty() ? "no path can be measured" : contest.ended();
    return tl::unexpected(CannotRun{why});
  }
  finish_report(contest, report);
  if (!left_out.empty() && contest.ended().empty()) {
    report.remarks.push_back("Left out, no path could be measured: " + sizes_text(left_out));
  }
  report.break_evens = find_break_evens(report.rows);
  return report;
}

}  // namespace pagewire::bench
