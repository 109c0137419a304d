#include "relay/upstreams.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace pagewire::relay {

namespace {

/// The finaliser of splitmix64: every bit of the input changes half of those of the output.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = text.size();
  for (const char c : text) hash = mix(hash ^ static_cast<unsigned char>(c));
  return hash;
}

/// Rendezvous hashing: each client ranks all endpoints by this, highest first, so taking one away
/// moves only the clients whose first it was.
std::uint64_t rank(std::uint64_t key, const Endpoint& endpoint) {
  return mix(key ^ endpoint.seed);
}

bool usable(const Endpoint& endpoint) {
  return endpoint.up.load(std::memory_order_relaxed) && !endpoint.gone.load();
}

bool same(const sys::Address& a, const sys::Address& b) {
  return a.raw_size() == b.raw_size() && std::memcmp(a.raw(), b.raw(), a.raw_size()) == 0;
}

}  // namespace

std::string_view name(Balance balance) {
  switch (balance) {
    case Balance::RoundRobin:
      return "roundrobin";
    case Balance::LeastConn:
      return "leastconn";
    case Balance::Hash:
      return "hash";
  }
  return "";
}

ConnectFailure connect_failure(int errno_value) {
  switch (errno_value) {
    case ECONNREFUSED:  // nobody listens
      return ConnectFailure::Refused;
    case ETIMEDOUT:  // ours, or the kernel's (tcp_syn_retries)
      return ConnectFailure::Timeout;
    case EHOSTUNREACH:  // ICMP, or no answer to ARP
    case ENETUNREACH:   // no route
    case EHOSTDOWN:
    case ENETDOWN:
    case EACCES:  // a route or a filter that prohibits
    case EPERM:
      return ConnectFailure::Unreachable;
    case ECONNRESET:  // accepted and thrown away at once
    case EPIPE:
      return ConnectFailure::Reset;
    default:  // EADDRNOTAVAIL: no local port is left; EMFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT
      return ConnectFailure::Other;
  }
}

std::uint64_t hash_key(const sys::Address& client) {
  std::array<char, 64> text;
  return hash_text(client.host(text));
}

Endpoint::Endpoint(std::uint32_t number, std::size_t of, const std::string& name,
                   const sys::Address& at)
    : id(number),
      upstream(of),
      address(at),
      text(at.to_string()),
      may_meet_itself(sys::is_own_address(at) && sys::may_be_given_to_connect(at.port())),
      seed(hash_text(name + " " + text)) {}

// ---------------------------------------------------------------- Slot, Attempt

Slot::Slot(Slot&& other) noexcept
    : upstreams_(other.upstreams_),
      endpoint_(std::exchange(other.endpoint_, nullptr)),
      worker_(other.worker_) {}

Slot& Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  release();
  upstreams_ = other.upstreams_;
  endpoint_ = std::exchange(other.endpoint_, nullptr);
  worker_ = other.worker_;
  return *this;
}

void Slot::release() {
  if (endpoint_ != nullptr) upstreams_->release(*std::exchange(endpoint_, nullptr), worker_);
}

void Attempt::leave_queue() {
  if (queue_ != nullptr) queue_->leave(*this);
}

void Attempt::mark_tried(const Endpoint& endpoint) {
  // The caller's limit of retries is lower.
  PW_CHECK(tried_count_ < max_tries);
  tried_[tried_count_++] = endpoint.id;
}

bool Attempt::has_tried(const Endpoint& endpoint) const {
  const auto end = tried_.begin() + static_cast<std::ptrdiff_t>(tried_count_);
  return std::find(tried_.begin(), end, endpoint.id) != end;
}

// ---------------------------------------------------------------- a worker's

Upstreams::Upstreams(UpstreamsSettings settings) : settings_(std::move(settings)) {
  for (std::size_t i = 0; i < settings_.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>());
  }
}

