// The options of `pagewire relay`: one table for what the process has, and one for what each
// [[relay]] has; the flags of the second describe one relay, a file can describe several.
#pragma once

#include <string>
#include <vector>

#include "cli/option.h"
#include "cli/service_options.h"
#include "relay/relay.h"

namespace pagewire::cli {

struct RelaySettings {
  relay::Settings relay;             ///< complete once build_relay_settings() has come
  relay::Route single;               ///< that flags, or keys outside of tables, describe
  std::vector<relay::Route> tables;  ///< of the file
  std::size_t workers = 0;           ///< 0: as many as CPUs
  PinMode pin_mode = PinMode::Off;
  std::vector<int> pin_list;
  std::uint64_t keep_alive_s = 60;  ///< becomes relay.keep_alive
  StatusMode status = StatusMode::Auto;
  std::string config_file;  ///< "" is none
  bool check_config = false;
};

using RouteOption = BasicOption<relay::Route>;
const std::vector<RouteOption>& route_options();
/// A part of them: checks, names, the PROXY protocol.
void add_upstream_options(std::vector<RouteOption>& table);
void add_mirror_options(std::vector<RouteOption>& table);
void add_tls_options(std::vector<RouteOption>& table);

using RelayOption = BasicOption<RelaySettings>;
/// Those of the process, and those of a route for `single`. In the order of the help.
const std::vector<RelayOption>& relay_options();
CommandTable relay_command();
RelaySettings default_relay_settings();

}  // namespace pagewire::cli
