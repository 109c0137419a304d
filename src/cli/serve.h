// `pagewire serve`
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// Serves until a signal says stop; returns the exit status. `arguments` are those after "serve".
int serve(std::span<const std::string> arguments);

}  // namespace pagewire::cli
