// The flags of `pagewire top`. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/flags.h"
#include "top/top.h"

namespace pagewire::cli {

struct TopSettings {
  std::string admin = "http://127.0.0.1:9180";
  top::Settings top;
  bool once = false;
  bool json = false;
};

const std::vector<BasicOption<TopSettings>>& top_options();
CommandTable top_command();
OrUsageError<TopSettings> build_top(const Flags& flags);
/// `pagewire top --help`
std::string top_help_text();

}  // namespace pagewire::cli
