// bench run: one file, all paths, one row.
//
// Invariants: what cannot be measured at all is refused before anything is started; from then on
// there is always a report, partial if need be. Processes, namespaces and files end with the
// objects here.
#include "bench/run.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/contest.h"
#include "bench/environment.h"
#include "bench/format_number.h"
#include "bench/remarks.h"
#include "bench/run_parts.h"

namespace pagewire::bench {

namespace {

std::string title_of(const RunSettings& settings, ByteCount size) {
  return fmt::format("{} x {}, {}{}", format_size(static_cast<double>(size.value)),
                     settings.connections, settings.mode == Mode::Stream ? "stream" : "request",
                     settings.cold ? ", cold" : "");
}

tl::expected<SourceFile, CannotRun> source_of(const RunSettings& settings, Watch& watch) {
  if (settings.zeros.value > 0) return open_zeros(settings.zeros);
  if (!settings.file.empty()) return open_source(settings.file);
  return make_source({.folder = settings.folder, .size = settings.size}, watch);
}

/// With --cold the first pass over the file is cold, and all later ones find it in memory.
std::optional<std::string> passes_remark(const RunSettings& settings, const Row& row) {
  if (!settings.cold) return std::nullopt;
  double most = 0;
  for (const Contender& contender : row.contenders) {
    const auto throughput = contender.summary.find(Metric::ThroughputGbitPerS);
    if (throughput == contender.summary.end() || !throughput->second.median) continue;
    const double bytes = *throughput->second.median * 1e9 / 8 * settings.seconds;
    most = std::max(most, bytes / static_cast<double>(row.size_bytes));
  }
  if (most < 1.5) return std::nullopt;
  return fmt::format(
      "--cold: in a window the file went out up to {:.0f} times, and only the first time was it "
      "cold; a larger file or a shorter -t has a larger share of it.",
      most);
}

/// Why there is not a single figure although nobody stopped the run; "" when there is one.
std::string why_nothing(const Row& row) {
  std::string reasons;
  for (const Contender& contender : row.contenders) {
    if (contender.unavailable.empty()) return {};
    reasons +=
        fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", contender.name, contender.unavailable);
  }
  return "no path can be measured: " + reasons;
}

}  // namespace

tl::expected<Report, CannotRun> run(const RunSettings& settings, Watch& watch) {
  if (std::string wrong = what_is_wrong(settings); !wrong.empty()) {
    return tl::unexpected(CannotRun{std::move(wrong)});
  }
  Contest contest(settings, watch);
  if (const auto prepared = contest.prepare(); !prepared) {
    return tl::unexpected(prepared.error());
  }
  watch.progress(0, 0, "getting the file ready");
  const tl::expected<SourceFile, CannotRun> source = source_of(settings, watch);
  if (!source) return tl::unexpected(source.error());

  Report report;
  report.kind = "run";
  report.title = title_of(settings, source->status.size);
  report.environment = describe_environment(place_of(settings), settings.net);
  report.settings = settings_of(settings);
  contest.expect(source->status.size);
  report.rows.push_back(contest.hold({.source = &*source, .title = report.title, .suffix = ""}));
  if (contest.ended().empty()) {
    if (std::string nothing = why_nothing(report.rows.front()); !nothing.empty()) {
      return tl::unexpected(CannotRun{std::move(nothing)});
    }
  }
  finish_report(contest, report);
  if (std::optional<std::string> passes = passes_remark(settings, report.rows.front())) {
    report.remarks.push_back(std::move(*passes));
  }
  return report;
}

}  // namespace pagewire::bench
