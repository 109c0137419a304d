// Calibration files: written, read back, and refused with a reason.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bench/calibration.h"

namespace pagewire::bench {
namespace {

using std::string;

Calibration example() {
  Calibration calibration;
  calibration.kernel = "6.18.5";
  calibration.cpu_model = "A CPU \"with quotes\"";
  calibration.date = "2026-01-02T03:04:05Z";
  calibration.break_evens = {
      {.path = "sendfile", .size_bytes = 12345.5, .ci95 = Bounds{8192, 16384}, .reason = ""},
      {.path = "splice", .size_bytes = {}, .ci95 = {}, .reason = string(dearer_at_every_size)},
      {.path = "mmap",
       .size_bytes = {},
       .ci95 = Bounds{1024, 4096},
       .reason = string(cheaper_at_every_size)},
      {.path = "odd", .size_bytes = {}, .ci95 = {}, .reason = "no clear crossing: ..."},
      {.path = "vast", .size_bytes = 1e300, .ci95 = {}, .reason = ""},
  };
  calibration.costs = {
      {.path = "copy", .size_bytes = 1024, .mean = 70.25, .ci95 = Bounds{60, 80}},
      {.path = "sendfile", .size_bytes = 1024, .mean = 90, .ci95 = {}},
  };
  return calibration;
}

TEST(Calibration, TellsTheChooserHowFarCopyGoes) {
  const Calibration calibration = example();
  EXPECT_EQ(calibration.copy_up_to("sendfile"), ByteCount{12345});
  EXPECT_EQ(calibration.copy_up_to("splice"), ByteCount{max_file_size_bytes});
  EXPECT_EQ(calibration.copy_up_to("mmap"), ByteCount{0});
  EXPECT_EQ(calibration.copy_up_to("odd"), std::nullopt);
  EXPECT_EQ(calibration.copy_up_to("vast"), ByteCount{max_file_size_bytes});
  EXPECT_EQ(calibration.copy_up_to("unheard of"), std::nullopt);
}

TEST(Calibration, ComesFromASweep) {
  Report sweep;
  sweep.environment.kernel = "k";
  sweep.environment.cpu_model = "c";
  sweep.environment.date = "d";
  sweep.environment.filesystem = "f";
  sweep.break_evens = example().break_evens;
  const Calibration calibration = calibration_of(sweep);
  EXPECT_EQ(calibration.kernel, "k");
  EXPECT_EQ(calibration.cpu_model, "c");
  EXPECT_EQ(calibration.date, "d");
  EXPECT_EQ(calibration.filesystem, "f");
  EXPECT_EQ(calibration.break_evens.size(), 5U);
}

TEST(Calibration, HasTheCostOfEachPathAtEachSize) {
  Report sweep;
  Row row;
  row.size_bytes = 4096;
  for (const auto& [name, costs] : std::vector<std::pair<string, std::vector<double>>>{
           {"sendfile", {10, 20}}, {"copy", {7}}, {"mmap", {}}, {"splice", {20, 20, 20}}}) {
    Contender contender;
    contender.name = name;
    for (const double cost : costs) {
      Round round;
      round.figures[Metric::CpuMsPerGbit] = Figure::of(cost, Source::Measured);
      contender.rounds.push_back(round);
    }
    row.contenders.push_back(contender);
  }
  sweep.rows = {row};
  const Calibration calibration = calibration_of(sweep);
  ASSERT_EQ(calibration.costs.size(), 3U) << "mmap has no round";
  EXPECT_EQ(calibration.costs[0].path, "sendfile");
  EXPECT_EQ(calibration.costs[0].size_bytes, 4096);
  EXPECT_EQ(calibration.costs[0].mean, 15);
  ASSERT_TRUE(calibration.costs[0].ci95.has_value());
  EXPECT_EQ(calibration.costs[0].ci95->low, 0) << "not below nothing";
  EXPECT_GT(calibration.costs[0].ci95->high, 20);
  EXPECT_FALSE(calibration.costs[1].ci95.has_value()) << "one round";
  EXPECT_EQ(calibration.costs[2].ci95->high, 20);
}

TEST(Calibration, ComesBackFromItsFile) {
  const Calibration before = example();
  const auto after = calibration_from_json(to_json(before));
  ASSERT_TRUE(after.has_value()) << after.error();
  EXPECT_EQ(after->kernel, before.kernel);
  EXPECT_EQ(after->cpu_model, before.cpu_model);
  EXPECT_EQ(after->date, before.date);
  EXPECT_EQ(after->filesystem, "");
  ASSERT_EQ(after->break_evens.size(), before.break_evens.size());
  for (std::size_t i = 0; i < before.break_evens.size(); ++i) {
    const BreakEven& a = before.break_evens[i];
    const BreakEven& b = after->break_evens[i];
    EXPECT_EQ(a.path, b.path);
    EXPECT_EQ(a.size_bytes, b.size_bytes);
    EXPECT_EQ(a.reason, b.reason);
    ASSERT_EQ(a.ci95.has_value(), b.ci95.has_value());
    if (a.ci95) {
      EXPECT_EQ(a.ci95->low, b.ci95->low);
      EXPECT_EQ(a.ci95->high, b.ci95->high);
    }
  }
  ASSERT_EQ(after->costs.size(), 2U);
  EXPECT_EQ(after->costs[0].path, "copy");
  EXPECT_EQ(after->costs[0].size_bytes, 1024);
  EXPECT_EQ(after->costs[0].mean, 70.25);
  ASSERT_TRUE(after->costs[0].ci95.has_value());
  EXPECT_EQ(after->costs[0].ci95->low, 60);
  EXPECT_EQ(after->costs[0].ci95->high, 80);
  EXPECT_FALSE(after->costs[1].ci95.has_value());
  EXPECT_EQ(to_json(*after), to_json(before));
}

TEST(Calibration, WritesNamesThatAreNoUtf8) {
  Calibration calibration = example();
  calibration.filesystem = "ext4 on /dev/\xff";
  EXPECT_TRUE(calibration_from_json(to_json(calibration)).has_value());
}

/// A file that is right but for one piece.
string changed(const string& from, const string& to) {
  string text = R"({"kind": "calibration", "schema_version": 1, "date": null, "kernel": "6.18",
    "cpu_model": null, "filesystem": null, "break_evens": [{"path": "sendfile",
    "size_bytes": 4096, "ci95": {"low": 1024, "high": 8192}, "reason": null}]})";
  const std::size_t at = text.find(from);
  EXPECT_NE(at, string::npos) << from;
  return text.replace(at, from.size(), to);
}

