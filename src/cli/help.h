// What pagewire says of itself.
#pragma once

#include <string>

namespace pagewire::cli {

/// `pagewire` alone: what it is, its commands, a first example.
std::string overview_text();
/// `pagewire --help`
std::string help_text();
/// `pagewire serve --help`, from the table of options.
std::string serve_help_text();
std::string relay_help_text();
/// `pagewire --version`
std::string version_text();

}  // namespace pagewire::cli
