// ClientProcess: the parent's side of the client. What runs in the child is in client_loop.cpp.
#include "bench/child.h"
#include "bench/client_loop.h"
#include "bench/engine_messages.h"

namespace pagewire::bench {

OrFault<ClientProcess> ClientProcess::start(const ClientSettings& settings,
                                            const StopAsked& stop_asked) {
  if (settings.file_bytes == 0) {
    return tl::unexpected(Fault{"the file is empty: there is nothing to ask for"});
  }
  const bool offers = settings.rate_gbit_per_s.has_value();
  if (settings.connections == 0 || (offers && !(*settings.rate_gbit_per_s > 0))) {
    return tl::unexpected(Fault{"a client needs a connection, and a rate above 0 if one is given"});
  }
  const Network* const network = settings.network;
  const ChildPlan plan{.role = "client",
                       .network_namespace = network ? &network->client_namespace : nullptr,
                       .cpu = settings.cpu,
                       .file_fd = -1};
  OrFault<Child> child =
      start_child(plan, [&settings](sys::Fd control) { run_client(settings, std::move(control)); });
  if (!child) return tl::unexpected(child.error());
  if (const OrFault<ChildReport> ready = child->next_report(stop_asked); !ready) {
    return tl::unexpected(ready.error());
  }
  return ClientProcess(std::move(*child));
}

OrFault<ClientSample> ClientProcess::sample(const StopAsked& stop_asked) {
  const OrFault<ChildReport> report = child_.sample(stop_asked);
  if (!report) return tl::unexpected(report.error());
  return report->client;
}

}  // namespace pagewire::bench
