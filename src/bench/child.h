// Starting a child of the engine.
#pragma once

#include <functional>
#include <optional>

#include "bench/engine.h"

namespace pagewire::bench {

struct ChildPlan {
  const char* role = "";  ///< "server"; a literal. The process is called "pw-bench-" and this
  const sys::Fd* network_namespace = nullptr;  ///< none: the caller's
  std::optional<int> cpu;
  int file_fd = -1;  ///< stays open in the child, with the control socket; all else is closed
};

/// What the child does. It gets its end of the control socket; when it returns, the child exits.
using ChildBody = std::function<void(sys::Fd control)>;

/// Forks. A child that cannot do as planned (namespace, affinity) says so as its first report, so
/// the caller waits for one before anything else. Faults: socketpair (EMFILE), fork (EAGAIN,
/// ENOMEM).
OrFault<Child> start_child(const ChildPlan& plan, const ChildBody& body);

}  // namespace pagewire::bench
