// `bench sink`: connections that receive and drop what comes, and count it.
//
// Owns its sockets and an epoll set. Invariants: the clock starts once the first connection stands
// and before the others are made, so no byte is counted that came earlier; bytes are counted from
// what recv(2) returned; a connection is made anew only after one that brought something, so that a
// server that closes at once is not flooded.
// Rests on recv(2) with MSG_TRUNC (tcp(7): dropped in the kernel, never copied), epoll(7),
// getaddrinfo(3).
#include "bench/sink.h"

#include <netdb.h>
#include <poll.h>
#include <sys/resource.h>

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/units.h"
#include "sys/clock.h"
#include "sys/discard.h"
#include "sys/epoll.h"
#include "sys/socket.h"

namespace pagewire::bench {

namespace {

using Text = std::string;
template <class T>
using OrText = tl::expected<T, Text>;

constexpr int connect_timeout_ms = 10'000;
// Of one call; then the other connections have their turn.
constexpr ByteCount most_per_call{4 * mib};
constexpr std::size_t touch_buffer_bytes = 256 * kib;
constexpr std::int64_t ns_per_ms = 1'000'000;
constexpr double ns_per_s = 1e9;

struct Connection {
  sys::Fd fd;
  bool connecting = false;
  bool reset = false;  // its error was taken already; what was received before it is still there
  std::uint64_t received = 0;
};

/// What became of a connect(2). ECONNRESET and EPIPE are of a connection that stood and was reset
/// before we looked (tcp_reset() in net/ipv4/tcp_input.c; a refusal is ECONNREFUSED).
int connect_outcome(Connection& connection) {
  const int error = sys::take_error(connection.fd.get());
  if (error != ECONNRESET && error != EPIPE) return error;
  connection.reset = true;
  return 0;
}

class Sink {
 public:
  Sink(const SinkSettings& settings, std::vector<sys::Address> addresses, int stop_fd)
      : settings_(settings), stop_fd_(stop_fd), addresses_(std::move(addresses)) {}
  OrText<SinkResult> run();

 private:
  OrText<void> connect_all();
  OrText<Connection> connect_first();
  Result<sys::Fd> begin_connect(const sys::Address& address);
  Result<void> wait_until_connected(Connection& connection);
  Result<void> watch(Connection& connection, std::uint32_t events);
  void receive();
  int wait_ms() const;
  bool time_is_left() const { return !deadline_ns_ || sys::monotonic_ns() < *deadline_ns_; }
  void handle(Connection& connection);
  void established(Connection& connection);
  Result<ByteCount> read_from(int fd);
  Result<ByteCount> read_and_touch(int fd);
  void closed(Connection& connection);
  void end(Connection& connection);
  Text at_server(const Text& what) const { return settings_.server + ": " + what; }

  const SinkSettings& settings_;
  int stop_fd_;
  std::vector<sys::Address> addresses_;
  sys::Address address_;  // the one that answered
  std::vector<Connection> connections_;
  std::size_t open_ = 0;
  std::unique_ptr<sys::Epoll> epoll_;
  std::vector<char> buffer_;
  std::int64_t start_ns_ = 0;
  std::optional<std::int64_t> deadline_ns_;
  SinkResult result_;
};

constexpr std::uint64_t stop_tag = ~std::uint64_t{0};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

tl::expected<std::vector<sys::Address>, std::string> look_up(const std::string& server) {
  const std::size_t colon = server.rfind(':');
  Text host = colon == Text::npos ? Text() : server.substr(0, colon);
  const Text port = colon == Text::npos ? server : server.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (port.empty() || (!bracketed && host.find(':') != Text::npos)) {
    return tl::unexpected(server + ": not HOST:PORT");
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints,
                                  &found);  // no host: the loopback address
  if (error != 0) {
    return tl::unexpected(server + ": " +
                          (error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)));
  }
  std::vector<sys::Address> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    sockaddr_storage raw{};
    std::memcpy(&raw, one->ai_addr, std::min<std::size_t>(one->ai_addrlen, sizeof raw));
    addresses.push_back(sys::Address::from_raw(raw, one->ai_addrlen));
  }
  ::freeaddrinfo(found);
  return addresses;
}

