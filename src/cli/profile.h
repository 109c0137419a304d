// `pagewire profile PID|NAME`.
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// `arguments` are those after "profile". Returns the exit status: 0 done, also in part; 1 it could
/// not be done; 2 the flags are wrong.
int profile(std::span<const std::string> arguments);

}  // namespace pagewire::cli
