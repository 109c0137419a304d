// `pagewire bench`, alone or with one of its commands.
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// `arguments` are those after "bench". Returns the exit status: 0 done, 1 it could not be done
/// whole, 2 the flags or a file to read are wrong, 99 `compare` found something worse, 130 and
/// 143 stopped by SIGINT and SIGTERM.
int bench(std::span<const std::string> arguments);

}  // namespace pagewire::cli
