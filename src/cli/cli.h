// cli: from the command line to a running command: parse flags, wire objects together, nothing
// else.
//
// The only room where exceptions may be thrown, and only while starting up.
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

/// What `pagewire ARGS...` does; `arguments` without the program's name. Returns the exit status: 0
/// done, 1 it could not be done, 2 the flags or the configuration are wrong.
int run(std::span<const std::string> arguments);

}  // namespace pagewire::cli
