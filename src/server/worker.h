// Worker: one thread with everything that a request touches: listeners, loop, site, pipe pool,
// scratch, counters.
//
// Nothing here is shared and written by another thread, except what Shared says. open(), start(),
// begin_drain() and join() come from the controlling thread; the rest runs on the worker's own.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "content/content.h"
#include "egress/egress.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "server/disk.h"
#include "server/server.h"
#include "sys/pipe.h"
#include "tls/tls.h"

namespace pagewire::server {

/// What a connection needs while a response is under way. Reused; about 4 KiB.
struct Exchange {
  content::Response response;
  egress::Transfer transfer;
  egress::Reason reason = egress::Reason::HeadOnly;
  std::int64_t start_ns = 0;        // the round in which the head was complete
  log::AccessRecord record;         // filled only when there is an access log
  content::Resolution names;        // that had to be asked of the disk
  std::int64_t disk_waited_ms = 0;  // by whole rate windows in which nothing moved
  bool disk_timed_out = false;      // while a name was asked for
  FileOffset asked_up_to;           // of a cold file: what the helpers were asked for; 0: not cold
};

/// Seen by all workers; written when a connection comes or goes, not by a request.
struct Shared {
  explicit Shared(const Settings& all)
      : settings(all),
        facts(all.chooser, all.paths.usable(), all.paths.quarantined(), all.zero_copy.in_flight) {}
  const Settings& settings;
  const egress::WorkerFacts facts;
  log::AccessLog* access_log = nullptr;
  DiskHelpers* disk_helpers = nullptr;
  tls::SessionFacts tls{};
  std::atomic<std::uint64_t> tls_told{0};  ///< what of kernel TLS stands in the log already
  std::atomic<std::size_t> connections{0};
  std::atomic<std::uint64_t> cut_off{0};  // responses that the drain timeout broke off
};

class Worker final : public loop::Acceptor {
 public:
  Worker(std::size_t index, Shared& shared, std::unique_ptr<loop::Loop> loop);
  ~Worker() override;

  /// Opens the listeners and the site. For port 0 the kernel chooses, and `addresses` is
  /// changed to what it chose, for the next workers. Nothing runs yet.
  struct Addresses {
    std::vector<sys::Address>& http;
    std::vector<sys::Address>& https;
  };
  tl::expected<void, service::StartError> open(const Addresses& addresses);
  /// The certificates from now on. Before start().
  void use_tls(std::shared_ptr<const tls::Context> context) { tls_ = std::move(context); }
  void start();
  /// The same while it runs: its own thread takes the new ones, and lets the old ones go.
  void post_tls(std::shared_ptr<const tls::Context> context);
  void begin_drain();
  void stop();
  void join();
  bool running() const { return thread_.running(); }

  const metrics::WorkerMetrics& metrics() const { return metrics_; }

  // For its connections:
  const Settings& settings() const { return shared_.settings; }
  const egress::WorkerFacts& facts() const { return shared_.facts; }
  loop::Loop& loop() { return *loop_; }
  content::Site& site() { return *site_; }
  metrics::WorkerMetrics& metrics() { return metrics_; }
  egress::Resources& resources() { return resources_; }
  const std::shared_ptr<const tls::Context>& tls() const { return tls_; }  ///< null: no HTTPS
  /// Room for what one TLS record holds.
  std::span<char> plain_bytes() { return plain_bytes_; }
  /// Asked of the kernel when a handshake is over, at most once a second.
  tls::Card card();
  /// Says in the log who encrypts, and why not the kernel; each once.
  void tell_tls(const tls::Session& session);
  DiskDesk& disk() { return *disk_; }
  log::AccessLog* access_log() { return shared_.access_log; }
  std::size_t index() const { return index_; }
  const content::Now& now();  ///< of the loop's round
  Exchange* take_exchange();
  void give_back(Exchange* exchange);
  void connection_closed();

  void accepted(sys::Accepted accepted) override;
  loop::AfterFailure accept_failed(Error error) override;

 private:
  /// Of https.
  struct TlsDoor final : loop::Acceptor {
    explicit TlsDoor(Worker& owner) : worker(owner) {}
    void accepted(sys::Accepted connection) override;
    loop::AfterFailure accept_failed(Error error) override { return worker.accept_failed(error); }
    Worker& worker;
  };
  tl::expected<void, service::StartError> open_listener(sys::Address& address,
                                                        loop::Acceptor& acceptor);
  void admit(sys::Accepted accepted, std::unique_ptr<tls::Session> session);
  void run();
  void end_connections();
  void equip_paths();
  void tick();
  void tell_zero_copy();
  void tell_machinery();
  void count_lanes();
  void drain_now();

  std::size_t index_;
  Shared& shared_;
  std::vector<sys::Fd> listeners_;
  std::shared_ptr<const tls::Context> tls_;
  TlsDoor tls_door_{*this};
  tls::SendBuffers send_buffers_;
  std::vector<char> plain_bytes_;
  tls::CardWatch card_watch_;
  service::HandshakeMemory memory_;
  tls::HandshakeRate handshake_rate_;
  service::SpareDescriptor spare_;
  sys::PipePool pipes_;
  std::vector<char> scratch_;
  std::unique_ptr<egress::MasterPipes, egress::MasterPipesEnd> masters_;
  egress::UringLanes lanes_;
  egress::Resources resources_;
  std::unique_ptr<content::Site> site_;
  std::vector<std::unique_ptr<Exchange>> idle_exchanges_;
  metrics::WorkerMetrics metrics_;
  content::Now now_;
  // Before the loop: connections take themselves out of its jobs.
  std::unique_ptr<DiskDesk> disk_;
  bool draining_ = false;
  std::int64_t drain_deadline_ms_ = 0;
  // Goes before everything above, so that its connections can give back what they hold.
  std::unique_ptr<loop::Loop> loop_;
  service::WorkerThread thread_;
};

}  // namespace pagewire::server
