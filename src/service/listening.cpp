#include <fcntl.h>

#include <cstring>

#include "service/service.h"
#include "sys/tcp_tuning.h"
#include "sys/thread.h"

namespace pagewire::service {

tl::expected<sys::Fd, StartError> open_listener(sys::Address& address, bool first) {
  const auto fail = [&](const Error& error) {
    // EACCES: the port is below net.ipv4.ip_unprivileged_port_start, and we have no capability.
    const char* const hint = error.errno_value == EACCES
                                 ? " (a port as low as this needs root or CAP_NET_BIND_SERVICE)"
                                 : "";
    return tl::unexpected(StartError{"cannot listen on " + address.to_string() + ": " +
                                     std::strerror(error.errno_value) + hint});
  };
  if (first && address.port() != 0) {
    // SO_REUSEPORT would let a second pagewire of the same user share the port without a word; a
    // bind without it fails while anybody listens there.
    const Result<sys::Fd> alone = sys::listen_on(address, {.reuse_port = false});
    if (!alone) return fail(alone.error());
  }
  Result<sys::Fd> listener = sys::listen_on(address, {});
  if (!listener) return fail(listener.error());
  // Inherited by the accepted sockets, so that it costs no call a connection.
  if (Result<void> set = sys::set_no_delay(listener->get()); !set) return fail(set.error());
  if (address.is_loopback()) sys::leave_unpaced(listener->get());
  const Result<sys::Address> bound = sys::local_address(listener->get());
  if (!bound) return fail(bound.error());
  address = *bound;
  return std::move(*listener);
}

void SpareDescriptor::open() {
  if (!spare_.is_open()) spare_ = sys::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/// accept4 looks for a descriptor before it looks into the queue, so EMFILE and ENFILE also come
/// when nobody waits.
loop::AfterFailure SpareDescriptor::after(Error error, std::span<const sys::Fd> listeners,
                                          const Takers& takers) {
  const bool out_of_descriptors = error.errno_value == EMFILE || error.errno_value == ENFILE;
  if (!out_of_descriptors || !spare_.is_open()) {
    open();
    return loop::AfterFailure::Pause;  // ENOBUFS, ENOMEM: nothing to do but wait
  }
  bool taken_any = false;
  bool somebody_waits = false;
  for (const sys::Fd& listener : listeners) {
    spare_.close();
    Result<sys::Accepted> taken = sys::accept_from(listener.get());
    open();
    if (!taken) {  // EAGAIN: nobody waits here; EMFILE, ENFILE: the descriptor went elsewhere
      somebody_waits = somebody_waits || taken.error().errno_value != EAGAIN;
      continue;
    }
    taken_any = true;
    if (spare_.is_open()) {
      takers.accepted(std::move(*taken));
      continue;
    }
    takers.refused();
    taken->fd.close();
    open();
  }
  if (!spare_.is_open() || somebody_waits) return loop::AfterFailure::Pause;
  return taken_any ? loop::AfterFailure::GoOn : loop::AfterFailure::WaitForOne;
}

void WorkerThread::start(const Settings& settings, std::function<void()> body) {
  running_ = true;
  thread_ = std::thread([this, settings, body = std::move(body)] {
    sys::name_this_thread(("pw-worker-" + std::to_string(settings.index)).c_str());
    // A CPU that has gone since the settings were checked: the worker runs unpinned.
    const std::span<const int> pin = settings.pin;
    if (!pin.empty()) static_cast<void>(sys::pin_this_thread(pin[settings.index % pin.size()]));
    body();
    running_ = false;
  });
}

void WorkerThread::join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace pagewire::service
