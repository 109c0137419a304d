// The checks under way, the one poll(2) that waits for them, and when each endpoint's next one is.
//
// Kernel facts: a connect(2) under way is writable when it is over, and SO_ERROR says how
// (connect(2), EINPROGRESS). A check ends with a reset: it leaves no TIME-WAIT behind on either
// side. Without TCP_QUICKACK (tcp(7)) the third packet of the handshake is held back for what may
// be sent with it, so that the reset takes its place, and the upstream's program never hears of a
// check: to its kernel the connection was never complete. A PROXY header completes it; it ends with
// a FIN, because a reset could overtake the header.
#include "relay/health.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "sys/clock.h"
#include "sys/epoll.h"
#include "sys/socket.h"
#include "sys/thread.h"

namespace pagewire::relay {

void CheckCount::passed() {
  const std::size_t best = rise_ + fall_ - 1;
  if (health_ < best) ++health_;
  if (health_ >= rise_) health_ = best;
}

void CheckCount::failed() {
  // Still up: one failure fewer is left. At `rise` the last one was used up.
  health_ = health_ > rise_ ? health_ - 1 : 0;
}

namespace {

struct Check {
  Check(const Upstreams::Target& target, const HealthSettings& settings)
      : address(target.address), count(settings.rise, settings.fall) {}
  sys::Address address;
  CheckCount count;
  std::int64_t next_ms = 0;      ///< when it begins
  std::int64_t deadline_ms = 0;  ///< while one is under way
  sys::Fd fd{};                  ///< open: one is under way
};

std::string_view token(ConnectFailure failure) {
  return connect_failure_tokens[static_cast<std::size_t>(failure)];
}

}  // namespace

struct Health::Parts {
  Parts(Upstreams& of, const HealthSettings& with, sys::Wakeup wake)
      : upstreams(of), settings(with), wakeup(std::move(wake)) {}

  void run();
  void take_list(std::int64_t now_ms);
  void begin_due(std::int64_t now_ms);
  void begin(std::uint32_t id, Check& check, std::int64_t now_ms);
  void end_over(std::int64_t now_ms);
  void wait(std::int64_t now_ms);
  std::optional<int> outcome(const Check& check, std::int64_t now_ms) const;
  void ended(std::uint32_t id, Check& check, int errno_value);

