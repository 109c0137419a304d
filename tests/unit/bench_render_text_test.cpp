// What people and spreadsheets read: numbers, CSV, the terminal's table, Markdown.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "bench/facts.h"
#include "bench/format_number.h"
#include "bench/render.h"
#include "unit/bench_sample_report.h"

namespace pagewire::bench {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::size_t count_of(const std::string& text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

// ---------------------------------------------------------------- numbers

TEST(FormatNumber, AsManyDigitsAsItDeserves) {
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(12), "12");
  EXPECT_EQ(format_number(0.31234), "0.31");
  EXPECT_EQ(format_number(0.01234), "0.012");
  EXPECT_EQ(format_number(0.000012), "1.2e-05");
  EXPECT_EQ(format_number(14.256), "14.3");
  EXPECT_EQ(format_number(815.17), "815");
  EXPECT_EQ(format_number(1108910.3), "1,108,910");
  EXPECT_EQ(format_number(-1234567), "-1,234,567");
  EXPECT_EQ(format_number(999.6), "1,000");
  EXPECT_EQ(format_number(1.0 / 0.0), "n/a");
}

TEST(FormatNumber, SizesAndLargeNumbers) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1,023 B");
  EXPECT_EQ(format_size(1024), "1 KiB");
  EXPECT_EQ(format_size(1536), "1.50 KiB");
  EXPECT_EQ(format_size(268435456), "256 MiB");
  EXPECT_EQ(format_size(4.0 * 1024 * 1024 * 1024), "4 GiB");
  EXPECT_EQ(format_large(310e6), "310 M");
  EXPECT_EQ(format_large(14.2e9), "14.2 G");
  EXPECT_EQ(format_large(5000), "5,000");
  EXPECT_EQ(format_ratio(1), "1.00");
  EXPECT_EQ(format_ratio(0.046), "0.046");
  EXPECT_EQ(format_tick(0.7), "0.7");
  EXPECT_EQ(format_tick(50000), "50,000");
}

TEST(FormatNumber, SummariesShowHalfTheInterval) {
  Summary summary;
  EXPECT_EQ(format_summary(Metric::CpuMsPerGbit, summary), "");
  summary.median = 14.256;
  EXPECT_EQ(format_summary(Metric::CpuMsPerGbit, summary), "14.3");
  summary.ci95 = Bounds{13.9, 14.5};
  EXPECT_EQ(format_summary(Metric::CpuMsPerGbit, summary), "14.3 ±0.3");
  summary.ci95 = Bounds{14.25, 14.26};
  EXPECT_EQ(format_summary(Metric::CpuMsPerGbit, summary), "14.3 ±0.005");
  summary.range = Bounds{2, 4};
  EXPECT_EQ(format_summary(Metric::MemoryTrafficPerByte, summary), "2.00 to 4.00");
}

TEST(FormatNumber, CutsBetweenCharacters) {
  EXPECT_EQ(columns_of("±é€"), 3U);
  EXPECT_EQ(cut_to("sendfile", 8), "sendfile");
  EXPECT_EQ(cut_to("sendfile", 5), "send…");
  EXPECT_EQ(cut_to("é€é€", 3), "é€…");
  EXPECT_EQ(cut_in_the_middle("server-1.22.1", 9), "serv…22.1");
  EXPECT_EQ(cut_in_the_middle("é€é€é€", 5), "é€…é€");
  EXPECT_EQ(wrap("a bb  ccc\ndddd", 4), (std::vector<std::string>{"a bb", "ccc", "dddd"}));
  EXPECT_TRUE(wrap(" ", 4).empty());
}

// ---------------------------------------------------------------- CSV

