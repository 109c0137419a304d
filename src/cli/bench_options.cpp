// The tables of `bench run` and `bench sweep`.
#include "cli/bench_options.h"

#include <algorithm>

#include "cli/bench_option_parts.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;
using Make = OptionKinds<MeasureSettings>;
using MeasureOption = BasicOption<MeasureSettings>;

constexpr std::string_view what = "What is sent";
constexpr std::string_view how = "How it is measured";

/// The parts of "A,B"; an empty text has one empty part.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t comma = std::min(text.find(','), text.size());
    parts.push_back(text.substr(0, comma));
    if (comma == text.size()) return parts;
    text.remove_prefix(comma + 1);
  }
}

// ---------------------------------------------------------------- entries with rules of their own

MeasureOption paths_option() {
  std::vector<std::string_view> words = path_names();
  words.push_back("all");
  MeasureOption option = Make::described(
      Kind::Text,
      {.name = "path",
       .group = what,
       .placeholder = "A,B|all",
       .help = "the ways to send; readwrite is another name for copy. Without copy among "
               "them there are no ratios"},
      fmt::format("all, or names with commas between: {}", one_of(path_names())));
  option.words = std::move(words);
  option.set = [](std::string_view value, MeasureSettings& settings) {
    std::vector<const egress::Path*>& paths = settings.run.paths;
    paths.clear();
    if (value == "all") return true;
    for (const std::string_view name : parts_of(value)) {
      const egress::Path* const path = path_named(name);
      if (path == nullptr) return false;
      if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
    }
    return true;
  };
  option.show = [](const MeasureSettings& settings) {
    std::string names;
    for (const egress::Path* const path : settings.run.paths) {
      names += fmt::format("{}{}", names.empty() ? "" : ",", path->name);
    }
    return std::vector{names.empty() ? std::string("all") : names};
  };
  return option;
}

MeasureOption rate_option() {
  MeasureOption option = Make::described(
      Kind::Text,
      {.name = "rate",
       .group = how,
       .placeholder = "GBPS|off",
       .help = "offer this load in Gbit/s, below saturation: CPU per byte is comparable only at "
               "equal load. off: as fast as it goes"},
      "Gbit/s, such as 2 or 0.5, up to 1000, or off");
  option.set = [](std::string_view value, MeasureSettings& settings) {
    constexpr double most = 1'000;
    settings.run.rate_gbit_per_s.reset();
    if (value == "off") return true;
    const std::optional<double> rate = parse_decimal(value);
    if (!rate || *rate <= 0 || *rate > most) return false;
    settings.run.rate_gbit_per_s = rate;
    return true;
  };
  option.show = [](const MeasureSettings& settings) {
    const std::optional<double> rate = settings.run.rate_gbit_per_s;
    return std::vector{rate ? show_decimal(*rate) : std::string("off")};
  };
  return option;
}

MeasureOption pin_option() {
  MeasureOption option = Make::described(
      Kind::Text,
      {.name = "pin",
       .group = how,
       .placeholder = "S,C|auto|off",
       .help = "the CPUs of server and client; auto: on two cores, where there are two. off: "
               "wherever the scheduler likes"},
      "two CPUs such as 0,1 (server, client), auto or off");
  option.set = [](std::string_view value, MeasureSettings& settings) {
    settings.pin = value == "auto" ? BenchPin::Auto : BenchPin::Off;
    settings.run.pin = {};
    if (value == "auto" || value == "off") return true;
    const std::optional<std::vector<int>> cpus = parse_cpu_list(value);
    if (!cpus || cpus->size() != 2) return false;
    settings.pin = BenchPin::Pair;
    settings.run.pin = {.server = (*cpus)[0], .client = (*cpus)[1]};
    return true;
  };
  option.show = [](const MeasureSettings& settings) -> std::vector<std::string> {
    switch (settings.pin) {
      case BenchPin::Auto:
        return {"auto"};
      case BenchPin::Off:
        return {"off"};
      case BenchPin::Pair:
        break;
    }
    return {fmt::format("{},{}", settings.run.pin.server.value_or(0),
                        settings.run.pin.client.value_or(0))};
  };
  return option;
}

MeasureOption sizes_option() {
  MeasureOption option =
      Make::described(Kind::Text,
                      {.name = "sizes",
                       .group = what,
                       .placeholder = "A,B,...",
                       .help = "the bodies that are asked for, each of them by each path",
                       .default_text = "1K to 64M"},
                      "sizes from 1 to 1G with commas between, such as 1K,16K,1M");
  option.set = [](std::string_view value, MeasureSettings& settings) {
    std::vector<ByteCount>& sizes = settings.sizes;
    sizes.clear();
    for (const std::string_view part : parts_of(value)) {
      const std::optional<std::uint64_t> size = parse_size(part);
      if (!size || *size < 1 || *size > gib) return false;
      sizes.push_back({*size});
    }
    std::sort(sizes.begin(), sizes.end());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    return true;
  };
  option.show = [](const MeasureSettings& settings) {
    std::vector<std::string> shown;
    for (const ByteCount size : settings.sizes) shown.push_back(show_size(size.value));
    return std::vector{fmt::format("{}", fmt::join(shown, ","))};
  };
  return option;
}

// ---------------------------------------------------------------- groups

MeasureOption folder_option() {
  return Make::text(
      Kind::Text,
      {.name = "folder",
       .group = what,
       .placeholder = "DIR",
       .help = "where the file to send is made, without a name, and gone at the end: its "
               "filesystem counts",
       .default_text = "the current folder"},
      "the name of a folder", [](auto& s) -> auto& { return s.run.folder; });
}

