// ServerProcess: the parent's side of the server. What runs in the child is in server_loop.cpp.
#include <string>

#include "base/check.h"
#include "bench/child.h"
#include "bench/engine_messages.h"
#include "bench/server_loop.h"
#include "sys/file.h"

namespace pagewire::bench {

namespace {

/// What can be sent, or why not.
OrFault<sys::FileStatus> look_at_file(int fd, ByteCount device_bytes) {
  Result<sys::FileStatus> status = sys::status_of(fd);
  if (!status) return tl::unexpected(Fault{"the file: " + describe(status.error())});
  if (status->type == sys::FileType::Other && device_bytes.value > 0) {
    status->size = device_bytes;
    return *status;
  }
  if (status->type != sys::FileType::Regular) {
    return tl::unexpected(Fault{"the file is not a regular file"});
  }
  if (status->size.value == 0) {
    return tl::unexpected(Fault{"the file is empty: there is nothing to send"});
  }
  return *status;
}

}  // namespace

OrFault<ServerProcess> ServerProcess::start(const ServerSettings& settings,
                                            const StopAsked& stop_asked) {
  PW_CHECK(settings.path != nullptr);
  const OrFault<sys::FileStatus> status = look_at_file(settings.file_fd, settings.device_bytes);
  if (!status) return tl::unexpected(status.error());
  const Network* const network = settings.network;
  const ChildPlan plan{.role = "server",
                       .network_namespace = network ? &network->server_namespace : nullptr,
                       .cpu = settings.cpu,
                       .file_fd = settings.file_fd};
  OrFault<Child> child = start_child(plan, [&settings, &status](sys::Fd control) {
    run_server(settings, *status, std::move(control));
  });
  if (!child) return tl::unexpected(child.error());
  const OrFault<ChildReport> ready = child->next_report(stop_asked);
  if (!ready) return tl::unexpected(ready.error());
  return ServerProcess(std::move(*child), ready->address);
}

OrFault<ServerSample> ServerProcess::sample(const StopAsked& stop_asked) {
  const OrFault<ChildReport> report = child_.sample(stop_asked);
  if (!report) return tl::unexpected(report.error());
  return report->server;
}

}  // namespace pagewire::bench
