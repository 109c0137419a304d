// Upstreams: where connections go. Balancing, connection limits, the queue, and health marks.
//
// An *upstream* is one --to; an *endpoint* is one address of it. A name with several addresses is
// several endpoints, each with its own limit, health and counters. One Upstreams object is shared
// by all workers, the health thread and the resolver:
// - The list of endpoints changes under a mutex; a worker copies it when its generation has
//   changed, and waits for the mutex only when its old list has nobody left (else it goes on with
//   that until the next look).
// - Limits hold over all workers together: one atomic count an endpoint, touched when a connection
//   comes or goes.
// - Places are given in the order of asking, over all workers together: who finds every endpoint
//   full waits in one bounded queue, and nobody overtakes it. The queue's mutex is touched only
//   while somebody waits.
// An endpoint is freed once it is gone from the list, every worker has seen a list without it, and
// it has no connections: the last thing that anybody does to it is to give a place back.
//
// No endpoint up: acquire() says NoneUp at once, and the client is refused (as HAProxy does). Those
// that wait already go on waiting, until their timeout, for one that comes back.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/intrusive_list.h"
#include "sys/socket.h"

namespace pagewire::relay {

enum class Balance : std::uint8_t {
  RoundRobin,  ///< one after the other, over all workers together
  LeastConn,   ///< the one with the fewest connections, in turns among equals
  Hash,        ///< by the client's address (rendezvous hashing): when an endpoint goes only its own
               ///< clients move; a full one is waited for
};
std::string_view name(Balance balance);

/// Why a connection to an endpoint did not come about.
enum class ConnectFailure : std::uint8_t { Refused, Timeout, Unreachable, Reset, Other };
inline constexpr std::array<std::string_view, 5> connect_failure_tokens = {
    "refused", "timeout", "unreachable", "reset", "other"};
ConnectFailure connect_failure(int errno_value);

/// One address of an upstream. Counters are relaxed and touched once a connection.
struct Endpoint {
  Endpoint(std::uint32_t number, std::size_t of, const std::string& name, const sys::Address& at);

  const std::uint32_t id;  ///< never given twice
  const std::size_t upstream;
  const sys::Address address;
  const std::string text;  ///< of the address
  /// A connection to it may be one with itself (sys::is_connected_to_itself()); by the range of
  /// ports as it was when the endpoint was made.
  const bool may_meet_itself;
  const std::uint64_t seed;      ///< of Balance::Hash: of name and address
  std::uint64_t gone_since = 0;  ///< the first generation without it; under the list's mutex
  std::atomic<bool> gone{false};
  std::atomic<bool> up{true};
  std::atomic<std::uint32_t> connections{0};  ///< open or being opened

  std::atomic<std::uint64_t> connects{0};  ///< tries
  std::array<std::atomic<std::uint64_t>, connect_failure_tokens.size()> failures{};
  std::atomic<std::uint64_t> bytes_up{0};
  std::atomic<std::uint64_t> bytes_down{0};
  std::atomic<std::uint64_t> checks_passed{0};
  std::array<std::atomic<std::uint64_t>, connect_failure_tokens.size()> checks_failed{};
  std::atomic<std::uint64_t> went_down{0};
};

class Upstreams;

/// A place of a connection on an endpoint, given back when it goes. One worker's.
class Slot {
 public:
  Slot() = default;
  Slot(Slot&& other) noexcept;
  Slot& operator=(Slot&& other) noexcept;
  ~Slot() { release(); }

  bool taken() const { return endpoint_ != nullptr; }
  Endpoint& endpoint() const { return *endpoint_; }
  /// Gives it back now; who waits longest gets it.
  void release();

 private:
  friend class Upstreams;
  Slot(Upstreams& upstreams, Endpoint& endpoint, std::size_t worker)
      : upstreams_(&upstreams), endpoint_(&endpoint), worker_(worker) {}
  Upstreams* upstreams_ = nullptr;
  Endpoint* endpoint_ = nullptr;
  std::size_t worker_ = 0;
};

/// What one client needs until its connection to an upstream stands: whom it has tried, and its
/// place in the queue. One worker's; leaves the queue when it is destroyed.
class Attempt : private ListNode {
 public:
  static constexpr std::size_t max_tries = 8;

  Attempt(std::size_t worker, std::uint64_t key) : worker_(worker), key_(key) {}
  virtual ~Attempt() { leave_queue(); }

  /// A place has come free for this one. On its worker's thread, from Upstreams::deliver(). It may
  /// destroy this object.
  virtual void granted(Slot slot) = 0;

  /// This endpoint is not asked for again by this client.
  void mark_tried(const Endpoint& endpoint);
  bool has_tried(const Endpoint& endpoint) const;
  std::size_t tries() const { return tried_count_; }
  void forget_tried() { tried_count_ = 0; }

