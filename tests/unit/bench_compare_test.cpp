// Comparisons of reports that are written down here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/units.h"
#include "bench/compare.h"

namespace pagewire::bench {
namespace {

using std::string;
using Values = std::vector<double>;

constexpr double threshold = 0.05;

Report report_with(Metric metric, const Values& values) {
  Report report;
  report.kind = "run";
  report.environment.kernel = "6.18";
  Row& row = report.rows.emplace_back();
  row.title = "256 MiB x 4, stream";
  row.size_bytes = 256 * mib;
  row.connections = 4;
  row.mode = "stream";
  row.baseline = "copy";
  Contender& contender = row.contenders.emplace_back();
  contender.name = "sendfile";
  for (const double value : values) {
    Round round;
    round.figures.emplace(metric, Figure::of(value, Source::Measured));
    contender.rounds.push_back(std::move(round));
  }
  summarise(report);
  return report;
}

struct Case {
  string what;
  Metric metric;
  Values before;
  Values after;
  Verdict verdict;
};

const std::vector<Case> cases = {
    {"dearer, surely", Metric::CpuMsPerGbit, {10, 10.1, 9.9}, {12, 12.1, 11.9}, Verdict::Worse},
    {"cheaper, surely", Metric::CpuMsPerGbit, {10, 10.1, 9.9}, {8, 8.1, 7.9}, Verdict::Better},
    {"slower, surely", Metric::ThroughputGbitPerS, {40, 41, 39}, {30, 31, 29}, Verdict::Worse},
    {"faster, surely", Metric::ThroughputGbitPerS, {40, 41, 39}, {60, 61, 59}, Verdict::Better},
    {"within the threshold",
     Metric::CpuMsPerGbit,
     {10, 10.01, 9.99},
     {10.4, 10.41, 10.39},
     Verdict::Same},
    {"beyond the threshold, within the noise",
     Metric::CpuMsPerGbit,
     {10, 14, 6},
     {12, 16, 8},
     Verdict::WithinNoise},
    {"a small change of noisy figures",
     Metric::CpuMsPerGbit,
     {10, 14, 6},
     {10.1, 14.1, 6.1},
     Verdict::WithinNoise},
    {"one round each", Metric::CpuMsPerGbit, {10}, {20}, Verdict::WithinNoise},
    {"one round on one side", Metric::CpuMsPerGbit, {10, 10}, {20}, Verdict::WithinNoise},
    {"the same figure without any noise", Metric::CopiesPerByte, {1, 1}, {1, 1}, Verdict::Same},
    {"copies where there were none", Metric::CopiesPerByte, {0, 0}, {1, 1}, Verdict::Worse},
    {"none where there were copies", Metric::CopiesPerByte, {1, 1}, {0, 0}, Verdict::Better},
    {"none and none", Metric::CopiesPerByte, {0, 0}, {0, 0}, Verdict::Same},
    // The median says one thing, the mean another: nothing is sure.
    {"a wild round",
     Metric::CpuMsPerGbit,
     {10, 10, 10, 10, 90},
     {12, 12, 12, 12, 12},
     Verdict::WithinNoise},
};

TEST(Compare, GivesVerdicts) {
  for (const Case& row : cases) {
    const auto comparison =
        compare(report_with(row.metric, row.before), report_with(row.metric, row.after), threshold);
    ASSERT_TRUE(comparison.has_value()) << row.what << ": " << comparison.error();
    ASSERT_EQ(comparison->changes.size(), 1U) << row.what;
    EXPECT_EQ(comparison->changes[0].verdict, row.verdict) << row.what;
    EXPECT_EQ(comparison->worse, row.verdict == Verdict::Worse) << row.what;
  }
}

TEST(Compare, GivesMediansChangeAndInterval) {
  const auto comparison = compare(report_with(Metric::CpuMsPerGbit, {10, 11, 9}),
                                  report_with(Metric::CpuMsPerGbit, {20, 21, 19}), threshold);
  ASSERT_TRUE(comparison.has_value());
  const Change& change = comparison->changes.at(0);
  EXPECT_EQ(change.name, "sendfile");
  EXPECT_EQ(change.row, "256 MiB x 4, stream");
  EXPECT_DOUBLE_EQ(change.before, 10);
  EXPECT_DOUBLE_EQ(change.after, 20);
  EXPECT_DOUBLE_EQ(change.relative, 1);
  ASSERT_TRUE(change.ci95.has_value());
  // Welch with equal variances: 4 degrees of freedom, standard error sqrt(2/3).
  EXPECT_NEAR(change.ci95->low, (10 - 2.7764451 * std::sqrt(2.0 / 3)) / 10, 1e-6);
  EXPECT_NEAR(change.ci95->high, (10 + 2.7764451 * std::sqrt(2.0 / 3)) / 10, 1e-6);
}

TEST(Compare, LooksAtJudgedMetricsAlone) {
  const auto comparison = compare(report_with(Metric::StealPercent, {0.1, 0.1}),
                                  report_with(Metric::StealPercent, {50, 50}), threshold);
  ASSERT_TRUE(comparison.has_value());
  EXPECT_TRUE(comparison->changes.empty());
  EXPECT_FALSE(comparison->worse);
}

TEST(Compare, RefusesWhatDoesNotMatch) {
  const Report before = report_with(Metric::CpuMsPerGbit, {10, 10});
  const auto error_with = [&before](auto change) {
    Report after = before;
    change(after);
    const auto comparison = compare(before, after, threshold);
    return comparison ? string("none") : comparison.error();
  };
  EXPECT_EQ(error_with([](Report&) {}), "none");
  EXPECT_EQ(error_with([](Report& after) { after.kind = "sweep"; }),
            "the reports are of different kinds: run before, sweep after");
  EXPECT_NE(error_with([](Report& after) { after.rows[0].connections = 8; }).find("8 connections"),
            string::npos);
  EXPECT_NE(error_with([](Report& after) { after.rows[0].mode = "request"; }).find("request mode"),
            string::npos);
  EXPECT_NE(error_with([](Report& after) { after.rows[0].size_bytes = 5; }).find("5 bytes"),
            string::npos);
  EXPECT_NE(error_with([](Report& after) {
              after.rows[0].offered_gbit_per_s = 2.5;
            }).find("saturation) before"),
            string::npos);
  EXPECT_EQ(error_with([](Report& after) { after.rows[0].contenders[0].name = "splice"; }),
            "the reports have no contender in common");
  EXPECT_EQ(error_with([](Report& after) { after.rows.clear(); }), "the report after has no rows");
}

bool has(const std::vector<string>& lines, const string& wanted) {
  return std::any_of(lines.begin(), lines.end(),
                     [&wanted](const string& line) { return line.find(wanted) != string::npos; });
}

TEST(Compare, TellsWhatElseDiffers) {
  Report before = report_with(Metric::CpuMsPerGbit, {10, 10});
  Report after = before;
  after.environment.kernel = "6.19";
  after.environment.filesystem = "ext4 on /dev/vda";
  before.settings = {{"-t", "3"}, {"--cold", "yes"}};
  after.settings = {{"-t", "1"}, {"--warmup", "2"}};
  after.partial = true;
  after.partial_reason = "interrupted in round 2 of 5";
  after.rows[0].contenders.emplace_back().name = "mmap";
  after.rows.push_back(after.rows[0]);
  after.rows[1].connections = 8;
  const auto comparison = compare(before, after, threshold);
  ASSERT_TRUE(comparison.has_value());
  const std::vector<string>& lines = comparison->differences;
  EXPECT_TRUE(has(lines, "kernel: 6.18 before, 6.19 after"));
  EXPECT_TRUE(has(lines, "filesystem: unknown before, ext4 on /dev/vda after"));
  EXPECT_TRUE(has(lines, "-t: 3 before, 1 after"));
  EXPECT_TRUE(has(lines, "--cold: yes before, unknown after"));
  EXPECT_TRUE(has(lines, "--warmup: unknown before, 2 after"));
  EXPECT_TRUE(has(lines, "the report after is partial: interrupted in round 2 of 5"));
  EXPECT_TRUE(has(lines, "mmap is only in the report after"));
  EXPECT_TRUE(has(lines, "only in the report after: 256 MiB x 4, stream"));
  EXPECT_EQ(lines.size(), 8U);
  EXPECT_FALSE(comparison->worse);
}

TEST(Compare, TellsOfPathsAndFiguresThatAreGone) {
  const Report before = report_with(Metric::CpuMsPerGbit, {10, 10});
  Report after = before;
  after.rows[0].contenders[0].rounds.clear();
  summarise(after);
  auto comparison = compare(before, after, threshold);
  ASSERT_TRUE(comparison.has_value());
  EXPECT_TRUE(has(comparison->differences, "CPU per Gbit is only in the report before"));
  after.rows[0].contenders[0].unavailable = "no permission";
  summarise(after);
  comparison = compare(before, after, threshold);
  ASSERT_TRUE(comparison.has_value());
  EXPECT_TRUE(has(comparison->differences, "sendfile: not available any more: no permission"));
  EXPECT_EQ(comparison->differences.size(), 1U);
}

TEST(CompareTable, IsAlignedAndSaysTheVerdict) {
  const auto comparison = compare(report_with(Metric::CpuMsPerGbit, {200, 202, 198}),
                                  report_with(Metric::CpuMsPerGbit, {400, 402, 398}), threshold);
  ASSERT_TRUE(comparison.has_value());
  EXPECT_EQ(to_table(*comparison, 100),
            "256 MiB x 4, stream\n"
            "path      figure            before  after    change       95% interval\n"
            "sendfile  CPU per Gbit, ms     200    400  +100.0 %  +97.7 .. +102.3 %  WORSE\n"
            "\n"
            "1 of 1 figures got worse, 0 better, beyond the threshold and the noise.\n");
  EXPECT_EQ(to_table(*comparison, 70).find("95%"), string::npos);
}

TEST(CompareTable, SaysFromNoneWhereThereWasNothing) {
  const auto comparison = compare(report_with(Metric::CopiesPerByte, {0, 0}),
                                  report_with(Metric::CopiesPerByte, {1, 1}), threshold);
  ASSERT_TRUE(comparison.has_value());
  const string table = to_table(*comparison, 100);
  EXPECT_NE(table.find("from none"), string::npos) << table;
  EXPECT_EQ(table.find("inf"), string::npos) << table;
}

}  // namespace
}  // namespace pagewire::bench
