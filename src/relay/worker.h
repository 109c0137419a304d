// Worker: one thread of a relay, with its listeners, loop, pipes, buffer and counters.
//
// Nothing here is shared and written by another thread, except what Shared says. open(), start(),
// begin_drain() and join() come from the controlling thread; the rest runs on the worker's own.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "log/log.h"
#include "loop/loop.h"
#include "relay/counters.h"
#include "relay/relay.h"
#include "relay/tunnel.h"
#include "service/service.h"

namespace pagewire::relay {

/// Of a route whose clients speak TLS.
struct RouteTls {
  tls::Settings settings;
  tls::SessionFacts facts;
  tls::TicketKeys ticket_keys{};
};

/// A route with what belongs to it in this run; the same for all workers.
struct RouteParts {
  const Route& route;
  PumpRules rules;
  std::unique_ptr<Upstreams> upstreams;
  std::unique_ptr<Mirror> mirror;       ///< null: none
  std::unique_ptr<RouteTls> tls;        ///< null: plain TCP
  std::vector<sys::Address> addresses;  ///< that are listened on
};

/// Seen by all workers; written when a connection comes or goes.
struct Shared {
  const Settings& settings;
  std::vector<RouteParts> routes;
  log::AccessLog* access_log = nullptr;
  std::atomic<std::size_t> connections{0};  ///< and for a moment those above the limit
  std::atomic<std::uint64_t> cut_off{0};    ///< tunnels that the drain timeout broke off
};

class Worker final {
 public:
  Worker(std::size_t index, Shared& shared, std::unique_ptr<loop::Loop> loop);
  ~Worker();

  /// Opens the listeners; for port 0 the kernel chooses, once for all workers.
  tl::expected<void, service::StartError> open();
  void start();
  void begin_drain();
  void stop() { loop_->stop(); }
  void join() { thread_.join(); }
  bool running() const { return thread_.running(); }
  /// Of a route, for its new connections. Before start().
  void use_tls(std::size_t route, std::shared_ptr<const tls::Context> context);
  /// The same, any thread.
  void post_tls(std::size_t route, std::shared_ptr<const tls::Context> context);
  /// Any thread: places of this route have come free for its clients.
  void post_deliver(std::size_t route);

  const Counters& counters() const { return counters_; }

  // For its tunnels:
  std::size_t index() const { return index_; }
  loop::Loop& loop() { return *loop_; }
  Counters& counters() { return counters_; }
  PumpRoom& room() { return room_; }
  log::AccessLog* access_log() { return shared_.access_log; }
  IntrusiveList<Tunnel, TunnelNode>& tunnels() { return tunnels_; }
  /// TCP_NODELAY, and no pacing over loopback (sys::leave_unpaced()): what an upstream's socket
  /// needs once it sends more than one request. Clients have both from their listener.
  void send_at_once(int upstream_fd, const sys::Address& address) const;
  /// Keep-alive and TCP_USER_TIMEOUT, which accepted sockets have from their listener.
  void keep_watch(int upstream_fd) const;
  void tunnel_gone();

 private:
  /// The listeners of one route.
  struct Door final : loop::Acceptor {
    Door(Worker& owner, const RouteParts& parts) : worker(owner), route(parts) {}
    void accepted(sys::Accepted client) override { worker.admit(*this, std::move(client)); }
    loop::AfterFailure accept_failed(Error error) override;
    Worker& worker;
    const RouteParts& route;
    std::shared_ptr<const tls::Context> tls;  ///< null: plain TCP
    tls::HandshakeRate handshake_rate;
    std::vector<sys::Fd> listeners;
  };
  const Settings& settings() const { return shared_.settings; }
  void admit(Door& door, sys::Accepted client);
  bool make_front(Door& door, std::unique_ptr<TlsFront>& front);
  void run();
  void tick();
  void drain_now();

  std::size_t index_;
  Shared& shared_;
  std::vector<std::unique_ptr<Door>> doors_;
  service::SpareDescriptor spare_;
  sys::PipePool pipes_;
  std::vector<char> buffer_;
  Counters counters_;
  PumpRoom room_;
  TlsRoom tls_room_;
  service::HandshakeMemory memory_;
  IntrusiveList<Tunnel, TunnelNode> tunnels_;
  bool draining_ = false;
  std::int64_t drain_deadline_ms_ = 0;
  const bool paced_by_default_;
  // Goes before everything above, so that its tunnels can give back what they hold.
  std::unique_ptr<loop::Loop> loop_;
  service::WorkerThread thread_;
};

}  // namespace pagewire::relay
