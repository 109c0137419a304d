// `bench send`: opens the file and the listener, and runs one loop on the caller's thread.
//
// Owns the loop, the listener and what the connections send from. Stopping: the loop's tick (about
// every 100 ms) looks at stop_fd with poll(2), which needs neither a thread of its own nor a way
// for the loop to watch a descriptor that is no socket.
// Kernel facts: sendfile(2) and splice(2) raise SIGPIPE like write(2), so it is ignored here.
#include "bench/send.h"

#include <poll.h>

#include <csignal>
#include <cstring>
#include <memory>

#include "bench/iperf3_server.h"
#include "bench/raw_sender.h"
#include "bench/send_source.h"
#include "loop/loop.h"

namespace pagewire::bench {

namespace {

struct Listening {
  sys::Fd fd;
  sys::Address address;
};

tl::expected<Listening, std::string> listen_at(const sys::Address& address) {
  const auto failed = [&](const Error& error) {
    return tl::unexpected("cannot listen on " + address.to_string() + ": " +
                          std::strerror(error.errno_value));
  };
  // Not shared: a second `bench send` on the port would take every other connection.
  Result<sys::Fd> fd = sys::listen_on(address, {.reuse_port = false});
  if (!fd) return failed(fd.error());
  // Inherited by the accepted sockets.
  if (Result<void> set = sys::set_no_delay(fd->get()); !set) return failed(set.error());
  const Result<sys::Address> bound = sys::local_address(fd->get());
  if (!bound) return failed(bound.error());
  return Listening{std::move(*fd), *bound};
}

bool is_readable(int fd) {
  pollfd watched{.fd = fd, .events = POLLIN, .revents = 0};  // -1 is never ready
  return ::poll(&watched, 1, 0) > 0;
}

/// Until the sender stops the loop, or `stop_fd` is readable.
template <class Sender>
tl::expected<void, std::string> serve(Sender& sender, loop::Loop& loop, int listener_fd,
                                      const SendHooks& hooks) {
  if (Result<void> listening = loop.listen(listener_fd, sender); !listening) {
    return tl::unexpected(describe(listening.error()));
  }
  bool stopped = false;
  loop.run([&] {
    sender.tick();
    if (stopped || !is_readable(hooks.stop_fd)) return;
    stopped = true;
    sender.cut_off();
    loop.stop();
  });
  return {};
}

}  // namespace

tl::expected<void, std::string> send_file(const SendSettings& settings, const SendHooks& hooks) {
  std::signal(SIGPIPE, SIG_IGN);
  auto source = SendSource::open(settings, hooks);
  if (!source) return tl::unexpected(source.error());
  if (settings.iperf3 && (*source)->file_now()->status().size.value == 0) {
    return tl::unexpected("cannot send " + settings.file + ": it is empty");
  }
  auto listening = listen_at(settings.listen);
  if (!listening) return tl::unexpected(listening.error());
  Result<std::unique_ptr<loop::Loop>> loop = loop::make_epoll_loop(loop::Settings{});
  if (!loop) return tl::unexpected(describe(loop.error()));
  loop::LaneWatchers watchers(**loop, (*source)->lanes());
  if (Result<void> watched = watchers.watch(); !watched) {
    return tl::unexpected(describe(watched.error()));
  }
  const std::string where = listening->address.to_string();
  if (settings.iperf3) {
    iperf3::Server server({**source, **loop, listening->fd.get()}, {.tests = settings.count});
    hooks.say("sending " + (*source)->describe() + " to iperf3 -R on " + where);
    return serve(server, **loop, listening->fd.get(), hooks);
  }
  RawSender sender({**source, **loop, listening->fd.get()}, settings.count);
  hooks.say("sending " + (*source)->describe() + " on " + where);
  return serve(sender, **loop, listening->fd.get(), hooks);
}

}  // namespace pagewire::bench
