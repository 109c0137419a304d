// The options of `pagewire bench`'s commands: a table each, as serve_options.h has it.
//
// Pure: nothing here or in bench_settings.h touches a file, a socket or the bench itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "cli/option.h"

namespace pagewire::cli {

/// Files that a report is written to: "" is none, "-" standard output.
struct Outputs {
  std::string json;
  std::string csv;
  std::string html;
  std::string svg;
  std::string markdown;
};

enum class BenchPin : std::uint8_t {
  Auto,  ///< server and client on two cores, where there are two
  Off,
  Pair,  ///< as named
};

/// `bench run` and `bench sweep`; each has the options that concern it.
struct MeasureSettings {
  bench::RunSettings run;  ///< paths: empty is all, until they are resolved
  BenchPin pin = BenchPin::Auto;
  std::vector<ByteCount> sizes;  ///< sweep; empty is bench::default_sweep_sizes()
  std::string save;              ///< sweep: the calibration file, "" is none
  Outputs outputs;
};
MeasureSettings default_run();
MeasureSettings default_sweep();

struct ReportSettings {
  std::string input;
  Outputs outputs;
};

struct SendOptions {
  bench::SendSettings send;
  std::optional<sys::Address> listen;  ///< none: the default of the protocol
};
SendOptions default_send();

struct CompareSettings {
  std::string before;
  std::string after;
  double threshold = 0.05;
};

const std::vector<BasicOption<MeasureSettings>>& run_options();
const std::vector<BasicOption<MeasureSettings>>& sweep_options();
const std::vector<BasicOption<ReportSettings>>& report_options();
const std::vector<BasicOption<SendOptions>>& send_options();
const std::vector<BasicOption<bench::SinkSettings>>& sink_options();
const std::vector<BasicOption<CompareSettings>>& compare_options();

CommandTable run_command();
CommandTable sweep_command();
CommandTable report_command();
CommandTable send_command();
CommandTable sink_command();
CommandTable compare_command();

}  // namespace pagewire::cli