void add_file(std::vector<MeasureOption>& table) {
  table.push_back(Make::text(
      Kind::Text,
      {.name = "file",
       .group = what,
       .placeholder = "F",
       .help = "send this file",
       .default_text = "one of --size is made"},
      "the name of a file", [](auto& s) -> auto& { return s.run.file; }));
  table.push_back(Make::size(
      {.name = "size",
       .group = what,
       .placeholder = "SIZE",
       .help = "of the file that is made; every 8 bytes hold their offset"},
      {.least = 1, .most = 1024 * gib}, [](auto& s) -> auto& { return s.run.size; }));
  table.push_back(folder_option());
  table.push_back(zero_option<MeasureSettings>(
      what, [](auto& s) -> auto& { return s.run.zeros; }));
  table.push_back(paths_option());
  table.push_back(Make::choice<bench::Mode>(
      {.name = "mode",
       .group = what,
       .placeholder = "stream|request",
       .help = "stream: the file over and over. request: an answer (head and file) for "
               "each request, with latencies"},
      {{.name = "stream", .value = bench::Mode::Stream},
       {.name = "request", .value = bench::Mode::Request}},
      [](auto& s) -> auto& { return s.run.mode; }));
}

void add_rounds(std::vector<MeasureOption>& table) {
  table.push_back(Make::seconds(
      {.name = "time",
       .short_name = 't',
       .group = how,
       .placeholder = "SECONDS",
       .help = "measured in each round (0.5, 500ms)"},
      {.least_ms = 50, .most_ms = 3'600'000}, [](auto& s) -> auto& { return s.run.seconds; }));
  table.push_back(Make::seconds(
      {.name = "warmup", .group = how, .placeholder = "SECONDS", .help = "before it, not counted"},
      {.least_ms = 0, .most_ms = 600'000}, [](auto& s) -> auto& { return s.run.warmup_seconds; }));
  table.push_back(Make::number(
      {.name = "repeat",
       .group = how,
       .placeholder = "N",
       .help = "rounds of each path; the paths take turns"},
      {.least = 1, .most = 1'000}, [](auto& s) -> auto& { return s.run.repeat; }));
  table.push_back(Make::number(
      {.name = "connections",
       .short_name = 'P',
       .group = how,
       .placeholder = "N",
       .help = "at the same time"},
      {.least = 1, .most = 4'096}, [](auto& s) -> auto& { return s.run.connections; }));
  table.push_back(rate_option());
}

void add_surroundings(std::vector<MeasureOption>& table) {
  table.push_back(Make::choice<bench::NetKind>(
      {.name = "net",
       .group = how,
       .placeholder = "loopback|veth",
       .help = "veth: between two network namespaces of their own, which vanish at the end; "
               "needs root"},
      {{.name = "loopback", .value = bench::NetKind::Loopback},
       {.name = "veth", .value = bench::NetKind::Veth}},
      [](auto& s) -> auto& { return s.run.net; }));
  table.push_back(pin_option());
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "cold",
       .group = how,
       .placeholder = "",
       .help = "drop the file from the page cache before each round; the sender then waits for the "
               "disk itself, and what it reads to warm the pages is on its bill"},
      [](auto& s) -> auto& { return s.run.cold; }));
}

/// `help` says what the switch does that changes the command's default.
MeasureOption instrument_option(std::string_view help, std::string_view default_text) {
  return Make::boolean(
      Kind::Switch,
      {.name = "instrument",
       .group = how,
       .placeholder = "",
       .help = help,
       .default_text = default_text},
      [](auto& s) -> auto& { return s.run.instrument; });
}

std::vector<MeasureOption> make_run_table() {
  std::vector<MeasureOption> table;
  add_file(table);
  add_rounds(table);
  add_surroundings(table);
  table.push_back(instrument_option(
      "without the extra round per path that counts system calls and samples the kernel's copying",
      "with it"));
  add_outputs(table);
  return table;
}

std::vector<MeasureOption> make_sweep_table() {
  std::vector<MeasureOption> table;
  table.push_back(sizes_option());
  table.push_back(folder_option());
  table.push_back(paths_option());
  add_rounds(table);
  add_surroundings(table);
  table.push_back(instrument_option(
      "one more round per path and size, that counts system calls and samples the kernel's copying",
      "without it"));
  add_outputs(table);
  table.push_back(Make::text(
      Kind::Text,
      {.name = "save",
       .group = "Reports",
       .placeholder = "FILE",
       .help = "break-evens and costs, for pagewire serve --calibration",
       .default_text = "none"},
      "a file name", [](auto& s) -> auto& { return s.save; }));
  return table;
}

}  // namespace

const std::vector<MeasureOption>& run_options() {
  static const std::vector<MeasureOption> table = make_run_table();
  return table;
}

const std::vector<MeasureOption>& sweep_options() {
  static const std::vector<MeasureOption> table = make_sweep_table();
  return table;
}

CommandTable run_command() {
  return command_table("pagewire bench run", run_options());
}

CommandTable sweep_command() {
  return command_table("pagewire bench sweep", sweep_options());
}

MeasureSettings default_run() {
  return {};
}

/// Many rounds of many sizes: short ones, so that it is minutes.
MeasureSettings default_sweep() {
  MeasureSettings settings;
  settings.run.mode = bench::Mode::Request;
  settings.run.seconds = 1;
  settings.run.warmup_seconds = 0.2;
  settings.run.repeat = 3;
  settings.run.instrument = false;
  return settings;
}

}  // namespace pagewire::cli