Upstreams::~Upstreams() {
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    PW_CHECK(endpoint->connections.load() == 0);
  }
}

Upstreams::Acquired Upstreams::acquire(Attempt& attempt) {
  PW_CHECK(attempt.queue_ == nullptr);
  const Endpoints list = list_of(attempt.worker_);
  const auto taken = [&](Endpoint& endpoint) {
    return Acquired{Answer::Taken, Slot(*this, endpoint, attempt.worker_)};
  };
  // With Hash nobody is overtaken: who waits does so for one endpoint, and that one is full.
  const bool may_go_ahead = settings_.balance == Balance::Hash || queued_.load() == 0;
  const Choice choice = may_go_ahead ? choose_and_take(list, attempt) : choose(list, attempt);
  if (may_go_ahead && choice.endpoint != nullptr) return taken(*choice.endpoint);
  if (choice.endpoint == nullptr && choice.answer != Answer::Waits) return {choice.answer};

  const std::scoped_lock lock(queue_mutex_);
  if (queued_.load() >= settings_.max_queue) return {Answer::QueueFull};
  waiting_.push_back(attempt);
  attempt.queue_ = this;
  // First seen by all, then looked again: whoever gave a place back in between either sees this one
  // in the queue or is seen here.
  queued_.fetch_add(1);
  serve_queue(list);
  if (attempt.given_ == nullptr) return {Answer::Waits};
  static_cast<ListNode&>(attempt).unlink();
  attempt.queue_ = nullptr;
  return taken(*std::exchange(attempt.given_, nullptr));
}

void Upstreams::deliver(std::size_t worker) {
  for (;;) {
    Attempt* attempt = nullptr;
    Endpoint* endpoint = nullptr;
    {
      const std::scoped_lock lock(queue_mutex_);
      attempt = workers_[worker]->given.pop_front();
      if (attempt == nullptr) return;
      endpoint = std::exchange(attempt->given_, nullptr);
    }
    attempt->queue_ = nullptr;
    attempt->granted(Slot(*this, *endpoint, worker));
  }
}

void Upstreams::refresh(std::size_t worker) {
  list_of(worker);
}

/// The worker's list, brought up to date if that can be done without waiting. Where it has nobody
/// left (or nobody yet) the few microseconds are waited for: a client would be refused for them.
Upstreams::Endpoints Upstreams::list_of(std::size_t worker) {
  Worker& own = *workers_[worker];
  if (own.seen.load(std::memory_order_relaxed) == generation()) return own.list;
  std::unique_lock lock(list_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    const bool goes_on = std::any_of(own.list.begin(), own.list.end(),
                                     [](const Endpoint* endpoint) { return usable(*endpoint); });
    if (goes_on) return own.list;
    lock.lock();
  }
  own.list = present();
  own.seen.store(generation(), std::memory_order_release);
  return own.list;
}

bool Upstreams::has_place(const Endpoint& endpoint) const {
  return settings_.max_connections == 0 || endpoint.connections.load() < settings_.max_connections;
}

bool Upstreams::take(Endpoint& endpoint) {
  std::uint32_t connections = endpoint.connections.load();
  do {
    if (settings_.max_connections != 0 && connections >= settings_.max_connections) return false;
  } while (!endpoint.connections.compare_exchange_weak(connections, connections + 1));
  return true;
}

Upstreams::Choice Upstreams::choose(Endpoints list, const Attempt& attempt) {
  Answer answer = Answer::NoneUp;
  Endpoint* first = nullptr;  // of Hash
  for (Endpoint* const endpoint : list) {
    if (!usable(*endpoint)) continue;
    if (attempt.has_tried(*endpoint)) {
      if (answer == Answer::NoneUp) answer = Answer::AllTried;
      continue;
    }
    answer = Answer::Waits;
    const bool better =
        first == nullptr || rank(attempt.key_, *endpoint) > rank(attempt.key_, *first);
    if (better) first = endpoint;
  }
  if (answer != Answer::Waits) return {.answer = answer};
  if (settings_.balance != Balance::Hash) first = choose_free(list, attempt);
  const bool free = first != nullptr && has_place(*first);
  return {.endpoint = free ? first : nullptr, .answer = Answer::Waits};
}

