// What a calibration does to the settings of a server.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/flags.h"
#include "cli/serve_calibration.h"
#include "cli/serve_settings.h"

namespace pagewire::cli {
namespace {

const Host here{.kernel = "6.18.1", .cpu_model = "Xeon"};

bench::Calibration calibration_with(std::vector<bench::BreakEven> break_evens) {
  return {.kernel = here.kernel,
          .cpu_model = here.cpu_model,
          .date = "2026-11-22T20:00:00Z",
          .filesystem = "ext4",
          .break_evens = std::move(break_evens)};
}

bench::BreakEven at(const std::string& path, double size_bytes) {
  bench::BreakEven point;
  point.path = path;
  point.size_bytes = size_bytes;
  return point;
}

ServeSettings settings_of(const std::vector<std::string>& arguments) {
  const auto flags = parse_flags(serve_command(), arguments);
  EXPECT_TRUE(flags.has_value());
  const auto settings = build_settings({.file = {}, .flags = flags->assignments}, {.cpus = {0}});
  EXPECT_TRUE(settings.has_value());
  return settings.value_or(default_settings());
}

TEST(ServeCalibration, SetsTheLargestBodyThatIsCopied) {
  ServeSettings settings = settings_of({"--calibration", "c.json"});
  EXPECT_EQ(settings.calibration_file, "c.json");
  const auto calibration = calibration_with({at("splice", 100), at("sendfile", 24'000)});
  EXPECT_TRUE(apply_calibration(calibration, here, settings).warnings.empty());
  EXPECT_EQ(settings.server.chooser.small_body.value, 24'000U);
}

TEST(ServeCalibration, GivesWayToAGivenSmallBody) {
  ServeSettings settings = settings_of({"--small-body", "5K", "--calibration", "c.json"});
  EXPECT_TRUE(
      apply_calibration(calibration_with({at("sendfile", 9)}), here, settings).warnings.empty());
  EXPECT_EQ(settings.server.chooser.small_body.value, 5 * kib);
}

TEST(ServeCalibration, StaysWithinWhatTheOptionTakes) {
  ServeSettings settings = settings_of({});
  (void)apply_calibration(calibration_with({at("sendfile", 1e12)}), here, settings);
  EXPECT_EQ(settings.server.chooser.small_body.value, largest_small_body);
  // And so what --check-config prints is a file that can be read again.
  const std::string shown = show_settings(settings);
  EXPECT_NE(shown.find("small-body = \"16M\"\n"), std::string::npos) << shown;
}

TEST(ServeCalibration, WarnsOfAnotherMachineAndOfWhatItDoesNotHave) {
  ServeSettings settings = settings_of({});
  bench::Calibration other = calibration_with({at("sendfile", 9'000)});
  other.kernel = "5.10";
  other.cpu_model = "EPYC";
  const std::vector<std::string> both = apply_calibration(other, here, settings).warnings;
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0],
            "it was measured on kernel 5.10, this is 6.18.1; measure anew with pagewire bench "
            "sweep --save");
  EXPECT_TRUE(both[1].starts_with("it was measured on CPU EPYC, this is Xeon;")) << both[1];
  EXPECT_EQ(settings.server.chooser.small_body.value, 9'000U) << "used all the same";

  ServeSettings plain = settings_of({});
  const ByteCount before = plain.server.chooser.small_body;
  bench::Calibration unknown = calibration_with({at("splice", 1)});
  unknown.kernel = "";
  unknown.cpu_model = "";
  EXPECT_EQ(apply_calibration(unknown, here, plain).warnings,
            std::vector<std::string>{"it has no break-even of sendfile; small-body stays 16K"});
  EXPECT_EQ(plain.server.chooser.small_body, before);
}

bench::MeasuredCost cost(const std::string& path, double size_bytes, double mean,
                         double half_width) {
  return {.path = path,
          .size_bytes = size_bytes,
          .mean = mean,
          .ci95 = bench::Bounds{mean - half_width, mean + half_width}};
}

TEST(ServeCalibration, MakesATableOfTheCostsThatCanBeUsed) {
  bench::Calibration calibration = calibration_with({at("sendfile", 8 * kib)});
  calibration.costs = {
      cost("sendfile", 1 * mib, 30, 3),     cost("splice", 1 * mib, 20, 2),
      cost("unheard of", 1 * mib, 1, 0),    cost("copy", 4 * kib, 70, 5),
      cost("mmap", 4 * kib, 50, 5),         cost("copy", 64 * kib, 70, 5),
      cost("sendfile", 64 * kib, 40, 10.1),
  };
  ServeSettings settings = settings_of({});
  const CalibrationUse use = apply_calibration(calibration, here, settings);
  EXPECT_EQ(use.taken,
            "bodies up to 8K are copied, larger ones go by sendfile; by mmap at 4K, by splice at "
            "1M");
  ASSERT_EQ(use.warnings.size(), 1U);
  EXPECT_EQ(use.warnings[0],
            "1 of its 7 intervals are too wide to use (such as sendfile at 64K: 29.9 to 50.1 ms "
            "per Gbit); more --repeat or a longer -t narrows them");
  const std::vector<egress::CostsAtSize>& table = settings.server.chooser.costs;
  ASSERT_EQ(table.size(), 3U);
  EXPECT_EQ(table[0].size, ByteCount{4 * kib});
  ASSERT_EQ(table[0].costs.size(), 2U);
  EXPECT_EQ(table[0].costs[0].path->name, "mmap") << "the cheapest first";
  EXPECT_EQ(table[0].costs[0].low, 45);
  EXPECT_EQ(table[0].costs[0].high, 55);
  EXPECT_EQ(table[1].costs.size(), 1U) << "one was too wide";
  ASSERT_EQ(table[2].costs.size(), 2U) << "one is not in this build";
  EXPECT_EQ(table[2].costs[0].path->name, "splice");
}

TEST(ServeCalibration, LeavesGivenSmallBodiesToCopy) {
  bench::Calibration calibration = calibration_with({at("sendfile", 8 * kib)});
  calibration.costs = {cost("copy", 4 * kib, 70, 5), cost("mmap", 4 * kib, 50, 5),
                       cost("sendfile", 1 * mib, 30, 3), cost("splice", 1 * mib, 29, 3)};
  calibration.costs.push_back({.path = "copy", .size_bytes = 9e99, .mean = 1, .ci95 = {}});
  ServeSettings settings = settings_of({"--small-body", "4K"});
  const CalibrationUse use = apply_calibration(calibration, here, settings);
  ASSERT_EQ(settings.server.chooser.costs.size(), 1U);
  EXPECT_EQ(settings.server.chooser.costs[0].size, ByteCount{1 * mib});
  EXPECT_EQ(use.taken, "bodies up to 4K are copied (--small-body), larger ones go by sendfile");
}

TEST(ServeCalibration, AFileThatCannotBeReadIsOneLine) {
  ServeSettings settings = settings_of({"--calibration", "/no/such/file"});
  const auto loaded = load_calibration(settings);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().text,
            "pagewire serve: calibration /no/such/file: open: No such file or directory");
}

}  // namespace
}  // namespace pagewire::cli
