// The thread behind Resolver.
//
// Parts belongs to the resolver and to its thread together: whoever goes last frees it, because the
// thread may be deep in getaddrinfo(3) when the resolver is destroyed.
#include "relay/resolver.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/free.h"
#include "sys/thread.h"

namespace pagewire::relay {

namespace {

using Clock = std::chrono::steady_clock;

bool before(const sys::Address& a, const sys::Address& b) {
  if (a.raw_size() != b.raw_size()) return a.raw_size() < b.raw_size();
  return std::memcmp(a.raw(), b.raw(), a.raw_size()) < 0;
}

bool same(const sys::Address& a, const sys::Address& b) {
  return !before(a, b) && !before(b, a);
}

std::string joined(const std::vector<sys::Address>& addresses) {
  std::string text;
  for (const sys::Address& address : addresses) {
    text += (text.empty() ? "" : ", ") + address.to_string();
  }
  return text;
}

}  // namespace

LookedUp look_up(const ResolverName& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // No address of a family that this machine has none of itself (getaddrinfo(3)).
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(name.host.c_str(), std::to_string(name.port).c_str(), &hints, &found);
  if (error != 0) {
    return {.addresses = {},
            .error = error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)};
  }
  const std::unique_ptr<addrinfo, Free<&::freeaddrinfo>> owner(found);
  LookedUp looked;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    sockaddr_storage raw{};
    std::memcpy(&raw, entry->ai_addr, entry->ai_addrlen);
    looked.addresses.push_back(sys::Address::from_raw(raw, entry->ai_addrlen));
  }
  if (looked.addresses.empty()) looked.error = "no address";
  return looked;
}

struct Resolver::Parts {
  struct State {
    bool looked = false;
    std::vector<sys::Address> addresses{};
    std::string error{};  ///< of the last look-up
  };

  explicit Parts(ResolverSettings with) : settings(std::move(with)), names(settings.names.size()) {}

  void run();
  void look_at(std::size_t index);
  void note(std::size_t index, LookedUp looked);
  bool stopped_while_waiting();

  const ResolverSettings settings;
  std::atomic<std::uint64_t> lookups{0};
  std::atomic<std::uint64_t> failures{0};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<State> names;  ///< under the mutex, as all below
  bool stopped = false;
  bool looking = false;
  std::thread thread{};
};

std::unique_ptr<Resolver> Resolver::start(ResolverSettings settings) {
  auto parts = std::make_shared<Parts>(std::move(settings));
  parts->thread = std::thread([parts] {
    sys::name_this_thread("pw-resolver");
    parts->run();
  });
  return std::unique_ptr<Resolver>(new Resolver(std::move(parts)));
}

Resolver::Resolver(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}

Resolver::~Resolver() {
  bool looking = false;
  {
    const std::scoped_lock lock(parts_->mutex);
    parts_->stopped = true;
    looking = parts_->looking;
  }
  parts_->changed.notify_all();
  looking ? parts_->thread.detach() : parts_->thread.join();
}

std::vector<std::string> Resolver::wait_for_first(std::int64_t at_most_ms) {
  std::unique_lock lock(parts_->mutex);
  parts_->changed.wait_for(lock, std::chrono::milliseconds(at_most_ms), [this] {
    return std::all_of(parts_->names.begin(), parts_->names.end(),
                       [](const Parts::State& name) { return name.looked; });
  });
  std::vector<std::string> errors;
  for (const Parts::State& name : parts_->names) {
    errors.push_back(name.looked ? name.error : "no answer yet");
  }
  return errors;
}

std::uint64_t Resolver::lookups() const {
  return parts_->lookups.load(std::memory_order_relaxed);
}

std::uint64_t Resolver::failures() const {
  return parts_->failures.load(std::memory_order_relaxed);
}

void Resolver::Parts::run() {
  do {
    for (std::size_t i = 0; i < settings.names.size(); ++i) look_at(i);
  } while (!stopped_while_waiting());
}

bool Resolver::Parts::stopped_while_waiting() {
  std::unique_lock lock(mutex);
  const auto is_stopped = [this] { return stopped; };
  if (settings.interval_ms == 0) {
    changed.wait(lock, is_stopped);
    return true;
  }
  return changed.wait_for(lock, std::chrono::milliseconds(settings.interval_ms), is_stopped);
}

void Resolver::Parts::look_at(std::size_t index) {
  {
    const std::scoped_lock lock(mutex);
    if (stopped) return;
    looking = true;
  }
  LookedUp looked = settings.look_up(settings.names[index]);
  std::vector<sys::Address>& found = looked.addresses;
  std::sort(found.begin(), found.end(), before);
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  if (found.size() > settings.max_addresses) found.resize(settings.max_addresses);
  note(index, std::move(looked));
}

/// Under the mutex, so that nothing is told any more once the destructor has set `stopped`.
void Resolver::Parts::note(std::size_t index, LookedUp looked) {
  {
    const std::scoped_lock lock(mutex);
    looking = false;
    if (stopped) return;
    State& name = names[index];
    const std::string& host = settings.names[index].host;
    const bool failed = looked.addresses.empty();
    lookups.fetch_add(1, std::memory_order_relaxed);
    if (failed) failures.fetch_add(1, std::memory_order_relaxed);
    const bool other =
        !failed && !std::equal(name.addresses.begin(), name.addresses.end(),
                               looked.addresses.begin(), looked.addresses.end(), same);
    std::string line;
    if (failed && name.looked && name.error != looked.error) {
      line = fmt::format("cannot look up {}: {}{}", host, looked.error,
                         name.addresses.empty() ? "" : "; its addresses stay");
    } else if (other && name.looked) {
      line = fmt::format("{} is now {}", host, joined(looked.addresses));
    }
    name.looked = true;
    name.error = looked.error;
    if (other) {
      name.addresses = std::move(looked.addresses);
      settings.publish(index, name.addresses);
    }
    if (!line.empty() && settings.tell) settings.tell(line);
  }
  changed.notify_all();
}

}  // namespace pagewire::relay
