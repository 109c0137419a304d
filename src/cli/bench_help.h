// What `pagewire bench` says of itself.
#pragma once

#include <string>

namespace pagewire::cli {

/// `pagewire bench --help`: its commands and first examples.
std::string bench_help_text();

/// `pagewire bench COMMAND --help`, from the table of its options.
std::string run_help_text();
std::string sweep_help_text();
std::string send_help_text();
std::string sink_help_text();
std::string compare_help_text();
std::string report_help_text();

}  // namespace pagewire::cli