/// Parses by RFC 4180, strictly.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> records{{""}};
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = records.back().back();
    if (is_quoted) {
      if (text[i] != '"') {
        field += text[i];
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        is_quoted = false;
      }
    } else if (text[i] == '"') {
      EXPECT_EQ(field, "") << "a quote in the middle of a field";
      is_quoted = true;
    } else if (text[i] == ',') {
      records.back().emplace_back();
    } else if (text[i] == '\n') {
      records.push_back({""});
    } else {
      field += text[i];
    }
  }
  EXPECT_FALSE(is_quoted);
  EXPECT_EQ(records.back(), std::vector<std::string>{""}) << "no line break at the end";
  records.pop_back();
  return records;
}

TEST(BenchCsv, OneLineForEachRowContenderRoundAndMetric) {
  const Report report = sample::run();
  const auto records = parse_csv(to_csv(report));
  EXPECT_EQ(records[0], (std::vector<std::string>{"kind", "row", "size_bytes", "connections",
                                                  "mode", "offered_gbit_per_s", "contender",
                                                  "round", "instrumented", "metric", "unit",
                                                  "value", "low", "high", "source", "reason"}));
  std::size_t expected = 1;
  for (const Contender& contender : report.rows[0].contenders) {
    if (!contender.unavailable.empty()) ++expected;
    for (const Round& round : contender.rounds) {
      expected += round.figures.size() + (round.failed.empty() ? 0 : 1);
    }
  }
  EXPECT_EQ(records.size(), expected);
  for (const auto& record : records) EXPECT_EQ(record.size(), records[0].size());
  const std::vector<std::string> traffic{
      "run",   "256 MiB x 4, stream",     "268435456", "4", "stream", "",  "copy",     "1",
      "false", "memory_traffic_per_byte", "B",         "5", "3",      "7", "modelled", ""};
  EXPECT_NE(std::ranges::find(records, traffic), records.end());
  const std::vector<std::string> misses{"run",       "256 MiB x 4, stream",
                                        "268435456", "4",
                                        "stream",    "",
                                        "copy",      "1",
                                        "false",     "llc_misses_per_gbit",
                                        "",          "",
                                        "",          "",
                                        "",          "perf_event_open: No such file or directory"};
  EXPECT_NE(std::ranges::find(records, misses), records.end());
}

TEST(BenchCsv, QuotesWhatHasToBeQuoted) {
  const auto records = parse_csv(to_csv(sample::awkward()));
  const std::string& text = sample::awkward_text();
  ASSERT_GT(records.size(), 10U);
  for (const auto& record : records) ASSERT_EQ(record.size(), 16U);
  for (std::size_t i = 1; i < records.size(); ++i) EXPECT_EQ(records[i][1], text);
  EXPECT_TRUE(std::ranges::any_of(records, [&text](const auto& r) { return r[6] == text; }));
  EXPECT_TRUE(std::ranges::any_of(
      records, [&text](const auto& r) { return r[15] == text && r[9] == "copied_bytes"; }));
  EXPECT_TRUE(std::ranges::any_of(
      records, [&text](const auto& r) { return r[15] == text && r[6] == "mmap" && r[7].empty(); }));
}

/// Each on its own: a comma would have the field quoted anyway.
TEST(BenchCsv, QuotesForEachReason) {
  for (const char* name : {"a,b", "a\"b", "a\nb", "a\rb", "plain"}) {
    Report report = sample::run();
    report.rows[0].contenders[1].name = name;
    const auto records = parse_csv(to_csv(report));
    EXPECT_TRUE(std::ranges::any_of(records, [name](const auto& r) { return r[6] == name; }));
    for (const auto& record : records) EXPECT_EQ(record.size(), 16U) << name;
  }
}

// ---------------------------------------------------------------- the terminal

TEST(BenchTable, FitsTheTerminal) {
  for (const Report& report :
       {sample::run(), sample::requests(), sample::sweep(13), sample::crowd(), sample::nothing()}) {
    for (const std::size_t columns : {40U, 60U, 80U, 100U, 200U}) {
      for (const std::string& line : lines_of(to_table(report, {.columns = columns}))) {
        EXPECT_LE(columns_of(line), columns) << line;
      }
    }
  }
}