  Upstreams& upstreams;
  const HealthSettings settings;
  sys::Wakeup wakeup;
  std::atomic<bool> stop_asked{false};
  std::map<std::uint32_t, Check> checks;  ///< by the endpoint's id; the thread's own
  std::uint64_t list_generation = 0;
  std::size_t under_way = 0;
  std::thread thread;
};

Result<std::unique_ptr<Health>> Health::start(Upstreams& upstreams,
                                              const HealthSettings& settings) {
  Result<sys::Wakeup> wakeup = sys::Wakeup::create();
  if (!wakeup) return tl::unexpected(wakeup.error());
  auto parts = std::make_unique<Parts>(upstreams, settings, std::move(*wakeup));
  Parts* const shared = parts.get();
  parts->thread = std::thread([shared] {
    sys::name_this_thread("pw-health");
    shared->run();
  });
  return std::unique_ptr<Health>(new Health(std::move(parts)));
}

Health::Health(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Health::~Health() {
  parts_->stop_asked.store(true);
  parts_->wakeup.wake();
  parts_->thread.join();
}

void Health::look_again() {
  parts_->wakeup.wake();
}

void Health::Parts::run() {
  while (!stop_asked.load()) {
    const std::int64_t now_ms = sys::monotonic_ns() / 1'000'000;
    take_list(now_ms);
    end_over(now_ms);
    begin_due(now_ms);
    wait(now_ms);
    wakeup.clear();
  }
}

void Health::Parts::take_list(std::int64_t now_ms) {
  const std::uint64_t generation = upstreams.generation();
  if (generation == list_generation) return;
  list_generation = generation;
  const std::vector<Upstreams::Target> targets = upstreams.targets();
  std::erase_if(checks, [&](const auto& entry) {
    const bool gone = std::none_of(targets.begin(), targets.end(),
                                   [&](const auto& target) { return target.id == entry.first; });
    if (gone && entry.second.fd.is_open()) --under_way;
    return gone;
  });
  for (const Upstreams::Target& target : targets) {
    const auto [entry, added] = checks.try_emplace(target.id, target, settings);
    // At once, all of them: until then nobody knows. Their second checks are spread.
    if (added) entry->second.next_ms = now_ms;
  }
}

void Health::Parts::begin_due(std::int64_t now_ms) {
  for (auto& [id, check] : checks) {
    if (under_way >= settings.checks_at_once) return;
    if (!check.fd.is_open() && check.next_ms <= now_ms) begin(id, check, now_ms);
  }
}

void Health::Parts::begin(std::uint32_t id, Check& check, std::int64_t now_ms) {
  const bool first = check.deadline_ms == 0;
  check.deadline_ms = now_ms + std::min(settings.timeout_ms, settings.interval_ms);
  check.next_ms = now_ms + settings.interval_ms;
  // Ids follow one another, so that multiples of the golden ratio lie far apart in the interval.
  if (first) check.next_ms -= (id * 618LL % 1'000) * settings.interval_ms / 1'000;
  check.fd = sys::Fd(
      ::socket(check.address.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // EMFILE, ENFILE, ENOBUFS, ENOMEM: what this machine lacks says nothing of the endpoint, so no
  // check has been. EAFNOSUPPORT: no IPv6 in this kernel, and no client would come there.
  if (!check.fd.is_open() && errno != EAFNOSUPPORT) return;
  ++under_way;
  if (!check.fd.is_open()) return ended(id, check, errno);
  const int off = 0;
  if (!settings.send_proxy) {
    ::setsockopt(check.fd.get(), IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
  }
  const int connected = ::connect(check.fd.get(), check.address.raw(), check.address.raw_size());
  // EINPROGRESS: poll tells. Others come at once: ENETUNREACH, EADDRNOTAVAIL (no local port left).
  if (connected != 0 && errno != EINPROGRESS) ended(id, check, errno);
}

/// 0: connected; an errno; none: still under way.
std::optional<int> Health::Parts::outcome(const Check& check, std::int64_t now_ms) const {
  pollfd state{.fd = check.fd.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&state, 1, 0) > 0) {
    const int error = sys::take_error(check.fd.get());
    if (error == 0 && sys::is_connected_to_itself(check.fd.get(), check.address)) {
      sys::abort_on_close(check.fd.get());  // else its port would be in TIME-WAIT
      return ECONNREFUSED;
    }
    return error;
  }
  if (now_ms >= check.deadline_ms) return ETIMEDOUT;
  return {};
}

void Health::Parts::end_over(std::int64_t now_ms) {
  for (auto& [id, check] : checks) {
    if (!check.fd.is_open()) continue;
    if (const std::optional<int> error = outcome(check, now_ms)) ended(id, check, *error);
  }
}

void Health::Parts::ended(std::uint32_t id, Check& check, int errno_value) {
  const bool passed = errno_value == 0;
  if (passed && settings.send_proxy) {
    std::array<char, max_written_proxy_bytes> room{};
    // Into an empty send buffer: it takes all. Whatever goes wrong is the other end's to complain.
    (void)sys::send_some(check.fd.get(), write_local_proxy_header(*settings.send_proxy, room));
  } else if (passed) {
    sys::abort_on_close(check.fd.get());
  }
  check.fd.close();
  --under_way;
  const bool was_up = check.count.up();
  passed ? check.count.passed() : check.count.failed();
  const ConnectFailure failure = connect_failure(errno_value);
  upstreams.count_check(id, passed ? nullptr : &failure);
  if (check.count.up() == was_up) return;
  upstreams.set_up(id, check.count.up());
  if (!settings.tell) return;
  const std::string address = check.address.to_string();
  settings.tell(passed ? fmt::format("upstream {} is up", address)
                       : fmt::format("upstream {} is down: {}", address, token(failure)));
}

void Health::Parts::wait(std::int64_t now_ms) {
  std::vector<pollfd> waiting{{.fd = wakeup.fd(), .events = POLLIN, .revents = 0}};
  std::int64_t wake_ms = now_ms + 60'000;
  for (const auto& [id, check] : checks) {
    const bool open = check.fd.is_open();
    if (open) waiting.push_back({.fd = check.fd.get(), .events = POLLOUT, .revents = 0});
    // One that is due and finds no place begins when one that is under way has ended.
    if (open || under_way < settings.checks_at_once) {
      wake_ms = std::min(wake_ms, open ? check.deadline_ms : check.next_ms);
    }
  }
  // EINTR only makes it look once more.
  (void)::poll(waiting.data(), waiting.size(),
               static_cast<int>(std::max<std::int64_t>(wake_ms - now_ms, 0)));
}

}  // namespace pagewire::relay