 protected:
  /// Before it is asked for.
  void set_key(std::uint64_t key) { key_ = key; }
  /// From now on nothing is granted; a place that was given already goes to the next one.
  void leave_queue();

 private:
  friend class Upstreams;
  template <class T, class Node>
  friend class ::pagewire::IntrusiveList;

  const std::size_t worker_;
  std::uint64_t key_;
  Upstreams* queue_ = nullptr;  ///< whose queue it is in
  Endpoint* given_ = nullptr;   ///< a place that deliver() will hand out; under the queue's mutex
  std::array<std::uint32_t, max_tries> tried_{};
  std::size_t tried_count_ = 0;
};

/// The key of Balance::Hash: of the address alone, the port does not count; an IPv4-mapped address
/// is its IPv4 one.
std::uint64_t hash_key(const sys::Address& client);

struct UpstreamsSettings {
  std::vector<std::string> names{};  ///< of the upstreams, as the user wrote them
  Balance balance = Balance::RoundRobin;
  std::size_t max_connections = 0;  ///< of each endpoint, over all workers; 0: any number
  std::size_t max_queue = 1024;     ///< clients that wait, over all workers
  std::size_t workers = 1;
  /// Called on any thread when something was given to clients of that worker: have it call
  /// deliver() soon.
  std::function<void(std::size_t worker)> wake{};
};

class Upstreams {
 public:
  explicit Upstreams(UpstreamsSettings settings);
  ~Upstreams();

  // ------------------------------------------------ a worker's

  enum class Answer : std::uint8_t {
    Taken,      ///< `slot` is one
    Waits,      ///< granted() will tell; the timeout is the caller's
    QueueFull,  ///< nothing was done
    NoneUp,     ///< no endpoint is up, or no name has an address
    AllTried,   ///< those that are up have been tried by this client
  };
  struct Acquired {
    Answer answer = Answer::NoneUp;
    Slot slot{};
  };
  Acquired acquire(Attempt& attempt);
  /// Hands out what was given to this worker's clients. On its thread.
  void deliver(std::size_t worker);
  /// At each tick of the worker: looks whether there is a new list, so that old ones can go.
  void refresh(std::size_t worker);

  // ------------------------------------------------ the resolver's and the health thread's

  /// From now on `upstream` has these addresses (no two alike). Endpoints that stay keep their
  /// counts and health; connections to those that go are left alone. Returns whether anything has
  /// changed.
  bool set_addresses(std::size_t upstream, std::span<const sys::Address> addresses);
  /// Moves with every change of the list.
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  struct Target {
    std::uint32_t id = 0;
    sys::Address address;
  };
  std::vector<Target> targets() const;
  /// A check of this endpoint, if it is still there. `failure`: none is a pass.
  void count_check(std::uint32_t id, const ConnectFailure* failure);
  void set_up(std::uint32_t id, bool up);

  // ------------------------------------------------ anybody's

  std::size_t queued() const { return queued_.load(std::memory_order_relaxed); }
  /// Calls visit(upstream's name, endpoint) for each in the list, under the mutex.
  void for_each(const std::function<void(const std::string&, const Endpoint&)>& visit) const;

 private:
  friend class Slot;
  friend class Attempt;
  using Endpoints = std::span<Endpoint* const>;
  struct Worker {
    std::vector<Endpoint*> list;         ///< its own; as of `seen`
    std::atomic<std::uint64_t> seen{0};  ///< written by the worker
    IntrusiveList<Attempt> given;        ///< under the queue's mutex
  };
  struct Choice {
    Endpoint* endpoint = nullptr;    ///< has a free place, or had one a moment ago
    Answer answer = Answer::NoneUp;  ///< why there is none; Waits: they are full
  };

  Endpoints list_of(std::size_t worker);
  Choice choose(Endpoints list, const Attempt& attempt);
  Endpoint* choose_free(Endpoints list, const Attempt& attempt);
  bool has_place(const Endpoint& endpoint) const;
  bool take(Endpoint& endpoint);
  Choice choose_and_take(Endpoints list, const Attempt& attempt);
  void release(Endpoint& endpoint, std::size_t worker);
  void serve_queue(Endpoints list);
  void leave(Attempt& attempt);

  std::vector<Endpoint*> present() const;
  Endpoint* find(std::uint32_t id) const;
  Endpoint* find(std::size_t upstream, const sys::Address& address) const;
  void free_unused();

  const UpstreamsSettings settings_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<std::uint64_t> generation_{1};
  std::atomic<std::uint64_t> turn_{0};
  std::atomic<std::size_t> queued_{0};  ///< the length of waiting_

  // Where both are held, the list's is taken first. A worker only ever tries for the list's,
  // or waits for it while it holds no other.
  mutable std::mutex list_mutex_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;  ///< those that have gone as well
  std::uint32_t next_id_ = 0;
  std::mutex queue_mutex_;
  IntrusiveList<Attempt> waiting_;
};

}  // namespace pagewire::relay
