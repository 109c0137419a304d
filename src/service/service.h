// service: what the commands that run until a signal (serve, relay) have alike: the admin listener,
// how listeners are opened, what happens without descriptors, and a worker's thread.
//
// It knows nothing of what is served. What is opened here is opened by the controlling thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "loop/loop.h"
#include "sys/fd.h"
#include "sys/socket.h"

namespace pagewire::service {

/// Why start() could not: one line for the user.
struct StartError {
  std::string text;
};

// ---------------------------------------------------------------- the admin listener (admin.cpp)

struct AdminAnswers {
  std::function<std::string()> metrics;  ///< any thread
  std::function<bool()> healthy;         ///< any thread; false once draining
  std::string_view engine;               ///< of the workers
  std::string doctor_report = {};        ///< a file for /doctor.json, read when asked for; or ""
};

/// The status page, /healthz and /metrics on a listener and a thread of its own, off the data
/// path. It reads the workers' counters and nothing else of theirs. One request a connection; a
/// small limit on connections and time, since it answers monitoring systems and a page only.
class Admin final : public loop::Acceptor {
 public:
  explicit Admin(AdminAnswers answers) : answers_(std::move(answers)) {}
  ~Admin() override;

  tl::expected<void, StartError> open(const sys::Address& address);
  void start();
  sys::Address address() const { return address_; }

  void accepted(sys::Accepted accepted) override;
  loop::AfterFailure accept_failed(Error error) override;

 private:
  void open_spare();

  AdminAnswers answers_;
  sys::Address address_;
  sys::Fd listener_;
  sys::Fd spare_;  // given up for a client when descriptors have run out, which is when one looks
  std::unique_ptr<loop::Loop> loop_;
  std::thread thread_;
};

// ---------------------------------------------------------------- listening (listening.cpp)

/// A worker's listener on `address`, with what accepted sockets inherit from it (TCP_NODELAY; no
/// pacing on loopback). For port 0 the kernel chooses, and `address` is changed to what it chose.
/// `first`: of those that share the address; it makes sure that nobody else listens there.
tl::expected<sys::Fd, StartError> open_listener(sys::Address& address, bool first);

/// A descriptor that is given up when others have run out (EMFILE: this process, ENFILE: the
/// machine), so that the first of each queue is taken in and closed: the client sees a refusal at
/// once, and the listener, which stays readable otherwise, does not spin.
class SpareDescriptor {
 public:
  struct Takers {
    std::function<void(sys::Accepted)> accepted;  ///< a descriptor has come back meanwhile
    std::function<void()> refused;
  };
  void open();
  /// What an Acceptor answers to accept_failed().
  loop::AfterFailure after(Error error, std::span<const sys::Fd> listeners, const Takers& takers);

 private:
  sys::Fd spare_;
};

// ---------------------------------------------------------------- memory of handshakes

/// A connection in its handshake holds about 50 KiB of OpenSSL's, in pieces of all sizes, and after
/// a wave of them malloc(3) keeps those pages. So once many have come or gone it is told to give
/// them back: when things are calm, or after a while at the latest, since that takes milliseconds.
/// Of one worker.
class HandshakeMemory {
 public:
  /// At each tick. `turnover`: how often a connection has come or gone so far.
  void tick(std::uint64_t turnover, std::int64_t now_ms);

 private:
  std::uint64_t turnover_at_trim_ = 0;
  std::uint64_t turnover_at_tick_ = 0;
  std::int64_t next_trim_ms_ = 0;
};

// ---------------------------------------------------------------- a worker's thread

/// Named pw-worker-N and tied to its CPU. start() and join() come from the controlling thread.
class WorkerThread {
 public:
  struct Settings {
    std::size_t index = 0;
    std::span<const int> pin;  ///< CPU of each worker, in turn; empty: not pinned
  };
  void start(const Settings& settings, std::function<void()> body);
  void join();
  bool running() const { return running_.load(); }

 private:
  std::atomic<bool> running_{false};
  std::thread thread_;
};

}  // namespace pagewire::service