/// The same with one cost.
string with_cost(const string& cost) {
  return changed("\"break_evens\"", "\"costs\": [" + cost + "], \"break_evens\"");
}

TEST(Calibration, SaysWhatIsWrongWithAFile) {
  struct Case {
    string text;
    string error;
  };
  const std::vector<Case> cases = {
      {"", "it is not JSON"},
      {"{", "it is not JSON"},
      {"[]", "it is not a JSON object"},
      {"{}", "it is not a calibration (`pagewire bench sweep --save` writes them)"},
      {changed("\"calibration\"", "\"run\""),
       "it is not a calibration (`pagewire bench sweep --save` writes them)"},
      {changed(": 1,", ": 2,"), "schema_version is 2, this pagewire reads 1"},
      {changed(": 1,", ": \"1\","), "schema_version is missing"},
      {changed("\"6.18\"", "618"), "kernel is not a string or null"},
      {changed("\"kernel\"", "\"colonel\""), "kernel is missing"},
      {changed("\"break_evens\"", "\"breaks\""), "break_evens is missing"},
      {changed("[{", "{\"a\": [{").append("}"), "break_evens is not an array"},
      {changed("[{", "[7, {"), "break_evens[0] is not an object"},
      {changed("\"sendfile\"", "\"\""), "break_evens[0].path names no path"},
      {changed("4096", "\"4K\""), "break_evens[0].size_bytes is not a number of bytes or null"},
      {changed("4096", "-1"), "break_evens[0].size_bytes is not a number of bytes or null"},
      {changed("4096", "null"), "break_evens[0].size_bytes is null without a reason"},
      {changed("1024", "9000"), "break_evens[0].ci95 is not low <= high"},
      {changed("\"low\"", "\"Low\""), "break_evens[0].ci95.low is missing"},
      {changed("{\"low\": 1024, \"high\": 8192}", "[1, 2]"),
       "break_evens[0].ci95 is not an object or null"},
      {changed("\"reason\": null", "\"reason\": 1"),
       "break_evens[0].reason is not a string or null"},
      {changed("\"break_evens\"", "\"costs\": {}, \"break_evens\""), "costs is not an array"},
      {with_cost("7"), "costs[0] is not an object"},
      {with_cost(R"({"path": "", "size_bytes": 1, "cpu_ms_per_gbit": 1, "ci95": null})"),
       "costs[0].path names no path"},
      {with_cost(R"({"path": "a", "size_bytes": null, "cpu_ms_per_gbit": 1, "ci95": null})"),
       "costs[0].size_bytes or cpu_ms_per_gbit is null"},
      {with_cost(R"({"path": "a", "size_bytes": 1, "cpu_ms_per_gbit": -1, "ci95": null})"),
       "costs[0].cpu_ms_per_gbit is not a number of ms or null"},
      {with_cost(R"({"path": "a", "size_bytes": 1, "cpu_ms_per_gbit": 1})"),
       "costs[0].ci95 is missing"},
  };
  ASSERT_TRUE(calibration_from_json(changed("4096", "4096")).has_value());
  for (const Case& row : cases) {
    const auto read = calibration_from_json(row.text);
    ASSERT_FALSE(read.has_value()) << row.text;
    EXPECT_EQ(read.error(), row.error) << row.text;
  }
}

}  // namespace
}  // namespace pagewire::bench
