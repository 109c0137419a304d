// `pagewire relay`
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// Relays until a signal says stop; returns the exit status. `arguments` are those after "relay".
int relay(std::span<const std::string> arguments);

}  // namespace pagewire::cli
