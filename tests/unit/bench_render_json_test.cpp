// JSON: what is written keeps to the schema, comes back as it was, and whatever else is read gives
// an error with its place.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "bench/render.h"
#include "unit/bench_render_python.h"
#include "unit/bench_sample_report.h"

namespace pagewire::bench {
namespace {

std::map<std::string, Report> samples() {
  return {{"run", sample::run()},         {"requests", sample::requests()},
          {"sweep", sample::sweep()},     {"crowd", sample::crowd()},
          {"awkward", sample::awkward()}, {"nothing", sample::nothing()}};
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

/// One line for each *.json of the folder, in their order: "ok" or "bad".
constexpr const char* validate = R"py(
import glob, json, sys
import jsonschema
schema = json.load(open(sys.argv[2]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for name in sorted(glob.glob(sys.argv[1] + "/*.json")):
    try:
        report = json.load(open(name, encoding="utf-8"))
    except (ValueError, RecursionError):
        print("bad")
        continue
    error = jsonschema.exceptions.best_match(validator.iter_errors(report))
    print("bad" if error else "ok")
    if error and "--why" in sys.argv:
        print(name, list(error.absolute_path), error.message[:300])
)py";

TEST(BenchJson, KeepsToTheSchema) {
  const sample::Folder folder;
  if (const std::string why = sample::why_no_validator(folder); !why.empty()) GTEST_SKIP() << why;
  const auto reports = samples();
  for (const auto& [name, report] : reports) folder.write(name + ".json", to_json(report));
  const sample::Said said = sample::ask_python(folder, validate);
  std::string expected;
  for (std::size_t i = 0; i < reports.size(); ++i) expected += "ok\n";
  EXPECT_EQ(said.text, expected);
  EXPECT_EQ(said.status, 0);
}

TEST(BenchJson, ComesBackAsItWas) {
  for (const auto& [name, report] : samples()) {
    const std::string text = to_json(report);
    const auto read = from_json(text);
    ASSERT_TRUE(read) << name << ": " << read.error();
    EXPECT_EQ(to_json(*read), text) << name;
    EXPECT_EQ(to_csv(*read), to_csv(report)) << name;
  }
}

TEST(BenchJson, SummariesAreMadeAnew) {
  const std::string text = to_json(sample::run());
  const std::size_t at = text.find("\"median\":");
  ASSERT_NE(at, std::string::npos);
  std::string lying = text;
  lying.insert(at + 9, "9");  // another number
  const auto read = from_json(lying);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(to_json(*read), text);
}

/// NaN and infinity have no place in JSON; bytes that are not UTF-8 neither.
TEST(BenchJson, WritesWhatCannotBeSaidAsNull) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinite = std::numeric_limits<double>::infinity();
  Report report = sample::run();
  Round& round = report.rows[0].contenders[0].rounds[0];
  round.seconds = nan;
  round.figures[Metric::CpuMsPerGbit] = Figure::of(nan, Source::Measured);
  round.figures[Metric::CpuPercent] = Figure::of(infinite, Source::Measured);
  round.figures[Metric::MemoryTrafficPerByte] = Figure::modelled({1, infinite});
  round.figures[Metric::CopiesPerByte] = {};  // neither a value nor a reason
  report.environment.tsc_mhz = infinite;
  report.environment.filesystem = "\xff\xfe on /dev/\xc3";
  report.break_evens = {{"splice", nan, Bounds{nan, 1}, ""}};
  summarise(report);
  const auto read = from_json(to_json(report));
  ASSERT_TRUE(read) << read.error();
  const auto& figures = read->rows[0].contenders[0].rounds[0].figures;
  EXPECT_FALSE(figures.at(Metric::CpuMsPerGbit).value);
  EXPECT_NE(figures.at(Metric::CpuMsPerGbit).reason, "");
  EXPECT_FALSE(figures.at(Metric::CpuPercent).value);
  EXPECT_NE(figures.at(Metric::CopiesPerByte).reason, "");
  EXPECT_FALSE(read->break_evens[0].size_bytes);
}

TEST(BenchJson, CutOffAnywhere) {
  const std::string text = to_json(sample::run());
  for (std::size_t length = 0; length + 2 < text.size(); length += 97) {
    const auto read = from_json(text.substr(0, length));
    ASSERT_FALSE(read) << "at byte " << length;
    ASSERT_TRUE(read.error().starts_with("not JSON: line ")) << read.error();
  }
}

/// A byte that is another one may leave a report; it must never be the end of the program.
TEST(BenchJson, ChangedAnywhere) {
  const std::string text = to_json(sample::nothing());
  std::size_t refused = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char byte : {'\0', '"', '}', '[', '9', '\xff'}) {
      std::string changed = text;
      changed[at] = byte;
      const auto read = from_json(changed);
      if (!read) {
        ++refused;
        EXPECT_NE(read.error(), "");
      }
    }
  }
  EXPECT_GT(refused, text.size());
}

TEST(BenchJson, DeepNesting) {
  constexpr std::size_t deep = 200'000;
  const std::string open(deep, '[');
  const std::string nested = open + std::string(deep, ']');
  std::string objects;
  for (std::size_t i = 0; i < deep; ++i) objects += "{\"a\":";
  const std::string text = to_json(sample::nothing());
  for (const std::string& bomb : {open, nested, objects, objects + "1" + std::string(deep, '}'),
                                  replaced(text, "\"title\": \"\"", "\"title\": " + nested)}) {
    EXPECT_EQ(from_json(bomb).error(), "nested deeper than a report");
  }
  // Brackets in strings are text.
  Report report = sample::run();
  report.remarks = {open + "\\\"" + open};
  const auto read = from_json(to_json(report));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->remarks, report.remarks);
}