/// One with a free place, by RoundRobin or LeastConn; null: they are full. Turns are taken among
/// those that can be had, so that the neighbour of one that cannot does not get its share as well.
Endpoint* Upstreams::choose_free(Endpoints list, const Attempt& attempt) {
  const bool least = settings_.balance == Balance::LeastConn;
  std::uint32_t fewest = std::numeric_limits<std::uint32_t>::max();
  const auto fits = [&](const Endpoint& endpoint) {
    return usable(endpoint) && !attempt.has_tried(endpoint) && has_place(endpoint) &&
           (!least || endpoint.connections.load() <= fewest);
  };
  std::uint64_t count = 0;
  for (const Endpoint* const endpoint : list) {
    if (!fits(*endpoint)) continue;
    const std::uint32_t connections = endpoint->connections.load();
    if (least && connections < fewest) count = 0;
    fewest = std::min(fewest, connections);
    ++count;
  }
  if (count == 0) return nullptr;
  std::uint64_t skip = turn_.fetch_add(1, std::memory_order_relaxed) % count;
  Endpoint* last = nullptr;  // what other threads do meanwhile may leave fewer than were counted
  for (Endpoint* const endpoint : list) {
    if (!fits(*endpoint)) continue;
    last = endpoint;
    if (skip-- == 0) break;
  }
  return last;
}

Upstreams::Choice Upstreams::choose_and_take(Endpoints list, const Attempt& attempt) {
  // Each failure to take means that somebody else has taken that place; after so many it is full.
  for (std::size_t i = 0; i <= list.size(); ++i) {
    const Choice choice = choose(list, attempt);
    if (choice.endpoint == nullptr || take(*choice.endpoint)) return choice;
  }
  return {.answer = Answer::Waits};
}

void Upstreams::release(Endpoint& endpoint, std::size_t worker) {
  const std::uint32_t before = endpoint.connections.fetch_sub(1);
  PW_CHECK(before > 0);
  // `endpoint` may be freed from here on.
  if (queued_.load() == 0) return;
  const Endpoints list = list_of(worker);
  const std::scoped_lock lock(queue_mutex_);
  serve_queue(list);
}

/// Gives free places to those that wait, the longest first. Under the queue's mutex. Once there is
/// no place, the rest of the queue is not looked at: one that comes free costs the one that gets
/// it. (With Hash, also those that wait for others while this one's own has places.)
void Upstreams::serve_queue(Endpoints list) {
  waiting_.for_each_while([&](Attempt& attempt) {
    const bool any = std::any_of(list.begin(), list.end(), [this](const Endpoint* endpoint) {
      return usable(*endpoint) && has_place(*endpoint);
    });
    if (!any) return false;
    const Choice choice = choose_and_take(list, attempt);
    if (choice.endpoint == nullptr) return true;
    static_cast<ListNode&>(attempt).unlink();
    queued_.fetch_sub(1);
    attempt.given_ = choice.endpoint;
    IntrusiveList<Attempt>& given = workers_[attempt.worker_]->given;
    const bool first = given.empty();
    given.push_back(attempt);
    if (first) settings_.wake(attempt.worker_);
    return true;
  });
}

void Upstreams::leave(Attempt& attempt) {
  Endpoint* given = nullptr;
  {
    const std::scoped_lock lock(queue_mutex_);
    static_cast<ListNode&>(attempt).unlink();
    given = std::exchange(attempt.given_, nullptr);
    if (given == nullptr) queued_.fetch_sub(1);
  }
  attempt.queue_ = nullptr;
  if (given != nullptr) release(*given, attempt.worker_);
}

