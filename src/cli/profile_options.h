// The options of `pagewire profile`: a table, as serve_options.h has it. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/option.h"

namespace pagewire::cli {

struct ProfileSettings {
  std::string target;
  double seconds = 10;
  bool json = false;
  std::string folded;  ///< a file, "-" standard output, "" none
  std::string svg;
};

const std::vector<BasicOption<ProfileSettings>>& profile_options();
CommandTable profile_command();
std::string profile_help_text();

}  // namespace pagewire::cli