/// One contender and two rounds: what is asked of a validator fifty times.
std::string small_report() {
  Report report = sample::run();
  report.rows[0].contenders.resize(1);
  report.rows[0].contenders[0].rounds.resize(2);
  summarise(report);
  return to_json(report);
}

struct Mistake {
  const char* what;
  const char* with;
  const char* error;  ///< "": it is no mistake
};

/// In small_report(). What Python's json takes and RFC 8259 does not (NaN) is not
/// here.
const Mistake mistakes[] = {
    {R"("schema_version": 1)", R"("schema_version": 7)",
     "schema_version is 7, this pagewire reads 1"},
    {R"("schema_version": 1)", R"("schema_version": "1")",
     "schema_version is string, not a number"},
    {R"("schema_version": 1)", R"("schema_version": 1.0)", ""},
    {R"("schema_version": 1,)", "", "there is no schema_version: not a report of pagewire bench"},
    {R"("kind": "run")", R"("kind": "walk")", "kind is not run, sweep, serve, peers or seed"},
    {R"("kind": "run")", R"("kind": null)", "kind is null, not a string"},
    {R"("kind": "run",)", "", "has no 'kind'"},
    {R"("kind": "run")", R"("kind": "run", "colour": 1)", "has an unknown key 'colour'"},
    {R"("partial": false)", R"("partial": true)", "partial_reason is null in a partial report"},
    {R"("partial": false)", R"("partial": 0)", "partial is number, not true or false"},
    {R"("partial_reason": null)", R"("partial_reason": "why")",
     "partial_reason must be null in a report that is not partial"},
    {R"("cpus": 2)", R"("cpus": 2.0)", ""},
    {R"("cpus": 2)", R"("cpus": 2.5)", "environment.cpus is not a whole number from 1 to 2^63 - 1"},
    {R"("cpus": 2)", R"("cpus": 0)", "environment.cpus is not a whole number from 1 to 2^63 - 1"},
    {R"("cpus": 2)", R"("cpus": -2)", "environment.cpus is not a whole number from 1 to 2^63 - 1"},
    {R"("cpus": 2)", R"("cpus": 99999999999999999999)",
     "environment.cpus is not a whole number from 1 to 2^63 - 1"},
    {R"("cpus": 2)", R"("cpus": null)", ""},
    {R"("kernel": "6.18.0")", R"("kernel": "")", "environment.kernel is an empty string"},
    {R"("kernel": "6.18.0")", R"("kernel": {})", "environment.kernel is object, not a string"},
    {R"("virtual_machine": true)", R"("virtual_machine": "yes")",
     "environment.virtual_machine is string, not true or false"},
    {R"("date": "2026-11-22T21:20:57Z")", R"("date": "yesterday")",
     "environment.date is not YYYY-MM-DDThh:mm:ssZ"},
    {R"("date": "2026-11-22T21:20:57Z")", R"("date": null)", ""},
    {R"("offloads": [])", R"("offloads": [1])", "environment.offloads[0] is number, not a string"},
    {R"("offloads": [])", R"("offloads": {})", "environment.offloads is object, not an array"},
    {R"("--path":"all")", R"("--path":1)", "settings.--path is number, not a string"},
    {R"("mode": "stream")", R"("mode": "both")", "rows[0].mode is not stream or request"},
    {R"("connections": 4)", R"("connections": 0)",
     "rows[0].connections is not a whole number from 1 to 2^63 - 1"},
    {R"("offered_gbit_per_s": null)", R"("offered_gbit_per_s": 0)",
     "rows[0].offered_gbit_per_s is not above 0"},
    {R"("offered_gbit_per_s": null)", R"("offered_gbit_per_s": 0.5)", ""},
    {R"("baseline": "copy")", R"("baseline": null)", ""},
    {R"("size_bytes": 268435456)", R"("size_bytes": 1e300)",
     "rows[0].size_bytes is not a whole number from 0 to 2^63 - 1"},
    {R"("size_bytes": 268435456)", R"("size_bytes": 9223372036854775807)", ""},
    {R"("size_bytes": 268435456)", R"("size_bytes": 9223372036854775808)",
     "rows[0].size_bytes is not a whole number from 0 to 2^63 - 1"},
    {R"("name": "copy")", R"("name": "")", "rows[0].contenders[0].name is an empty string"},
    {R"("unavailable": null)", R"("unavailable": "gone")",
     "rows[0].contenders[0].rounds must be empty for a contender that was not available"},
    {R"("seconds": 3.0004)", R"("seconds": -1)",
     "rows[0].contenders[0].rounds[0].seconds is less than 0"},
    {R"("number": 1)", R"("number": 0)",
     "rows[0].contenders[0].rounds[0].number is not a whole number from 1 to 2^63 - 1"},
    {R"("cpu_percent":)", R"("cpu_per_cent":)",
     "rows[0].contenders[0].rounds[0].figures.cpu_per_cent is no metric that this pagewire knows"},
    {R"("source":"measured","reason":null)", R"("source":"guessed","reason":null)",
     "rows[0].contenders[0].rounds[0].figures.throughput_gbit_per_s.source is not measured, "
     "counted "
     "or modelled"},
    {R"("source":"measured","reason":null)", R"("source":"measured","reason":"none")",
     "rows[0].contenders[0].rounds[0].figures.throughput_gbit_per_s.reason must be null where "
     "there "
     "is a value"},
    {R"("source":"measured","reason":null,"range":null)",
     R"("source":"measured","reason":null,"range":[1])",
     "rows[0].contenders[0].rounds[0].figures.throughput_gbit_per_s.range is not [low, high]"},
    {R"("source":"measured","reason":null,"range":null)",
     R"("source":"measured","reason":null,"range":[1,2])", ""},
    {R"("source":"measured","reason":null,"range":null)", R"("source":"measured","reason":null)",
     "rows[0].contenders[0].rounds[0].figures.throughput_gbit_per_s has no 'range'"},
    {R"("value":null,"source":null,"reason":"request mode only")",
     R"("value":null,"source":null,"reason":null)",
     "rows[0].contenders[0].rounds[0].figures.requests_per_s.reason is null, not a string"},
    {R"("value":null,"source":null,"reason":"request mode only")",
     R"("value":null,"source":null,"reason":"")",
     "rows[0].contenders[0].rounds[0].figures.requests_per_s.reason is an empty string"},
    {R"("value":null,"source":null,"reason":"request mode only")",
     R"("value":null,"source":"measured","reason":"x")",
     "rows[0].contenders[0].rounds[0].figures.requests_per_s.source must be null where there is no "
     "value"},
    {R"("median":null,"mean":null)", R"("median":null,"mean":1)",
     "rows[0].contenders[0].summary.requests_per_s.mean must be null where there is no median"},
    {R"("extent":null,"rounds":0)", R"("extent":null,"rounds":2)",
     "rows[0].contenders[0].summary.requests_per_s.rounds must be 0 where there is no median"},
    {R"("summary": {)", R"("summary": {}, "was": {)",
     "rows[0].contenders[0] has an unknown key 'was'"},
    {R"("break_evens": [])",
     R"("break_evens": [{"path":"mmap","size_bytes":null,"ci95":null,"reason":"dearer"}])", ""},
    {R"("break_evens": [])",
     R"("break_evens": [{"path":"mmap","size_bytes":null,"ci95":null,"reason":null}])",
     "break_evens[0].reason is null, not a string"},
    {R"("break_evens": [])",
     R"("break_evens": [{"path":"mmap","size_bytes":4,"ci95":["a",2],"reason":null}])",
     "break_evens[0].ci95[0] is string, not a number"},
    {R"("remarks": [)", R"("remarks": [[], )", "remarks[0] is array, not a string"},
};

