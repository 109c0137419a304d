// Options that every command has that runs until a signal (serve, relay): workers, logs, the admin
// listener, the status line, the file. Each takes its members as generic lambdas, as OptionKinds.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/option_kinds.h"
#include "cli/status_line.h"
#include "log/log.h"
#include "sys/socket.h"

namespace pagewire::cli {

enum class PinMode : std::uint8_t { Off, Auto, List };

template <class Settings>
struct ServiceOptions {
  using Make = OptionKinds<Settings>;
  using Option = BasicOption<Settings>;
  using Kind = OptionFacts::Kind;

  static constexpr std::string_view watching = "Logging and watching";
  static constexpr std::string_view configuration = "Configuration";

  template <class Member>
  static Option workers(std::string_view help, Member member) {
    constexpr std::uint64_t most = 256;
    return Make::number({.name = "workers",
                         .group = "Workers",
                         .placeholder = "N",
                         .help = help,
                         .default_text = "the CPUs this process may run on"},
                        {.least = 1, .most = most}, member);
  }

  template <class Mode, class List>
  static Option pin(Mode mode, List list) {
    Option option = Make::described(
        Kind::Text,
        {.name = "pin",
         .group = "Workers",
         .placeholder = "LIST|auto|off",
         .help = "tie each worker to a CPU: a list such as 0,1 or 0-3 (one CPU a worker), or auto "
                 "for the CPUs this process may run on, in turn"},
        "a list of CPUs such as 0,1 or 0-3, auto or off");
    option.set = [=](std::string_view value, Settings& settings) {
      list(settings).clear();
      mode(settings) = value == "auto" ? PinMode::Auto : PinMode::Off;
      if (value == "auto" || value == "off") return true;
      const std::optional<std::vector<int>> cpus = parse_cpu_list(value);
      if (!cpus) return false;
      mode(settings) = PinMode::List;
      list(settings) = *cpus;
      return true;
    };
    option.show = [=](const Settings& settings) -> std::vector<std::string> {
      switch (mode(settings)) {
        case PinMode::Off:
          return {"off"};
        case PinMode::Auto:
          return {"auto"};
        case PinMode::List:
          return {show_cpu_list(list(settings))};
      }
      return {};
    };
    return option;
  }

  template <class Enabled, class Address>
  static Option admin(std::string takes, Enabled enabled, Address address) {
    Option option = Make::described(
        Kind::Text,
        {.name = "admin",
         .group = watching,
         .placeholder = "ADDR:PORT|off",
         .help = "serve a status page, /healthz and /metrics (Prometheus text) here; keep it away "
                 "from the public"},
        std::move(takes));
    option.set = [=](std::string_view value, Settings& settings) {
      enabled(settings) = value != "off";
      if (value == "off") return true;
      const Result<sys::Address> parsed = sys::Address::parse(value);
      if (parsed) address(settings) = *parsed;
      return parsed.has_value();
    };
    option.show = [=](const Settings& settings) {
      return std::vector<std::string>{enabled(settings) ? address(settings).to_string() : "off"};
    };
    return option;
  }

  template <class File>
  static Option access_log(std::string_view help, File file) {
    Option option = Make::described(
        Kind::Text,
        {.name = "access-log", .group = watching, .placeholder = "FILE|-|off", .help = help},
        "a file name, - or off");
    option.set = [=](std::string_view value, Settings& settings) {
      if (value.empty()) return false;
      file(settings) = value == "off" ? "" : value;
      return true;
    };
    option.show = [=](const Settings& settings) {
      const std::string& name = file(settings);
      return std::vector<std::string>{name.empty() ? "off" : name};
    };
    return option;
  }

  template <class Member>
  static Option log_format(std::string_view help, Member member) {
    return Make::template choice<log::Format>(
        {.name = "log-format", .group = watching, .placeholder = "combined|json", .help = help},
        {{.name = "combined", .value = log::Format::Combined},
         {.name = "json", .value = log::Format::Json}},
        member);
  }

  template <class Member>
  static Option log_queue(Member member) {
    return Make::number({.name = "log-queue",
                         .group = watching,
                         .placeholder = "N",
                         .help = "lines that may wait, per worker; above it they are dropped and "
                                 "counted"},
                        {.least = 64, .most = 1'048'576}, member);
  }

  template <class Member>
  static Option status(std::string_view help, Member member) {
    return Make::template choice<StatusMode>(
        {.name = "status", .group = watching, .placeholder = "auto|on|off", .help = help},
        {{.name = "auto", .value = StatusMode::Auto},
         {.name = "on", .value = StatusMode::On},
         {.name = "off", .value = StatusMode::Off}},
        member);
  }

  template <class Member>
  static Option config(std::string_view help, Member member) {
    Option option = Make::text(Kind::Text,
                               {.name = "config",
                                .group = configuration,
                                .placeholder = "FILE",
                                .help = help,
                                .default_text = "none"},
                               "a file name", member);
    option.in_file = false;
    return option;
  }

  template <class Member>
  static Option check_config(Member member) {
    Option option = Make::boolean(
        Kind::Switch,
        {.name = "check-config",
         .group = configuration,
         .placeholder = "",
         .help = "check flags and file, print the settings that would hold (as a TOML file), end"},
        member);
    option.in_file = false;
    return option;
  }
};

}  // namespace pagewire::cli
