// The tables of `bench send`, `sink`, `compare` and `report`.
#include "cli/bench_option_parts.h"
#include "cli/bench_options.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

// ---------------------------------------------------------------- send

BasicOption<SendOptions> listen_option() {
  using Make = OptionKinds<SendOptions>;
  BasicOption<SendOptions> option =
      Make::described(Kind::Text,
                      {.name = "listen",
                       .group = "Sending",
                       .placeholder = "ADDR:PORT",
                       .help = "listen here; :9000 is every interface",
                       .default_text = "127.0.0.1:9000; with --iperf3 127.0.0.1:5201"},
                      "an address with a port, such as 127.0.0.1:9000, [::1]:9000 or :9000");
  option.set = [](std::string_view value, SendOptions& settings) {
    const Result<sys::Address> address = sys::Address::parse(value);
    if (address) settings.listen = *address;
    return address.has_value();
  };
  option.show = [](const SendOptions& settings) {
    return std::vector{settings.listen ? settings.listen->to_string() : std::string()};
  };
  return option;
}

BasicOption<SendOptions> path_option() {
  using Make = OptionKinds<SendOptions>;
  std::vector<Choice<const egress::Path*>> choices;
  for (const std::string_view name : path_names()) {
    choices.push_back({.name = name, .value = path_named(name)});
  }
  return Make::choice<const egress::Path*>(
      {.name = "path",
       .group = "Sending",
       .placeholder = "NAME",
       .help = "the way to send (readwrite is copy); else what ZC_PATH in the environment names"},
      std::move(choices), [](auto& s) -> auto& { return s.send.path; });
}

std::vector<BasicOption<SendOptions>> make_send_table() {
  using Make = OptionKinds<SendOptions>;
  constexpr std::string_view group = "Sending";
  std::vector<BasicOption<SendOptions>> table;
  table.push_back(Make::text(
      Kind::Positional,
      {.name = "file", .group = group, .placeholder = "FILE", .help = "sent whole, raw, to each"},
      "the name of a file", [](auto& s) -> auto& { return s.send.file; }));
  table.back().default_text = "none; --zero sends none";
  table.push_back(zero_option<SendOptions>(
      group, [](auto& s) -> auto& { return s.send.zeros; }));
  table.push_back(listen_option());
  table.push_back(path_option());
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "iperf3",
       .group = group,
       .placeholder = "",
       .help = "answer reverse tests of an iperf3 client (iperf3 -c HOST -R) instead"},
      [](auto& s) -> auto& { return s.send.iperf3; }));
  table.push_back(Make::number(
      {.name = "count",
       .group = group,
       .placeholder = "N",
       .help = "end after so many connections (or tests of iperf3's)",
       .default_text = "until Ctrl-C"},
      {.least = 1, .most = 1'000'000'000}, [](auto& s) -> auto& { return s.send.count; }));
  return table;
}

// ---------------------------------------------------------------- sink

std::vector<BasicOption<bench::SinkSettings>> make_sink_table() {
  using Make = OptionKinds<bench::SinkSettings>;
  constexpr std::string_view group = "Receiving";
  std::vector<BasicOption<bench::SinkSettings>> table;
  table.push_back(Make::text(
      Kind::Positional,
      {.name = "server",
       .group = group,
       .placeholder = "HOST:PORT",
       .help = "where bench send listens"},
      "a host with a port, such as 10.0.0.1:9000", [](auto& s) -> auto& { return s.server; }));
  table.back().required = true;
  table.push_back(Make::number(
      {.name = "connections",
       .short_name = 'P',
       .group = group,
       .placeholder = "N",
       .help = "at the same time"},
      {.least = 1, .most = 4'096}, [](auto& s) -> auto& { return s.connections; }));
  table.push_back(Make::seconds(
      {.name = "time",
       .short_name = 't',
       .group = group,
       .placeholder = "SECONDS",
       .help = "receive for so long, connecting again when the server "
               "has closed",
       .default_text = "until it has closed"},
      {.least_ms = 50, .most_ms = 24 * 3'600'000}, [](auto& s) -> auto& { return s.seconds; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "touch",
       .group = group,
       .placeholder = "",
       .help = "copy the bytes to this program and read them, instead of having the "
               "kernel discard them (MSG_TRUNC)"},
      [](auto& s) -> auto& { return s.touch; }));
  return table;
}

// ---------------------------------------------------------------- compare, report

std::vector<BasicOption<CompareSettings>> make_compare_table() {
  using Make = OptionKinds<CompareSettings>;
  constexpr std::string_view group = "Comparing";
  std::vector<BasicOption<CompareSettings>> table;
  table.push_back(Make::text(
      Kind::Positional,
      {.name = "before", .group = group, .placeholder = "A.json", .help = "the report before"},
      "the name of a report in JSON", [](auto& s) -> auto& { return s.before; }));
  table.back().required = true;
  table.push_back(Make::text(
      Kind::Positional,
      {.name = "after", .group = group, .placeholder = "B.json", .help = "and the one after"},
      "the name of a report in JSON", [](auto& s) -> auto& { return s.after; }));
  table.back().required = true;
  BasicOption<CompareSettings> threshold = Make::described(Kind::Text,
                                                           {.name = "threshold",
                                                            .group = group,
                                                            .placeholder = "SHARE",
                                                            .help = "a smaller change is none"},
                                                           "a share such as 5% or 0.05");
  threshold.set = [](std::string_view value, CompareSettings& settings) {
    const std::optional<double> share = parse_share(value);
    if (share) settings.threshold = *share;
    return share.has_value();
  };
  threshold.show = [](const CompareSettings& settings) {
    return std::vector{show_share(settings.threshold)};
  };
  table.push_back(std::move(threshold));
  return table;
}

std::vector<BasicOption<ReportSettings>> make_report_table() {
  std::vector<BasicOption<ReportSettings>> table;
  table.push_back(OptionKinds<ReportSettings>::text(
      Kind::Positional,
      {.name = "input", .group = "Reading", .placeholder = "IN.json", .help = "what --json wrote"},
      "the name of a report in JSON", [](auto& s) -> auto& { return s.input; }));
  table.back().required = true;
  add_outputs(table);
  return table;
}

}  // namespace

SendOptions default_send() {
  SendOptions settings;
  settings.send.path = egress::find_path("sendfile");
  return settings;
}

const std::vector<BasicOption<SendOptions>>& send_options() {
  static const std::vector<BasicOption<SendOptions>> table = make_send_table();
  return table;
}

const std::vector<BasicOption<bench::SinkSettings>>& sink_options() {
  static const std::vector<BasicOption<bench::SinkSettings>> table = make_sink_table();
  return table;
}

const std::vector<BasicOption<CompareSettings>>& compare_options() {
  static const std::vector<BasicOption<CompareSettings>> table = make_compare_table();
  return table;
}

const std::vector<BasicOption<ReportSettings>>& report_options() {
  static const std::vector<BasicOption<ReportSettings>> table = make_report_table();
  return table;
}

CommandTable send_command() {
  return command_table("pagewire bench send", send_options());
}

CommandTable sink_command() {
  return command_table("pagewire bench sink", sink_options());
}

CommandTable compare_command() {
  return command_table("pagewire bench compare", compare_options());
}

CommandTable report_command() {
  return command_table("pagewire bench report", report_options());
}

}  // namespace pagewire::cli