TEST(BenchTable, KeepsTheBillWhereThereIsNoRoom) {
  const std::string narrow = to_table(sample::run(), {.columns = 50});
  EXPECT_NE(narrow.find("CPU/Gbit"), std::string::npos);
  EXPECT_NE(narrow.find("vs copy"), std::string::npos);
  EXPECT_EQ(narrow.find("cycles/Gbit  "), std::string::npos);
  EXPECT_NE(narrow.find("no room for:"), std::string::npos);
  const std::string wide = to_table(sample::run(), {.columns = 220});
  EXPECT_EQ(wide.find("no room for:"), std::string::npos);
  EXPECT_NE(wide.find("cycles/Gbit"), std::string::npos);
}

TEST(BenchTable, SaysOnceWhatIsMissingAndWhy) {
  const std::string table = to_table(sample::run(), {.columns = 200});
  EXPECT_EQ(count_of(table, "perf_event_open: No such file or directory"), 1U);
  EXPECT_EQ(count_of(table, "zerocopy was not run: setsockopt SO_ZEROCOPY"), 1U);
  EXPECT_EQ(count_of(table, "round 12 (mmap) failed: the file shrank while it was sent"), 1U);
  EXPECT_NE(table.find("LLC load misses per Gbit: perf_event_open"), std::string::npos);
}

TEST(BenchTable, ShowsMachineLoadAndVerdict) {
  const std::string table = to_table(sample::run(), {.columns = 200});
  for (const char* part :
       {"Linux 6.18.0", "AMD EPYC, 2 CPUs, virtual machine", "clock tsc", "2026-11-22T21:20:57Z",
        "IRQ_TIME_ACCOUNTING n: softirq time is charged", "ext4 on /dev/vda", "loopback",
        "saturation", "sendfile costs 0.34 of copy's CPU per Gbit", "the client used 31%"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part;
  }
  const std::string offered = to_table(sample::requests(), {.columns = 200});
  EXPECT_NE(offered.find("offered: 10 Gbit/s"), std::string::npos);
  EXPECT_NE(offered.find("p99.9"), std::string::npos);
  EXPECT_EQ(to_table(sample::run(), {.columns = 200}).find("p99.9  "), std::string::npos);
}

TEST(BenchTable, PartialIsLoud) {
  const std::string table = to_table(sample::nothing(), {.columns = 100, .colour = true});
  EXPECT_EQ(count_of(table, "PARTIAL: interrupted (Ctrl-C) before the first round"), 2U);
  EXPECT_EQ(to_table(sample::run(), {}).find("PARTIAL"), std::string::npos);
}

/// Only our own colours reach the terminal, and only when they are asked for.
TEST(BenchTable, NothingInAReportSteersTheTerminal) {
  for (const bool colour : {false, true}) {
    const std::string table = to_table(sample::awkward(), {.columns = 80, .colour = colour});
    EXPECT_EQ(table.find("\x1b[31m"), std::string::npos);
    EXPECT_EQ(table.find('\x1b') != std::string::npos, colour);
    for (const char c : table) {
      EXPECT_TRUE(c == '\n' || c == '\x1b' || static_cast<unsigned char>(c) >= 0x20);
    }
  }
}

TEST(BenchTable, SweepTellsBreakEvens) {
  const std::string table = to_table(sample::sweep(13), {.columns = 100});
  EXPECT_NE(table.find("sendfile: cheaper than copy from 11.9 KiB on (between 8 KiB and 16 KiB)"),
            std::string::npos);
  EXPECT_NE(table.find("mmap: dearer at every size"), std::string::npos);
  EXPECT_NE(table.find("4 MiB"), std::string::npos);
}

TEST(BenchFacts, ABreakEvenWithoutALowerLimitHasNone) {
  const BreakEven found{
      .path = "sendfile", .size_bytes = 4096, .ci95 = Bounds{0, 65536}, .reason = {}};
  EXPECT_EQ(sentence_of(found, "copy"), "cheaper than copy from 4 KiB on (surely from 64 KiB on)");
}

TEST(BenchFacts, VerdictSaysWhatCannotBeTold) {
  Report report = sample::run();
  for (Round& round : report.rows[0].contenders[3].rounds) {
    for (auto& [metric, figure] : round.figures) {
      if (metric == Metric::CpuMsPerGbit) figure.value = *figure.value * 1.044;
    }
  }
  summarise(report);
  EXPECT_NE(verdicts_of(report)[0].find("mmap (0.99) cannot be told apart from copy"),
            std::string::npos)
      << verdicts_of(report)[0];

  Report single = sample::report_of(
      "run", "", {sample::row_of(sample::paths(), {.title = "one", .repeat = 1})});
  EXPECT_NE(verdicts_of(single)[0].find("single rounds"), std::string::npos);

  report.rows[0].baseline = "nobody";
  EXPECT_NE(verdicts_of(report)[0].find("no figure to compare with"), std::string::npos);
}

TEST(BenchFacts, MissingFiguresNameWhomTheyAreMissingFor) {
  Report report = sample::run();
  for (Round& round : report.rows[0].contenders[1].rounds) {
    round.figures[Metric::Retransmits] = Figure::missing("getsockopt: Bad file descriptor");
  }
  summarise(report);
  const std::vector<std::string> sentences = missing_sentences_of(report);
  EXPECT_NE(
      std::ranges::find(sentences, "TCP retransmits (sendfile): getsockopt: Bad file descriptor"),
      sentences.end());
}

// ---------------------------------------------------------------- Markdown

/// The cells of a table's line: an escaped bar does not end one.
std::size_t cells_of(const std::string& line) {
  std::size_t bars = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\') {
      ++i;
    } else if (line[i] == '|') {
      ++bars;
    }
  }
  return bars - 1;
}

