// The options of `pagewire doctor`: a table, as serve_options.h has it. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/option.h"
#include "doctor/doctor.h"

namespace pagewire::cli {

struct DoctorSettings {
  doctor::Settings doctor;
  bool json = false;
  bool verbose = false;
  std::string calibration;         ///< a file to read, "": none
  std::string calibrate;           ///< a file to measure for and write first, "": none
  double calibrate_seconds = 0.5;  ///< a round of that
};

const std::vector<BasicOption<DoctorSettings>>& doctor_options();
CommandTable doctor_command();
std::string doctor_help_text();

}  // namespace pagewire::cli
