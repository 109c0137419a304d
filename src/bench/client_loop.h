// What runs in the client's process of a round.
#pragma once

#include "bench/engine.h"

namespace pagewire::bench {

/// Connects, begins to ask, reports Ready, and goes on until the control socket ends. Reports a
/// Fault instead when it cannot connect.
void run_client(const ClientSettings& settings, sys::Fd control);

/// A connected, blocking socket with TCP_NODELAY. Connecting gives up at `deadline_ms` (of
/// sys::monotonic_coarse_ms). Errors: as connect(2); ETIMEDOUT.
Result<sys::Fd> connect_to(const sys::Address& server, std::int64_t deadline_ms);

}  // namespace pagewire::bench