// ------------------------------------------------ the resolver's and the health thread's

bool Upstreams::set_addresses(std::size_t upstream, std::span<const sys::Address> addresses) {
  PW_CHECK(upstream < settings_.names.size());
  const std::scoped_lock lock(list_mutex_);
  const std::uint64_t next = generation() + 1;
  bool changed = false;
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    if (endpoint->upstream != upstream) continue;
    const bool gone = std::none_of(addresses.begin(), addresses.end(), [&](const auto& address) {
      return same(address, endpoint->address);
    });
    if (gone == endpoint->gone.load()) continue;
    endpoint->gone.store(gone);  // one that comes back before it was freed goes on as it was
    endpoint->gone_since = gone ? next : 0;
    changed = true;
  }
  for (const sys::Address& address : addresses) {
    if (find(upstream, address) != nullptr) continue;
    endpoints_.push_back(
        std::make_unique<Endpoint>(next_id_++, upstream, settings_.names[upstream], address));
    changed = true;
  }
  if (changed) generation_.store(next, std::memory_order_release);
  free_unused();
  if (changed && queued_.load() > 0) {
    const std::scoped_lock queue_lock(queue_mutex_);
    serve_queue(present());
  }
  return changed;
}

std::vector<Upstreams::Target> Upstreams::targets() const {
  const std::scoped_lock lock(list_mutex_);
  std::vector<Target> targets;
  for (const Endpoint* const endpoint : present()) {
    targets.push_back({.id = endpoint->id, .address = endpoint->address});
  }
  return targets;
}

void Upstreams::count_check(std::uint32_t id, const ConnectFailure* failure) {
  const std::scoped_lock lock(list_mutex_);
  Endpoint* const endpoint = find(id);
  if (endpoint == nullptr) return;
  std::atomic<std::uint64_t>& counter =
      failure == nullptr ? endpoint->checks_passed
                         : endpoint->checks_failed[static_cast<std::size_t>(*failure)];
  counter.fetch_add(1, std::memory_order_relaxed);
}

void Upstreams::set_up(std::uint32_t id, bool up) {
  const std::scoped_lock lock(list_mutex_);
  Endpoint* const endpoint = find(id);
  if (endpoint == nullptr || endpoint->up.exchange(up) == up) return;
  if (!up) endpoint->went_down.fetch_add(1, std::memory_order_relaxed);
  if (!up && settings_.balance != Balance::Hash) return;
  // There are places that were not there before; with Hash also for those that waited for this one.
  if (queued_.load() == 0) return;
  const std::scoped_lock queue_lock(queue_mutex_);
  serve_queue(present());
}

void Upstreams::for_each(
    const std::function<void(const std::string&, const Endpoint&)>& visit) const {
  const std::scoped_lock lock(list_mutex_);
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    visit(settings_.names[endpoint->upstream], *endpoint);
  }
}

// What follows is called under the list's mutex.

std::vector<Endpoint*> Upstreams::present() const {
  std::vector<Endpoint*> list;
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    if (!endpoint->gone.load()) list.push_back(endpoint.get());
  }
  return list;
}

Endpoint* Upstreams::find(std::uint32_t id) const {
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    if (endpoint->id == id) return endpoint.get();
  }
  return nullptr;
}

Endpoint* Upstreams::find(std::size_t upstream, const sys::Address& address) const {
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    if (endpoint->upstream == upstream && same(endpoint->address, address)) return endpoint.get();
  }
  return nullptr;
}

void Upstreams::free_unused() {
  std::uint64_t seen_by_all = generation();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    seen_by_all = std::min(seen_by_all, worker->seen.load(std::memory_order_acquire));
  }
  std::erase_if(endpoints_, [&](const std::unique_ptr<Endpoint>& endpoint) {
    return endpoint->gone.load() && endpoint->gone_since <= seen_by_all &&
           endpoint->connections.load() == 0;
  });
}

}  // namespace pagewire::relay
