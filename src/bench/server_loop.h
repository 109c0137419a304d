// What runs in the server's process of a round.
#pragma once

#include "bench/engine.h"

namespace pagewire::bench {

/// Listens, reports Ready, and answers until the control socket ends. Reports a Fault instead when
/// it cannot even start. The status is the file's as the parent saw it.
void run_server(const ServerSettings& settings, const sys::FileStatus& status, sys::Fd control);

}  // namespace pagewire::bench
