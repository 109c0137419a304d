// Two network namespaces and a veth pair between them; or loopback, which needs nothing.
//
// The namespaces have no name: they live as long as a descriptor or a process holds them, so that
// nothing can be left behind, also after SIGKILL (network_namespaces(7)). Needs CAP_SYS_ADMIN.
#pragma once

#include "base/result.h"
#include "bench/workload.h"
#include "sys/fd.h"
#include "sys/socket.h"

namespace pagewire::bench {

struct Network {
  NetKind kind = NetKind::Loopback;
  sys::Fd server_namespace;  ///< closed for loopback
  sys::Fd client_namespace;
  sys::Address server_address;  ///< with port 0; the one that the server listens on
};

/// Errors: EPERM (no permission for namespaces), EOPNOTSUPP (no veth in this kernel), EMFILE.
/// Returns with the caller in the namespace that it came from.
Result<Network> make_network(NetKind kind);

/// Moves this (single-threaded) process into the namespace; nothing for a closed one.
Result<void> enter_namespace(const sys::Fd& network_namespace);

}  // namespace pagewire::bench
