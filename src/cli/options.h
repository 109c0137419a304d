// The options of `pagewire serve`: one table drives flags, TOML keys, help and --check-config.
//
// A new option is one entry in options.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/server.h"

namespace pagewire::cli {

enum class StatusMode : std::uint8_t { Auto, On, Off };
enum class PinMode : std::uint8_t { Off, Auto, List };

/// Everything that flags and file say. `server` is complete once resolve() has looked at the
/// machine.
struct ServeSettings {
  server::Settings server;
  std::size_t workers = 0;  ///< 0: as many as CPUs
  PinMode pin_mode = PinMode::Off;
  std::vector<int> pin_list;
  StatusMode status = StatusMode::Auto;
  std::string config_file;  ///< "" is none
  bool check_config = false;
};
/// What holds when neither flags nor file say anything.
ServeSettings default_settings();

struct Option {
  enum class Kind : std::uint8_t {
    Switch,      ///< --cors, --no-cors; cors = true
    OnOff,       ///< --server-header off; server-header = false (or "off")
    Number,      ///< --workers 4; workers = 4
    Size,        ///< --quantum 1M; quantum = "1M", or bytes as a number
    Text,        ///< --path copy; path = "copy"
    List,        ///< repeatable; listen = [":80", ":8080"], or a single string
    Positional,  ///< without a flag; a text in the file
  };
  Kind kind = Kind::Text;
  std::string_view name;  ///< the flag without its dashes, and the key
  std::string_view group;
  std::string_view placeholder;  ///< of its value in the help: "N", "SIZE"; none for a switch
  std::string_view help;
  std::string_view default_text;  ///< in the help, where show() would not say it well
  std::string takes;              ///< "a number from 1 to 256"
  bool in_file = true;

  /// Takes one value; a list's is added. False: it is not what the option takes.
  std::function<bool(std::string_view value, ServeSettings& settings)> set;
  /// Lists only: forgets what a weaker source (default, file) said.
  std::function<void(ServeSettings& settings)> clear;
  /// The values as set() would take them; one unless it is a list.
  std::function<std::vector<std::string>(const ServeSettings& settings)> show;
};

/// In the order of the help: groups stand together.
const std::vector<Option>& serve_options();
/// nullptr when there is none of that name.
const Option* find_option(std::string_view name);

}  // namespace pagewire::cli
