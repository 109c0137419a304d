// The options of `pagewire serve`: one table drives flags, TOML keys, help and --check-config.
//
// A new option is one entry in the serve_options_*.cpp of its group.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"
#include "cli/option.h"
#include "cli/service_options.h"
#include "server/server.h"

namespace pagewire::cli {

/// Everything that flags and file say. `server` is complete once resolve() has looked at the
/// machine.
struct ServeSettings {
  server::Settings server;
  tls::CertificateFiles certificate;                ///< of tls-cert and tls-key; no chain: none
  std::vector<tls::CertificateFiles> certificates;  ///< of the file's tables
  tls::Settings tls;        ///< becomes server.tls where there is a certificate
  std::size_t workers = 0;  ///< 0: as many as CPUs
  PinMode pin_mode = PinMode::Off;
  std::vector<int> pin_list;
  StatusMode status = StatusMode::Auto;
  std::string calibration_file;   ///< "" is none; sets small_body, unless ...
  bool small_body_given = false;  ///< ... flag or file did
  std::string calibration_note;   ///< what was taken from it; "" before it was read
  egress::SelfTestMode self_test = egress::SelfTestMode::Auto;
  std::string explain;        ///< a name beneath ROOT; "": serve
  std::string explain_range;  ///< value of a Range field
  std::string config_file;    ///< "" is none
  bool check_config = false;
};
/// What --small-body can be, and a calibration make of it.
inline constexpr std::uint64_t largest_small_body = 16 * mib;

/// What holds when neither flags nor file say anything.
ServeSettings default_settings();

using ServeOption = BasicOption<ServeSettings>;
/// In the order of the help: groups stand together.
const std::vector<ServeOption>& serve_options();
CommandTable serve_command();

}  // namespace pagewire::cli
