// Break-evens of sweeps that are written down here: CPU per Gbit at each size, path beside copy.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "bench/calibration.h"
#include "bench/run.h"

namespace pagewire::bench {
namespace {

using std::string;

/// What `path` costs at one size when copy costs 100.
struct Point {
  std::uint64_t size;
  double cost;
  double noise = 1;  ///< rounds at cost - noise, cost, cost + noise
};

Contender contender_at(string name, const Point& point, std::size_t rounds) {
  Contender contender;
  contender.name = std::move(name);
  for (std::size_t i = 0; i < rounds; ++i) {
    const double offset = rounds == 1 ? 0 : static_cast<double>(i % 3) - 1;
    Round round;
    round.figures.emplace(Metric::CpuMsPerGbit,
                          Figure::of(point.cost + offset * point.noise, Source::Measured));
    contender.rounds.push_back(std::move(round));
  }
  return contender;
}

std::vector<Row> sweep_of(const std::vector<Point>& points, std::size_t rounds = 3) {
  std::vector<Row> rows;
  for (const Point& point : points) {
    Row row;
    row.size_bytes = point.size;
    row.baseline = "copy";
    row.contenders.push_back(contender_at("path", point, rounds));
    row.contenders.push_back(contender_at("copy", {point.size, 100}, rounds));
    rows.push_back(std::move(row));
  }
  return rows;
}

struct Case {
  string what;
  std::vector<Point> points;
  double size_low = 0;  ///< the estimate lies between; 0: there is none
  double size_high = 0;
  double ci_low = 0;
  double ci_high = 0;  ///< 0: there is no interval
  string reason = {};
};

const std::vector<Case> cases = {
    {"falls once: half way between 4096 and 8192 on a logarithmic scale",
     {{1024, 300}, {4096, 150}, {8192, 50}, {16384, 40}},
     5792,
     5793,
     4096,
     8192},
    {"a size within the noise widens the interval, the means decide",
     {{1024, 300}, {2048, 200}, {4096, 102, 30}, {8192, 98, 30}, {16384, 40}},
     4096,
     8192,
     2048,
     16384},
    {"cheaper everywhere, surely", {{1024, 90}, {4096, 50}}, 0, 0, 0, 0, "cheaper at every size"},
    {"cheaper everywhere by the means, within the noise at first",
     {{1024, 95, 30}, {4096, 50}},
     0,
     0,
     0,
     4096,
     "no clear crossing: cheaper from 4 KiB on, within the noise below"},
    {"cheaper, then within the noise, by the means cheaper",
     {{1024, 50}, {4096, 98, 30}},
     0,
     0,
     0,
     0,
     "no clear crossing: cheaper from 1 KiB on, within the noise at some sizes"},
    {"cheaper, then within the noise, by the means dearer",
     {{1024, 50}, {4096, 102, 30}, {8192, 50}},
     0,
     0,
     0,
     0,
     "no clear crossing: cheaper from 1 KiB on, within the noise at some sizes"},
    {"cheaper everywhere by the means, surely nowhere",
     {{1024, 95, 30}, {4096, 97, 30}},
     0,
     0,
     0,
     0,
     "no clear crossing: within the noise at every size"},
    {"dearer everywhere", {{1024, 190}, {4096, 150}}, 0, 0, 0, 0, "dearer at every size"},
    {"dearer everywhere by the means, within the noise at last",
     {{1024, 190}, {4096, 105, 30}},
     0,
     0,
     0,
     0,
     "no clear crossing: dearer up to 1 KiB, within the noise above"},
    {"dearer everywhere by the means, within the noise at first",
     {{1024, 105, 30}, {4096, 190}},
     0,
     0,
     0,
     0,
     "no clear crossing: dearer up to 4 KiB, within the noise at some sizes"},
    {"dearer everywhere by the means, within the noise in between",
     {{1024, 190}, {4096, 105, 30}, {8192, 150}},
     0,
     0,
     0,
     0,
     "no clear crossing: dearer up to 8 KiB, within the noise at some sizes"},
    {"starts within the noise, a little above", {{1024, 105, 30}, {4096, 50}}, 1024, 4096, 0, 4096},
    {"crosses several times: the last one after which it stays cheaper",
     {{1024, 300}, {2048, 50}, {4096, 150}, {8192, 50}, {16384, 40}},
     5792,
     5793,
     4096,
     8192},
    {"noise at the largest size does not move it",
     {{1024, 150}, {4096, 50}, {65536, 60}, {1 << 26, 103, 40}},
     2048,
     2048,
     1024,
     4096},
    {"cheaper, then dearer again for good",
     {{1024, 50}, {4096, 60}, {65536, 150}, {1 << 20, 160}},
     0,
     0,
     0,
     0,
     "no clear crossing: cheaper at some sizes, but dearer again at 1 MiB"},
    {"dearer, then within the noise",
     {{1024, 150}, {4096, 95, 40}},
     0,
     0,
     0,
     0,
     "no clear crossing: dearer up to 1 KiB, within the noise above"},
    {"the same as copy",
     {{1024, 100}, {4096, 100}},
     0,
     0,
     0,
     0,
     "no clear crossing: within the noise at every size"},
    {"one size", {{4096, 50}}, 0, 0, 0, 0, "cheaper at every size"},
    {"in the wrong order", {{8192, 50}, {4096, 150}}, 5792, 5793, 4096, 8192},
};

TEST(BreakEvens, OfTable) {
  for (const Case& row : cases) {
    const std::vector<BreakEven> found = find_break_evens(sweep_of(row.points));
    ASSERT_EQ(found.size(), 1U) << row.what;
    const BreakEven& point = found[0];
    EXPECT_EQ(point.path, "path");
    EXPECT_EQ(point.reason, row.reason) << row.what;
    ASSERT_EQ(point.size_bytes.has_value(), row.size_low > 0) << row.what;
    if (point.size_bytes) {
      EXPECT_GE(*point.size_bytes, row.size_low - 1e-6) << row.what;
      EXPECT_LE(*point.size_bytes, row.size_high + 1e-6) << row.what;
    }
    ASSERT_EQ(point.ci95.has_value(), row.ci_high > 0) << row.what;
    if (point.ci95) {
      EXPECT_DOUBLE_EQ(point.ci95->low, row.ci_low) << row.what;
      EXPECT_DOUBLE_EQ(point.ci95->high, row.ci_high) << row.what;
    }
  }
}

TEST(BreakEvens, OfOneRoundRestOnTheMeansAlone) {
  const std::vector<BreakEven> found =
      find_break_evens(sweep_of({{1024, 300}, {4096, 150}, {8192, 50}}, 1));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NEAR(found[0].size_bytes.value_or(0), 5792.6, 0.1);
  EXPECT_FALSE(found[0].ci95.has_value());
}

/// One round has no confidence: the chooser must not be told that it knows.
TEST(BreakEvens, OfOneRoundSayNothingOfEverySize) {
  const auto reason_of = [](const std::vector<Point>& points) {
    return find_break_evens(sweep_of(points, 1)).at(0).reason;
  };
  EXPECT_EQ(reason_of({{1024, 90}, {4096, 50}}),
            "no clear crossing: cheaper from 1 KiB on by the means alone, for which one round "
            "gives no confidence");
  EXPECT_EQ(reason_of({{1024, 190}, {4096, 150}}),
            "no clear crossing: dearer up to 4 KiB by the means alone, for which one round gives "
            "no confidence");
}

/// What is given to the chooser from each row of the table.
TEST(BreakEvens, OnlyClearOnesReachTheChooser) {
  for (const Case& row : cases) {
    const Calibration calibration{.kernel = {},
                                  .cpu_model = {},
                                  .date = {},
                                  .filesystem = {},
                                  .break_evens = find_break_evens(sweep_of(row.points))};
    const std::optional<ByteCount> copied = calibration.copy_up_to("path");
    EXPECT_EQ(copied.has_value(), !row.reason.starts_with("no clear crossing")) << row.what;
  }
}

TEST(BreakEvens, SkipSizesThatWereNotMeasured) {
  std::vector<Row> rows = sweep_of({{1024, 150}, {2048, 999}, {4096, 50}});
  for (Round& round : rows[1].contenders[0].rounds) round.failed = "the client went away";
  const std::vector<BreakEven> found = find_break_evens(rows);
  EXPECT_NEAR(found.at(0).size_bytes.value_or(0), 2048, 0.1);
}

TEST(BreakEvens, SayWhyAPathHasNone) {
  std::vector<Row> rows = sweep_of({{1024, 150}, {4096, 50}});
  for (Row& row : rows) {
    row.contenders[0].rounds.clear();
    row.contenders[0].unavailable = "this kernel has no splice";
  }
  const std::vector<BreakEven> found = find_break_evens(rows);
  EXPECT_EQ(found.at(0).reason, "this kernel has no splice");
  EXPECT_FALSE(found[0].size_bytes.has_value());
}

TEST(BreakEvens, SayWhyThereIsNoBaseline) {
  std::vector<Row> rows = sweep_of({{1024, 150}});
  rows[0].contenders[1].rounds.clear();
  EXPECT_EQ(find_break_evens(rows).at(0).reason, "no round was complete at any size");
  rows[0].contenders[1].unavailable = "a wrong byte";
  EXPECT_EQ(find_break_evens(rows).at(0).reason, "copy was not measured: a wrong byte");
}

TEST(BreakEvens, OfNothing) {
  EXPECT_TRUE(find_break_evens({}).empty());
}

}  // namespace
}  // namespace pagewire::bench
