// Summaries and ratios of rounds that are written down here.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {
namespace {

constexpr Metric cpu = Metric::CpuMsPerGbit;

Round round_with(Metric metric, Figure figure) {
  Round round;
  round.figures.emplace(metric, std::move(figure));
  return round;
}

Contender contender_with(std::string name, const std::vector<double>& values) {
  Contender contender;
  contender.name = std::move(name);
  for (const double value : values) {
    contender.rounds.push_back(round_with(cpu, Figure::of(value, Source::Measured)));
  }
  return contender;
}

/// The summary after summarise(), of a report with this one contender.
Summary summarised(Contender contender, Metric metric = cpu) {
  Report report;
  report.rows.emplace_back();
  report.rows[0].contenders.push_back(std::move(contender));
  summarise(report);
  return report.rows[0].contenders[0].summary.at(metric);
}

TEST(Summarise, GivesEveryMetricAMedianOrAReason) {
  Report report;
  report.rows.emplace_back();
  report.rows[0].contenders.push_back(contender_with("copy", {20, 18, 22}));
  report.rows[0].contenders.push_back(contender_with("nothing", {}));
  report.rows[0].contenders.push_back(contender_with("absent", {}));
  report.rows[0].contenders[2].unavailable = "the kernel has none";
  summarise(report);
  for (const Contender& contender : report.rows[0].contenders) {
    for (const MetricInfo& metric : metrics()) {
      const Summary& summary = contender.summary.at(metric.metric);
      EXPECT_NE(summary.median.has_value(), !summary.reason.empty())
          << contender.name << " " << metric.name;
    }
  }
  EXPECT_EQ(report.rows[0].contenders[2].summary.at(cpu).reason, "the kernel has none");
}

TEST(Summarise, TakesMedianMeanExtentAndInterval) {
  const Summary summary = summarised(contender_with("copy", {20, 18, 28}));
  EXPECT_DOUBLE_EQ(*summary.median, 20);
  EXPECT_DOUBLE_EQ(*summary.mean, 22);
  EXPECT_DOUBLE_EQ(summary.extent->low, 18);
  EXPECT_DOUBLE_EQ(summary.extent->high, 28);
  EXPECT_EQ(summary.rounds, 3U);
  ASSERT_TRUE(summary.ci95.has_value());
  EXPECT_LT(summary.ci95->low, 22);
  EXPECT_GT(summary.ci95->high, 22);
}

TEST(Summarise, GivesNoIntervalForOneRound) {
  const Summary summary = summarised(contender_with("copy", {20}));
  EXPECT_DOUBLE_EQ(*summary.median, 20);
  EXPECT_FALSE(summary.ci95.has_value());
}

TEST(Summarise, NeverBillsAnInstrumentedRound) {
  Contender contender = contender_with("copy", {20, 22});
  contender.rounds.push_back(round_with(cpu, Figure::of(900, Source::Measured)));
  contender.rounds.back().instrumented = true;
  const Summary summary = summarised(contender);
  EXPECT_DOUBLE_EQ(*summary.median, 21);
  EXPECT_EQ(summary.rounds, 2U);
}

TEST(Summarise, BillsNothingWhenOnlyTheInstrumentedRoundWasComplete) {
  Contender contender = contender_with("copy", {20});
  contender.rounds[0].figures.clear();
  contender.rounds[0].failed = "the client lost its connections";
  contender.rounds.push_back(round_with(cpu, Figure::of(900, Source::Measured)));
  contender.rounds.back().instrumented = true;
  const Summary summary = summarised(contender);
  EXPECT_FALSE(summary.median.has_value());
  EXPECT_EQ(summary.reason, "no round was complete: the client lost its connections");
}

TEST(Summarise, TakesFromTheInstrumentedRoundWhatOnlyItTells) {
  Contender contender;
  contender.rounds.push_back(
      round_with(Metric::SyscallsPerS, Figure::missing("only in the instrumented round")));
  contender.rounds.push_back(round_with(Metric::SyscallsPerS, Figure::of(12000, Source::Measured)));
  contender.rounds.back().instrumented = true;
  const Summary summary = summarised(contender, Metric::SyscallsPerS);
  EXPECT_DOUBLE_EQ(*summary.median, 12000);
  EXPECT_EQ(summary.rounds, 1U);
  EXPECT_FALSE(summary.ci95.has_value());
}

TEST(Summarise, LeavesFailedRoundsOut) {
  Contender contender = contender_with("copy", {20, 22, 500});
  contender.rounds[2].failed = "the client lost its connections";
  EXPECT_DOUBLE_EQ(*summarised(contender).median, 21);
}

TEST(Summarise, SaysWhyEveryRoundFailed) {
  Contender contender;
  contender.rounds.resize(2);
  contender.rounds[0].failed = "first";
  contender.rounds[1].failed = "second";
  EXPECT_EQ(summarised(contender).reason, "no round was complete: second");
}

TEST(Summarise, GivesTheReasonOfTheLastRound) {
  Contender contender;
  contender.rounds.push_back(round_with(cpu, Figure::missing("first")));
  contender.rounds.push_back(round_with(cpu, Figure::missing("last")));
  const Summary summary = summarised(contender);
  EXPECT_FALSE(summary.median.has_value());
  EXPECT_EQ(summary.reason, "last");
}

TEST(Summarise, KeepsTheSourceAndTheWidestRange) {
  Contender contender;
  contender.rounds.push_back(
      round_with(Metric::MemoryTrafficPerByte, Figure::modelled(Bounds{2, 4})));
  contender.rounds.push_back(
      round_with(Metric::MemoryTrafficPerByte, Figure::modelled(Bounds{1, 3})));
  const Summary summary = summarised(contender, Metric::MemoryTrafficPerByte);
  EXPECT_EQ(summary.source, Source::Modelled);
  EXPECT_DOUBLE_EQ(summary.range->low, 1);
  EXPECT_DOUBLE_EQ(summary.range->high, 4);
}

TEST(Summarise, IsTheSameTheSecondTime) {
  Report report;
  report.rows.emplace_back();
  report.rows[0].contenders.push_back(contender_with("copy", {20, 22}));
  summarise(report);
  summarise(report);
  EXPECT_EQ(report.rows[0].contenders[0].summary.size(), metric_count);
  EXPECT_EQ(report.rows[0].contenders[0].summary.at(cpu).rounds, 2U);
}

TEST(RatioToBaseline, IsOfMedians) {
  Report report;
  Row& row = report.rows.emplace_back();
  row.baseline = "copy";
  row.contenders.push_back(contender_with("sendfile", {10, 11, 12}));
  row.contenders.push_back(contender_with("copy", {40, 44, 90}));
  row.contenders.push_back(contender_with("none", {}));
  summarise(report);
  EXPECT_DOUBLE_EQ(*ratio_to_baseline(row, row.contenders[0], cpu), 0.25);
  EXPECT_DOUBLE_EQ(*ratio_to_baseline(row, row.contenders[1], cpu), 1);
  EXPECT_FALSE(ratio_to_baseline(row, row.contenders[2], cpu).has_value());
  EXPECT_FALSE(ratio_to_baseline(row, row.contenders[0], Metric::Retransmits).has_value());
}

TEST(RatioToBaseline, IsNoneWithoutABaselineOrOfZero) {
  Report report;
  Row& row = report.rows.emplace_back();
  row.baseline = "copy";
  row.contenders.push_back(contender_with("sendfile", {10}));
  summarise(report);
  EXPECT_FALSE(ratio_to_baseline(row, row.contenders[0], cpu).has_value());
  row.contenders.push_back(contender_with("copy", {0}));
  summarise(report);
  EXPECT_FALSE(ratio_to_baseline(row, row.contenders[0], cpu).has_value());
}

TEST(Source, HasANameInFiles) {
  EXPECT_EQ(name_of(Source::Measured), "measured");
  EXPECT_EQ(name_of(Source::Counted), "counted");
  EXPECT_EQ(name_of(Source::Modelled), "modelled");
}

}  // namespace
}  // namespace pagewire::bench
