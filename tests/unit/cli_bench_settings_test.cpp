// The flags of `pagewire bench`'s commands to settings: every flag, and the line of each mistake.
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cli/bench_help.h"
#include "cli/bench_settings.h"

namespace pagewire::cli {
namespace {

using Arguments = std::vector<std::string>;

const Machine two_cores{.cpus = {0, 1, 2, 3}, .second_core = 2};
const Machine one_cpu{.cpus = {5}};

OrUsageError<MeasureSettings> run_of(const Arguments& arguments,
                                     const Machine& machine = two_cores) {
  return parse_flags(run_command(), arguments).and_then([&](const Flags& flags) {
    return build_run(flags, machine);
  });
}

OrUsageError<MeasureSettings> sweep_of(const Arguments& arguments) {
  return parse_flags(sweep_command(), arguments).and_then([&](const Flags& flags) {
    return build_sweep(flags, two_cores);
  });
}

OrUsageError<bench::SendSettings> send_of(const Arguments& arguments,
                                          const std::optional<std::string>& zc_path = {}) {
  return parse_flags(send_command(), arguments).and_then([&](const Flags& flags) {
    return build_send(flags, zc_path);
  });
}

OrUsageError<bench::SinkSettings> sink_of(const Arguments& arguments) {
  return parse_flags(sink_command(), arguments).and_then(build_sink);
}

OrUsageError<CompareSettings> compare_of(const Arguments& arguments) {
  return parse_flags(compare_command(), arguments).and_then(build_compare);
}

OrUsageError<ReportSettings> report_of(const Arguments& arguments) {
  return parse_flags(report_command(), arguments).and_then(build_report);
}

std::vector<std::string> names(const std::vector<const egress::Path*>& paths) {
  std::vector<std::string> texts;
  for (const egress::Path* const path : paths) texts.emplace_back(path->name);
  return texts;
}

template <class T>
T good(const OrUsageError<T>& settings) {
  EXPECT_TRUE(settings.has_value()) << settings.error().text;
  return settings.value_or(T{});
}

TEST(BenchRun, DefaultsAreEveryPathAtSaturationOnTwoCores) {
  const MeasureSettings settings = good(run_of({}));
  EXPECT_EQ(settings.run.paths.size(), egress::socket_paths().size());
  EXPECT_EQ(settings.run.file, "");
  EXPECT_EQ(settings.run.size.value, 256 * mib);
  EXPECT_EQ(settings.run.folder, ".");
  EXPECT_EQ(settings.run.mode, bench::Mode::Stream);
  EXPECT_FALSE(settings.run.rate_gbit_per_s.has_value());
  EXPECT_TRUE(settings.run.instrument);
  EXPECT_EQ(settings.run.pin.server, 0);
  EXPECT_EQ(settings.run.pin.client, 2) << "on another core";
  EXPECT_FALSE(good(run_of({}, one_cpu)).run.pin.server.has_value());
  EXPECT_FALSE(good(run_of({"--pin", "off"})).run.pin.server.has_value());
  EXPECT_EQ(settings.outputs.json, "");
}

TEST(BenchRun, FlagsReachTheirMembers) {
  const MeasureSettings settings = good(run_of({"--file",   "/f",
                                                "--path",   "splice,readwrite,copy",
                                                "-t",       "0.5",
                                                "-P",       "8",
                                                "--repeat", "7",
                                                "--warmup", "250ms",
                                                "--net",    "veth",
                                                "--cold",   "--rate",
                                                "2.5",      "--pin",
                                                "3,1",      "--mode",
                                                "request",  "--no-instrument",
                                                "--json",   "j",
                                                "--csv",    "c",
                                                "--html",   "-",
                                                "--svg",    "s",
                                                "--md",     "m"}));
  const bench::RunSettings& run = settings.run;
  EXPECT_EQ(run.file, "/f");
  EXPECT_EQ(names(run.paths), (Arguments{"splice", "copy"})) << "readwrite is copy, once";
  EXPECT_EQ(run.seconds, 0.5);
  EXPECT_EQ(run.connections, 8U);
  EXPECT_EQ(run.repeat, 7U);
  EXPECT_EQ(run.warmup_seconds, 0.25);
  EXPECT_EQ(run.net, bench::NetKind::Veth);
  EXPECT_TRUE(run.cold);
  EXPECT_EQ(run.rate_gbit_per_s, 2.5);
  EXPECT_EQ(run.pin.server, 3);
  EXPECT_EQ(run.pin.client, 1);
  EXPECT_EQ(run.mode, bench::Mode::Request);
  EXPECT_FALSE(run.instrument);
  EXPECT_EQ(settings.outputs.json, "j");
  EXPECT_EQ(settings.outputs.csv, "c");
  EXPECT_EQ(settings.outputs.html, "-");
  EXPECT_EQ(settings.outputs.svg, "s");
  EXPECT_EQ(settings.outputs.markdown, "m");
  const MeasureSettings long_names = good(run_of(
      {"--size", "1G", "--folder", "/tmp", "--time", "3s", "--connections", "2", "--path", "all"}));
  EXPECT_EQ(long_names.run.size.value, gib);
  EXPECT_EQ(long_names.run.folder, "/tmp");
  EXPECT_EQ(long_names.run.seconds, 3.0);
  EXPECT_EQ(long_names.run.connections, 2U);
  EXPECT_EQ(long_names.run.paths.size(), egress::socket_paths().size());
}

struct Wrong {
  Arguments arguments;
  std::string line;
};

template <class Make>
void expect_lines(const std::vector<Wrong>& table, const std::string& command, Make make) {
  for (const Wrong& wrong : table) {
    const auto settings = make(wrong.arguments);
    ASSERT_FALSE(settings.has_value()) << wrong.line;
    const std::string& said = settings.error().text;
    EXPECT_TRUE(said.starts_with(command + ": " + wrong.line)) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
  }
}

TEST(BenchRun, AMistakeIsOneLine) {
  expect_lines(
      {{{"--path", "sendfile,spice"},
        "--path takes all, or names with commas between: sendfile, splice, vmsplice, tee, "
        "zerocopy, mmap, uring_zc, uring_zc_sqpoll, uring_splice, copy or readwrite, not "
        "\"sendfile,spice\" (did you mean splice?)"},
       {{"--path", "al"}, "--path takes all, or names"},
       {{"--path", ""}, "--path takes all, or names"},
       {{"--path", "copy,"}, "--path takes all, or names"},
       {{"--mode", "strem"},
        "--mode takes stream or request, not \"strem\" (did you mean stream?)"},
       {{"-t", "0"}, "--time takes seconds from 0.05 to 3600, such as 3, 0.5 or 500ms, not \"0\""},
       {{"-t", "-1"}, "--time takes seconds"},
       {{"-t"}, "--time takes seconds from 0.05 to 3600, such as 3, 0.5 or 500ms, but nothing"},
       {{"-P", "0"}, "--connections takes a number from 1 to 4096, not \"0\""},
       {{"--rate", "0"}, "--rate takes Gbit/s, such as 2 or 0.5, up to 1000, or off, not \"0\""},
       {{"--rate", "1e9"}, "--rate takes Gbit/s"},
       {{"--pin", "0"}, "--pin takes two CPUs such as 0,1 (server, client), auto or off, not"},
       {{"--pin", "0,1,2"}, "--pin takes two CPUs"},
       {{"--pin", "0,9"}, "--pin names CPU 9, on which this process may not run"},
       {{"--size", "0"}, "--size takes a size from 1 to 1T (K, M, G are of 1024), not \"0\""},
       {{"--zero", "1M", "--size", "1M"}, "--zero sends no file, --size is for one"},
       {{"--file", "f", "--size", "1M"},
        "--file sends a file that there is, --size is for one that is made; give one of them"},
       {{"--file", "f", "--folder", "d"}, "--file sends a file that there is, --folder is for"},
       {{"--json", "-", "--md", "-"}, "2 reports go to standard output (-); only one can"},
       {{"--paht", "all"},
        "there is no flag --paht (did you mean --path?); see pagewire bench run"},
       {{"fast"}, "takes nothing but flags; \"fast\" is one too many"},
       {{"--save", "f"}, "there is no flag --save"}},
      "pagewire bench run", [](const Arguments& arguments) { return run_of(arguments); });
}

TEST(BenchSweep, HasSizesInOrderAndShortRounds) {
  const MeasureSettings settings =
      good(sweep_of({"--sizes", "1M,4K,16K,4K", "--save", "c.json", "--path", "copy"}));
  EXPECT_EQ(settings.sizes, (std::vector<ByteCount>{{4 * kib}, {16 * kib}, {mib}}));
  EXPECT_EQ(settings.save, "c.json");
  EXPECT_EQ(names(settings.run.paths), Arguments{"copy"});
  EXPECT_FALSE(settings.run.instrument);
  EXPECT_TRUE(good(sweep_of({"--instrument"})).run.instrument);
  EXPECT_TRUE(good(sweep_of({})).sizes.empty()) << "the bench's own";
  EXPECT_EQ(good(sweep_of({})).run.paths.size(), egress::socket_paths().size());
  expect_lines({{{"--sizes", "1K,,2K"}, "--sizes takes sizes from 1 to 1G with commas between"},
                {{"--sizes", "0"}, "--sizes takes sizes"},
                {{"--sizes", "2G"}, "--sizes takes sizes"},
                {{"--size", "2K"}, "there is no flag --size (did you mean --sizes?)"},
                {{"--mode", "stream"}, "there is no flag --mode"}},
               "pagewire bench sweep", sweep_of);
}

TEST(BenchSend, TakesThePathOfTheFlagThenOfTheEnvironment) {
  const bench::SendSettings plain = good(send_of({"big.bin"}));
  EXPECT_EQ(plain.file, "big.bin");
  EXPECT_EQ(plain.path->name, "sendfile");
  EXPECT_EQ(plain.listen.to_string(), "127.0.0.1:9000");
  EXPECT_EQ(plain.count, 0U);
  EXPECT_EQ(good(send_of({"f", "--iperf3"})).listen.to_string(), "127.0.0.1:5201");
  EXPECT_EQ(good(send_of({"f", "--iperf3", "--listen", ":1"})).listen.to_string(), "[::]:1");

  EXPECT_EQ(good(send_of({"f"}, "splice")).path->name, "splice");
  EXPECT_EQ(good(send_of({"f"}, "readwrite")).path->name, "copy");
  EXPECT_EQ(good(send_of({"f"}, "")).path->name, "sendfile") << "set, but to nothing";
  EXPECT_EQ(good(send_of({"f", "--path", "mmap"}, "splice")).path->name, "mmap");
  EXPECT_EQ(good(send_of({"f", "--path", "mmap"}, "wrong")).path->name, "mmap");
  const auto wrong = send_of({"f"}, "sendfil");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().text,
            "pagewire bench send: ZC_PATH takes sendfile, splice, vmsplice, tee, zerocopy, mmap, "
            "uring_zc, uring_zc_sqpoll, uring_splice, copy or readwrite, not "
            "\"sendfil\" (did you mean sendfile?)");
  expect_lines(
      {{{}, "FILE is missing, the name of a file (or --zero SIZE); see pagewire bench send --help"},
       {{"f", "--zero", "1M"}, "--zero sends no file; give FILE or --zero, not both"},
       {{"a", "b"}, "takes one FILE; \"b\" is one too many"},
       {{"f", "--path", "all"},
        "--path takes sendfile, splice, vmsplice, tee, zerocopy, mmap, uring_zc, "
        "uring_zc_sqpoll, uring_splice, copy or readwrite"},
       {{"f", "--count", "0"}, "--count takes a number from 1 to 1000000000"},
       {{"f", "--listen", "nowhere"}, "--listen takes an address with a port"}},
      "pagewire bench send", [](const Arguments& arguments) { return send_of(arguments); });
}

TEST(BenchSink, EndsWithTheServerUnlessATimeIsGiven) {
  const bench::SinkSettings plain = good(sink_of({"host:9000"}));
  EXPECT_EQ(plain.server, "host:9000");
  EXPECT_EQ(plain.connections, 1U);
  EXPECT_FALSE(plain.seconds.has_value());
  EXPECT_FALSE(plain.touch);
  const bench::SinkSettings all = good(sink_of({"h:1", "-P", "4", "-t", "10", "--touch"}));
  EXPECT_EQ(all.connections, 4U);
  EXPECT_EQ(all.seconds, 10.0);
  EXPECT_TRUE(all.touch);
  expect_lines({{{}, "HOST:PORT is missing, a host with a port"}}, "pagewire bench sink", sink_of);
}

TEST(BenchCompare, TakesTwoFilesAndAShare) {
  const CompareSettings plain = good(compare_of({"a", "b"}));
  EXPECT_EQ(plain.before, "a");
  EXPECT_EQ(plain.after, "b");
  EXPECT_EQ(plain.threshold, 0.05);
  EXPECT_EQ(good(compare_of({"a", "b", "--threshold", "2%"})).threshold, 0.02);
  EXPECT_EQ(good(compare_of({"--threshold=0.1", "a", "b"})).threshold, 0.1);
  expect_lines(
      {{{"a"}, "B.json is missing, the name of a report in JSON; see"},
       {{"a", "b", "c"}, "takes A.json and B.json; \"c\" is one too many"},
       {{"a", "b", "--threshold", "5"}, "--threshold takes a share such as 5% or 0.05, not \"5\""}},
      "pagewire bench compare", compare_of);
}

TEST(BenchReport, TakesAFileAndFormats) {
  const ReportSettings settings = good(report_of({"in.json", "--html", "r.html"}));
  EXPECT_EQ(settings.input, "in.json");
  EXPECT_EQ(settings.outputs.html, "r.html");
  expect_lines({{{}, "IN.json is missing"},
                {{"a", "--csv", "-", "--svg", "-"}, "2 reports go to standard output"}},
               "pagewire bench report", report_of);
}

TEST(BenchAlone, TakesLessThanAMinuteHoweverManyPathsThereAre) {
  for (std::size_t paths = 1; paths <= 40; ++paths) {
    const bench::RunSettings run = quick_run(paths, two_cores).run;
    const auto rounds = static_cast<double>(run.repeat + (run.instrument ? 1 : 0));
    const double total_s =
        static_cast<double>(paths) * (0.6 + rounds * (run.seconds + run.warmup_seconds + 0.3));
    EXPECT_LE(total_s, 48.0) << paths;
    EXPECT_GE(run.seconds, 0.1) << paths;
    EXPECT_GE(run.repeat, 1U) << paths;
  }
  const bench::RunSettings four = quick_run(4, two_cores).run;
  EXPECT_EQ(four.repeat, 5U);
  EXPECT_GE(four.seconds, 1.0);
  EXPECT_TRUE(four.instrument);
  EXPECT_EQ(four.pin.client, 2);
}

template <class Settings>
void check_table(const std::vector<BasicOption<Settings>>& table, const Settings& defaults,
                 const std::string& help) {
  std::set<std::string_view> seen;
  std::set<std::string_view> groups;
  std::string_view group;
  for (const BasicOption<Settings>& option : table) {
    EXPECT_TRUE(seen.insert(option.name).second) << option.name;
    if (option.group != group) {
      EXPECT_TRUE(groups.insert(option.group).second) << option.group << " stands twice";
    }
    group = option.group;
    EXPECT_NE(help.find(option.kind == OptionFacts::Kind::Positional
                            ? "  " + std::string(option.placeholder)
                            : std::string(option.name)),
              std::string::npos);
    // An empty one is none; --count 0 and no time cannot be said.
    const std::string shown = option.show(defaults).front();
    if (shown.empty() || shown == "0" || option.name == "time") continue;
    Settings settings = defaults;
    EXPECT_TRUE(option.set(shown, settings)) << option.name << " " << shown;
    EXPECT_EQ(option.show(settings).front(), shown) << option.name;
  }
}

TEST(BenchTables, AreWholeAndDefaultsAreAccepted) {
  check_table(run_options(), default_run(), run_help_text());
  check_table(sweep_options(), default_sweep(), sweep_help_text());
  check_table(send_options(), default_send(), send_help_text());
  check_table(sink_options(), bench::SinkSettings{}, sink_help_text());
  check_table(compare_options(), CompareSettings{}, compare_help_text());
  check_table(report_options(), ReportSettings{}, report_help_text());
}

TEST(BenchHelp, FitsATerminalAndHasExamples) {
  for (const std::string& text :
       {bench_help_text(), run_help_text(), sweep_help_text(), send_help_text(), sink_help_text(),
        compare_help_text(), report_help_text()}) {
    EXPECT_NE(text.find("\n  pagewire bench "), std::string::npos) << text;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 88U) << line;
  }
}

}  // namespace
}  // namespace pagewire::cli