tl::expected<SinkResult, std::string> receive_and_discard(const SinkSettings& settings,
                                                          int stop_fd) {
  if (!settings.addresses.empty()) return Sink(settings, settings.addresses, stop_fd).run();
  OrText<std::vector<sys::Address>> found = look_up(settings.server);
  if (!found) return tl::unexpected(found.error());
  return Sink(settings, std::move(*found), stop_fd).run();
}

namespace {

OrText<SinkResult> Sink::run() {
  if (settings_.touch) buffer_.resize(touch_buffer_bytes);
  Result<sys::Epoll> epoll = sys::Epoll::create();
  if (!epoll) return tl::unexpected(describe(epoll.error()));
  epoll_ = std::make_unique<sys::Epoll>(std::move(*epoll));
  const double cpu_before = cpu_seconds();
  if (auto connected = connect_all(); !connected) {
    if (!result_.interrupted) return tl::unexpected(connected.error());
  }
  if (!result_.interrupted) receive();
  if (start_ns_ != 0) {
    result_.seconds = static_cast<double>(sys::monotonic_ns() - start_ns_) / ns_per_s;
  }
  result_.cpu_seconds = cpu_seconds() - cpu_before;
  return result_;
}

// ---------------------------------------------------------------- connecting

/// The first one decides which address of the name it is; the others are made all at once.
OrText<void> Sink::connect_all() {
  const auto failed = [this](const Error& error) {
    return tl::unexpected(at_server(std::strerror(error.errno_value)));
  };
  OrText<Connection> first = connect_first();
  if (!first) return tl::unexpected(first.error());
  start_ns_ = sys::monotonic_ns();
  if (settings_.seconds) {
    deadline_ns_ = start_ns_ + static_cast<std::int64_t>(std::llround(*settings_.seconds * 1e9));
  }
  connections_.resize(std::max<std::size_t>(settings_.connections, 1));
  connections_.front() = std::move(*first);
  for (Connection& connection : connections_) {
    if (connection.fd.is_open()) continue;
    Result<sys::Fd> fd = begin_connect(address_);
    if (!fd) return failed(fd.error());
    connection.fd = std::move(*fd);
  }
  for (Connection& connection : connections_) {
    if (Result<void> done = wait_until_connected(connection); !done) {
      return failed(done.error());
    }
    if (Result<void> watched = watch(connection, EPOLLIN); !watched) {
      return failed(watched.error());
    }
    ++open_;
  }
  return {};
}

OrText<Connection> Sink::connect_first() {
  Error error{"connect", ENOENT};
  for (const sys::Address& address : addresses_) {
    Result<sys::Fd> fd = begin_connect(address);
    if (fd) {
      Connection connection{.fd = std::move(*fd)};
      Result<void> connected = wait_until_connected(connection);
      if (connected) {
        address_ = address;
        return connection;
      }
      error = connected.error();
    } else {
      error = fd.error();
    }
    if (result_.interrupted) break;
  }
  return tl::unexpected(at_server(std::strerror(error.errno_value)));
}

Result<sys::Fd> Sink::begin_connect(const sys::Address& address) {
  const int family = address.raw()->sa_family;
  sys::Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return last_error("socket");  // EMFILE; EAFNOSUPPORT: no IPv6 here
  const int done = ::connect(fd.get(), address.raw(), address.raw_size());
  // EINPROGRESS: as it should be. Others: ENETUNREACH, EADDRNOTAVAIL (out of local ports),
  // ECONNREFUSED (at once, on loopback).
  if (done != 0 && errno != EINPROGRESS) return last_error("connect");
  return fd;
}

Result<void> Sink::wait_until_connected(Connection& connection) {
  std::array<pollfd, 2> watched{{{.fd = connection.fd.get(), .events = POLLOUT, .revents = 0},
                                 {.fd = stop_fd_, .events = POLLIN, .revents = 0}}};
  const int ready = ::poll(watched.data(), watched.size(), connect_timeout_ms);
  if (watched[1].revents != 0 || (ready < 0 && errno == EINTR)) {
    result_.interrupted = true;
    return failure("connect", EINTR);
  }
  if (ready == 0) return failure("connect", ETIMEDOUT);
  const int error = connect_outcome(connection);
  if (error != 0) return failure("connect", error);  // ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH
  return {};
}

Result<void> Sink::watch(Connection& connection, std::uint32_t events) {
  const auto index = static_cast<std::uint64_t>(&connection - connections_.data());
  return epoll_->add(connection.fd.get(), events, index);
}

// ---------------------------------------------------------------- receiving

void Sink::receive() {
  std::array<epoll_event, 64> events;
  if (stop_fd_ >= 0) static_cast<void>(epoll_->add(stop_fd_, EPOLLIN, stop_tag));
  while (open_ > 0 && time_is_left()) {
    for (const epoll_event& event : epoll_->wait(events, wait_ms())) {
      if (event.data.u64 == stop_tag) {
        result_.interrupted = true;
        return;
      }
      handle(connections_[event.data.u64]);
    }
  }
}

int Sink::wait_ms() const {
  if (!deadline_ns_) return -1;
  const std::int64_t left_ns = std::max<std::int64_t>(*deadline_ns_ - sys::monotonic_ns(), 0);
  constexpr std::int64_t most_ms = 60'000;
  return static_cast<int>(std::min((left_ns + ns_per_ms - 1) / ns_per_ms, most_ms));
}

void Sink::handle(Connection& connection) {
  if (connection.connecting) return established(connection);
  const Result<ByteCount> got = read_from(connection.fd.get());
  if (got && got->value > 0) {
    connection.received += got->value;
    result_.received_bytes += got->value;
    return;
  }
  if (got) return closed(connection);
  if (got.error().errno_value == EAGAIN || got.error().errno_value == EINTR) return;
  ++result_.broken;  // ECONNRESET: the server broke off; ETIMEDOUT: it has gone
  end(connection);
}

Result<ByteCount> Sink::read_from(int fd) {
  return settings_.touch ? read_and_touch(fd) : sys::discard_received(fd, most_per_call);
}

Result<ByteCount> Sink::read_and_touch(int fd) {
  const ssize_t n = ::recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (n < 0) return last_error("recv");
  const auto size = static_cast<std::size_t>(n);
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + sizeof sum <= size; at += sizeof sum) {
    std::uint64_t word = 0;
    std::memcpy(&word, buffer_.data() + at, sizeof word);
    sum += word;
  }
  // Whoever reads the sum has to have read the bytes: the compiler may not drop the loop.
  asm volatile("" : : "r"(sum));
  return ByteCount{size};
}

/// The server has closed in order: made anew while there is time.
void Sink::closed(Connection& connection) {
  if (connection.reset) {
    ++result_.broken;
    return end(connection);
  }
  ++result_.finished;
  const bool again = settings_.seconds && connection.received > 0 && time_is_left();
  end(connection);
  if (!again) return;
  Result<sys::Fd> fd = begin_connect(address_);
  if (!fd) return;  // the server has ended meanwhile, or we are out of ports
  connection = {.fd = std::move(*fd), .connecting = true};
  if (watch(connection, EPOLLOUT)) {
    ++open_;
  } else {
    connection.fd.close();
  }
}

void Sink::established(Connection& connection) {
  const int error = connect_outcome(connection);
  if (error != 0) return end(connection);  // ECONNREFUSED: the server has ended meanwhile
  connection.connecting = false;
  const auto index = static_cast<std::uint64_t>(&connection - connections_.data());
  if (!epoll_->modify(connection.fd.get(), EPOLLIN, index)) end(connection);
}

void Sink::end(Connection& connection) {
  connection.fd.close();
  --open_;
}

}  // namespace

}  // namespace pagewire::bench
