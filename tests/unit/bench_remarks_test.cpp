// Which sentences stand below a report, for figures that are written down here.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/units.h"
#include "bench/remarks.h"

namespace pagewire::bench {
namespace {

using std::string;
using Figures = std::map<Metric, std::vector<double>>;

Row row_with(const Figures& figures, std::uint64_t size = 64 * kib) {
  Row row;
  row.size_bytes = size;
  Contender& contender = row.contenders.emplace_back();
  contender.name = "splice";
  std::size_t rounds = 0;
  for (const auto& [metric, values] : figures) rounds = std::max(rounds, values.size());
  contender.rounds.resize(rounds);
  for (const auto& [metric, values] : figures) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      contender.rounds[i].figures.emplace(metric, Figure::of(values[i], Source::Measured));
    }
  }
  return row;
}

std::vector<string> remarks_on(std::vector<Row> rows) {
  Report report;
  report.rows = std::move(rows);
  summarise(report);
  return remarks_of(report.rows);
}

struct Case {
  string part;  ///< of the sentence
  Figures figures;
  bool said;
};

TEST(Remarks, AreSaidWhenTheyHoldAndOnlyThen) {
  const std::vector<Case> cases = {
      {"The client was the bottleneck",
       {{Metric::ClientCpuPercent, {95, 96}}, {Metric::CpuPercent, {60, 61}}},
       true},
      {"The client was the bottleneck",
       {{Metric::ClientCpuPercent, {95, 96}}, {Metric::CpuPercent, {95, 96}}},
       false},
      {"The client was the bottleneck",
       {{Metric::ClientCpuPercent, {50, 51}}, {Metric::CpuPercent, {60, 61}}},
       false},
      {"The client was the bottleneck", {{Metric::ClientCpuPercent, {95, 96}}}, false},
      {"wait for its CPU", {{Metric::ServerWaitPercent, {6, 7}}}, true},
      {"wait for its CPU", {{Metric::ServerWaitPercent, {3, 4}}}, false},
      {"hypervisor", {{Metric::StealPercent, {3, 3}}}, true},
      {"hypervisor", {{Metric::StealPercent, {1, 1}}}, false},
      {"differ by over 30%", {{Metric::CpuMsPerGbit, {10, 14}}}, true},
      {"differ by over 30%", {{Metric::CpuMsPerGbit, {10, 11}}}, false},
      {"differ by over 30%", {{Metric::ThroughputGbitPerS, {10, 14}}}, true},
      {"no confidence interval", {{Metric::ThroughputGbitPerS, {10}}}, true},
      {"no confidence interval", {{Metric::ThroughputGbitPerS, {10, 10}}}, false},
  };
  for (const Case& each : cases) {
    const std::vector<string> remarks = remarks_on({row_with(each.figures)});
    const auto found = std::find_if(remarks.begin(), remarks.end(), [&each](const string& line) {
      return line.find(each.part) != string::npos;
    });
    EXPECT_EQ(found != remarks.end(), each.said) << each.part;
    if (found != remarks.end()) {
      EXPECT_NE(found->find("splice"), string::npos) << *found;
    }
    EXPECT_EQ(remarks.size(), each.said ? 2U : 1U) << "the load, and what was asked for";
  }
}

TEST(Remarks, AlwaysSayWhichLoadItWas) {
  Row row = row_with({});
  EXPECT_EQ(remarks_on({row}).at(0).substr(0, 11), "Saturation:");
  row.offered_gbit_per_s = 2.5;
  EXPECT_EQ(remarks_on({row}).at(0).substr(0, 23), "Offered load: 2.5 Gbit/");
}

TEST(Remarks, SayWhetherTheOfferWasReached) {
  Row reached = row_with({{Metric::ThroughputGbitPerS, {2.4, 2.4}}});
  reached.offered_gbit_per_s = 2.5;
  EXPECT_EQ(remarks_on({reached}).size(), 1U);
  Row missed = row_with({{Metric::ThroughputGbitPerS, {2.3, 2.3}}});
  missed.offered_gbit_per_s = 2.5;
  const std::vector<string> remarks = remarks_on({missed});
  ASSERT_EQ(remarks.size(), 2U);
  EXPECT_NE(remarks[1].find("not reached (by over 5%) by splice"), string::npos) << remarks[1];
}

TEST(Remarks, CountTheRequestsThatWereLate) {
  Row row = row_with({{Metric::CpuPercent, {10, 10, 10, 10}}});
  row.offered_gbit_per_s = 2.5;
  std::vector<Round>& rounds = row.contenders[0].rounds;
  for (Round& round : rounds) round.due_asks = 4'500;
  EXPECT_EQ(remarks_on({row}).size(), 1U);
  rounds[0].late_asks = 400;
  rounds[1].late_asks = 12;
  rounds[2].failed = "the client went away";
  rounds[2].late_asks = 1'000;
  rounds[3].instrumented = true;
  rounds[3].late_asks = 1'000;
  row.contenders.push_back(row.contenders[0]);
  row.contenders[1].name = "copy";
  row.contenders[1].rounds[1].due_asks = 1'234'567;
  const std::vector<string> remarks = remarks_on({row, row});
  EXPECT_EQ(remarks.at(1),
            "At the offered rate requests could not go out in time (within 1 ms) with splice (824 "
            "of 18,000), copy (824 of 2,478,134).");
}

TEST(Remarks, TellOfFailedRounds) {
  Row row = row_with({{Metric::CpuPercent, {10, 10}}});
  row.contenders[0].rounds[0].failed = "the client went away";
  EXPECT_EQ(remarks_on({row}).back(), "Rounds failed of splice; they are in no summary.");
}

TEST(Remarks, NameTheSizesOfASweep) {
  const Figures waits = {{Metric::ServerWaitPercent, {9, 9}}};
  std::vector<Row> rows;
  for (std::uint64_t size = kib; size <= 32 * kib; size *= 2) rows.push_back(row_with(waits, size));
  EXPECT_NE(remarks_on(rows).back().find("splice (every size)"), string::npos);
  rows.push_back(row_with({}, 64 * kib));
  const string line = remarks_on(rows).back();
  EXPECT_NE(line.find("splice (1 KiB, 2 KiB, 4 KiB, 8 KiB and 2 more)"), string::npos) << line;
}

TEST(Remarks, OfNothing) {
  EXPECT_TRUE(remarks_of({}).empty());
}

}  // namespace
}  // namespace pagewire::bench