TEST(BenchMarkdown, TablesAreWhole) {
  for (const Report& report : {sample::run(), sample::requests(), sample::sweep(), sample::crowd(),
                               sample::awkward(), sample::nothing()}) {
    std::size_t cells = 0;
    for (const std::string& line : lines_of(to_markdown(report))) {
      if (!line.starts_with("|")) {
        cells = 0;
        continue;
      }
      if (cells == 0) cells = cells_of(line);
      EXPECT_EQ(cells_of(line), cells) << line;
    }
  }
}

TEST(BenchMarkdown, HasEveryMetricWithItsSource) {
  const std::string text = to_markdown(sample::run());
  EXPECT_NE(text.find("| copied by the CPU |  | counted |"), std::string::npos);
  EXPECT_NE(text.find("| cycles per Gbit |  | modelled |"), std::string::npos);
  EXPECT_NE(text.find("**14.3 ±0.2**"), std::string::npos);
  EXPECT_EQ(text.find("Partial"), std::string::npos);
  EXPECT_NE(to_markdown(sample::nothing()).find("**Partial: interrupted"), std::string::npos);
}

/// A difference within the intervals is none, and nobody is the best.
TEST(BenchMarkdown, BestIsOnlyWhoSurelyIs) {
  std::vector<sample::Path> close = sample::paths();
  close[2].ms_per_gbit = close[1].ms_per_gbit * 1.002;
  const std::string text =
      to_markdown(sample::report_of("run", "", {sample::row_of(close, {.repeat = 3})}));
  EXPECT_NE(text.find("| 14.3 ±0.4 |"), std::string::npos) << text;
  EXPECT_EQ(text.find("**14.3"), std::string::npos);
}

TEST(BenchMarkdown, EscapesWhatMeansSomething) {
  const std::string text = to_markdown(sample::awkward());
  EXPECT_EQ(text.find("</script>"), std::string::npos);
  EXPECT_EQ(text.find("a<b"), std::string::npos);
  EXPECT_NE(text.find("a&lt;b &amp; \"c\""), std::string::npos);
}

}  // namespace
}  // namespace pagewire::bench