TEST(BenchJson, TellsWhatIsWrongAndWhere) {
  const std::string right = small_report();
  for (const Mistake& mistake : mistakes) {
    const auto read = from_json(replaced(right, mistake.what, mistake.with));
    EXPECT_EQ(read ? std::string() : read.error(), mistake.error)
        << mistake.what << " -> " << mistake.with;
  }
}

/// Both say yes or no to the same texts.
TEST(BenchJson, ReadsWhatTheSchemaAllows) {
  const sample::Folder folder;
  if (const std::string why = sample::why_no_validator(folder); !why.empty()) GTEST_SKIP() << why;
  const std::string right = small_report();
  std::string ours;
  std::size_t number = 1000;
  for (const Mistake& mistake : mistakes) {
    const std::string text = replaced(right, mistake.what, mistake.with);
    folder.write(std::to_string(number++) + ".json", text);
    ours += from_json(text) ? "ok\n" : "bad\n";
  }
  EXPECT_EQ(sample::ask_python(folder, validate).text, ours);
}

TEST(BenchJson, WhatIsNoReport) {
  EXPECT_EQ(from_json("").error(), "not JSON: line 1, column 1");
  EXPECT_EQ(from_json("[]").error(), "not a JSON object");
  EXPECT_EQ(from_json("{}").error(), "there is no schema_version: not a report of pagewire bench");
  EXPECT_EQ(from_json("{\"schema_version\": 1}").error(), "has no 'kind'");
  EXPECT_EQ(from_json("{\"schema_version\": 1e999}").error(), "a number is too large");
  EXPECT_EQ(from_json("{\n  \"schema_version\": x}").error(), "not JSON: line 2, column 21");
  EXPECT_FALSE(from_json(std::string("{\"schema_version\": 1\0}", 22)));
  EXPECT_FALSE(from_json("\x89PNG\r\n"));
}

TEST(BenchJson, SettingsKeepTheirOrder) {
  Report report = sample::nothing();
  report.settings = {{"--zeta", "1"}, {"--alpha", "2"}, {"--zeta", "3"}};
  const auto read = from_json(to_json(report));
  ASSERT_TRUE(read) << read.error();
  const std::vector<std::pair<std::string, std::string>> expected{{"--zeta", "1, 3"},
                                                                  {"--alpha", "2"}};
  EXPECT_EQ(read->settings, expected);
}

}  // namespace
}  // namespace pagewire::bench
