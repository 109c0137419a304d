// `pagewire mirror`: what a mirror holds.
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// `arguments` are those after the command. The exit status.
int mirror(std::span<const std::string> arguments);

}  // namespace pagewire::cli
