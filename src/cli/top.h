// `pagewire top`
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// Watches a running server; returns the exit status. `arguments` are those after "top".
int top(std::span<const std::string> arguments);

}  // namespace pagewire::cli
