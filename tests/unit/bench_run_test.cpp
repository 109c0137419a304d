// run() and sweep() for real: processes, sockets, files. Nothing here depends on how fast the
// machine is.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "unit/bench_run_fixture.h"

namespace pagewire::bench {
namespace {

TEST_F(BenchRun, MeasuresEveryPath) {
  settings_.size = ByteCount{4 * mib};
  settings_.seconds = 0.15;
  settings_.instrument = true;
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->kind, "run");
  EXPECT_FALSE(report->partial) << report->partial_reason;
  ASSERT_EQ(report->rows.size(), 1U);
  const Row& row = report->rows[0];
  EXPECT_EQ(row.title, "4 MiB x 2, stream");
  EXPECT_EQ(row.size_bytes, 4 * mib);
  EXPECT_EQ(row.baseline, "copy");
  ASSERT_EQ(row.contenders.size(), egress::socket_paths().size());
  for (const Contender& contender : row.contenders) {
    SCOPED_TRACE(contender.name);
    if (!contender.unavailable.empty()) continue;
    EXPECT_EQ(contender.verified_bytes, 4 * mib);
    EXPECT_EQ(contender.rounds.size(), 3U);
    EXPECT_EQ(complete_rounds(contender), 3U);
    EXPECT_TRUE(contender.rounds[2].instrumented);
    for (const MetricInfo& metric : metrics()) {
      const Summary& summary = contender.summary.at(metric.metric);
      EXPECT_NE(summary.median.has_value(), !summary.reason.empty()) << metric.name;
    }
    EXPECT_GT(contender.summary.at(Metric::ThroughputGbitPerS).median.value_or(0), 0);
    EXPECT_GT(contender.summary.at(Metric::CpuMsPerGbit).median.value_or(0), 0);
    EXPECT_EQ(contender.summary.at(Metric::CpuMsPerGbit).rounds, 2U);
  }
  EXPECT_TRUE(any_has(report->remarks, "Saturation"));
  EXPECT_FALSE(watch_.went_back);
  EXPECT_NEAR(watch_.last_done, watch_.last_total, watch_.last_total / 10);
}

TEST_F(BenchRun, ListsAPathThatTheFileDoesNotFitWithTheReason) {
  take_paths({"sendfile", "tee", "copy"});
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  const Contender& tee = contender_of(report->rows[0], "tee");
  EXPECT_EQ(tee.unavailable,
            "it sends only whole files of at most 64 KiB, from their first byte on");
  EXPECT_TRUE(tee.rounds.empty());
  EXPECT_TRUE(any_has(watch_.notes, "tee: it sends only whole files"));
  EXPECT_EQ(complete_rounds(contender_of(report->rows[0], "copy")), 2U);
  settings_.paths = {egress::find_path("tee")};
  EXPECT_TRUE(has(refusal(), "no path can be measured: tee: it sends only whole files"));
}

TEST_F(BenchRun, SendsZerosByEveryPath) {
  settings_.zeros = ByteCount{50'000};
  settings_.repeat = 1;
  settings_.seconds = 0.3;
  for (const Mode mode : {Mode::Stream, Mode::Request}) {
    settings_.mode = mode;
    const auto report = run_unstarved();
    ASSERT_TRUE(report.has_value()) << report.error().text;
    EXPECT_EQ(report->rows[0].size_bytes, 50'000U);
    for (const Contender& contender : report->rows[0].contenders) {
      EXPECT_EQ(contender.unavailable, "") << contender.name;
      EXPECT_EQ(contender.verified_bytes, 50'000U) << contender.name;
      EXPECT_EQ(complete_rounds(contender), 1U) << contender.name;
    }
  }
  EXPECT_TRUE(fs::is_empty(folder_));
  settings_.cold = true;
  EXPECT_TRUE(has(refusal(), "--zero has nothing in the page cache"));
}

TEST_F(BenchRun, SendsMoreZerosThanAMappedWindow) {
  settings_.zeros = ByteCount{5 * mib + 77};
  settings_.repeat = 1;
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  for (const Contender& contender : report->rows[0].contenders) {
    if (contender.name == "tee") continue;
    EXPECT_EQ(contender.verified_bytes, 5 * mib + 77) << contender.name;
  }
}

TEST_F(BenchRun, LetsThePathsTakeTurns) {
  take_paths({"sendfile", "splice", "tee", "mmap", "copy"});
  settings_.size = ByteCount{32 * kib};  // fits them all
  settings_.seconds = 0.02;
  settings_.warmup_seconds = 0;
  settings_.repeat = settings_.paths.size();
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  std::set<std::size_t> firsts;
  std::set<std::size_t> numbers;
  const std::vector<Contender>& contenders = report->rows[0].contenders;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    for (std::size_t turn = 0; turn < contenders[i].rounds.size(); ++turn) {
      const std::size_t number = contenders[i].rounds[turn].number;
      numbers.insert(number);
      EXPECT_EQ((number - 1) / contenders.size(), turn) << "rounds are interleaved";
      if ((number - 1) % contenders.size() == 0) firsts.insert(i);
    }
  }
  EXPECT_EQ(firsts.size(), contenders.size()) << "each was the first of a turn";
  EXPECT_EQ(numbers.size(), contenders.size() * contenders.size());
}

TEST_F(BenchRun, MeasuresRequestsOfAFileOfTheUsers) {
  settings_.file = make_file(60'003);
  settings_.mode = Mode::Request;
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  const Row& row = report->rows[0];
  EXPECT_EQ(row.mode, "request");
  for (const Contender& contender : row.contenders) {
    SCOPED_TRACE(contender.name);
    EXPECT_EQ(contender.unavailable, "");
    EXPECT_EQ(contender.verified_bytes, 60'003U);
    EXPECT_GT(contender.summary.at(Metric::RequestsPerS).median.value_or(0), 0);
    EXPECT_GT(contender.summary.at(Metric::CpuUsPerRequest).median.value_or(0), 0);
    EXPECT_GT(contender.summary.at(Metric::LatencyP50Us).median.value_or(0), 0);
  }
}

TEST_F(BenchRun, OffersALoad) {
  take_paths({"sendfile", "copy"});
  settings_.mode = Mode::Request;
  settings_.rate_gbit_per_s = 0.1;
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->rows[0].offered_gbit_per_s, 0.1);
  EXPECT_TRUE(any_has(report->remarks, "Offered load: 0.1 Gbit/s"));
  EXPECT_FALSE(any_has(report->remarks, "Saturation"));
}

TEST_F(BenchRun, DropsThePagesForCold) {
  settings_.file = make_file(8 * mib);
  settings_.cold = true;
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_FALSE(report->partial);
  EXPECT_TRUE(has(report->rows[0].title, ", cold"));
  for (const Contender& contender : report->rows[0].contenders) {
    if (contender.name == "tee") continue;  // too large a file
    EXPECT_EQ(complete_rounds(contender), 2U) << contender.name;
  }
}

TEST_F(BenchRun, SweepsSizes) {
  take_paths({"sendfile", "tee", "zerocopy", "copy"});
  const SweepSettings sweep_settings{.sizes = {{1024}, {16 * kib}, {1 * mib}}, .run = settings_};
  const auto report = unstarved([&] { return sweep(sweep_settings, watch_); });
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->kind, "sweep");
  EXPECT_FALSE(report->partial);
  ASSERT_EQ(report->rows.size(), 3U);
  EXPECT_EQ(report->rows[1].title, "16 KiB x 2, request");
  EXPECT_EQ(report->rows[1].size_bytes, 16 * kib);
  for (const Row& row : report->rows) {
    for (const Contender& contender : row.contenders) {
      SCOPED_TRACE(row.title + " " + contender.name);
      if (contender.name == "tee" && row.size_bytes > 64 * kib) continue;
      EXPECT_EQ(contender.verified_bytes, row.size_bytes);
      EXPECT_EQ(complete_rounds(contender), 2U);
      EXPECT_TRUE(contender.summary.at(Metric::CpuUsPerRequest).median.has_value());
    }
  }
  EXPECT_EQ(report->break_evens.size(), settings_.paths.size() - 1);
  for (const BreakEven& point : report->break_evens) {
    EXPECT_NE(point.size_bytes.has_value(), !point.reason.empty()) << point.path;
  }
  EXPECT_FALSE(watch_.went_back);
}

TEST(DefaultSizes, AscendFromOneKibToSixtyFourMib) {
  const std::vector<ByteCount> sizes = default_sweep_sizes();
  EXPECT_EQ(sizes.size(), 13U);
  EXPECT_EQ(sizes.front(), ByteCount{1 * kib});
  EXPECT_EQ(sizes.back(), ByteCount{64 * mib});
  EXPECT_TRUE(std::is_sorted(sizes.begin(), sizes.end()));
}

TEST(DefaultPinning, IsTwoAllowedCpusOrNone) {
  const std::vector<int> cpus = allowed_cpus();
  const Pinning pin = default_pinning();
  EXPECT_EQ(pin.server.has_value(), cpus.size() > 1);
  EXPECT_EQ(pin.client.has_value(), cpus.size() > 1);
  if (cpus.size() < 2) return;
  EXPECT_NE(pin.server, pin.client);
  EXPECT_NE(std::find(cpus.begin(), cpus.end(), *pin.client), cpus.end());
}

}  // namespace
}  // namespace pagewire::bench
