// fault_flood: thousands of HTTP clients, most of which break off, and not one of which may ever
// see a byte that is not its own.
//
// Each client asks for ranges of its own of coded files (file k: every 8 bytes hold their offset,
// and k + 1 in the top 16 bits) and checks every body byte as it comes. Its plan says how it ends:
// whole, or with a reset or a half-close after a random number of bytes, or stalled for a while
// with the server's buffers and pipes full, and then reset. The clients that break off nothing must
// get everything.
// One thread, level-triggered epoll; exit 0 unless it could not run; the verdict is the output's.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sys/clock.h"
#include "sys/fd.h"

namespace {

using pagewire::sys::Fd;

enum class Plan {
  Whole,
  HalfCloseFirst,
  HalfCloseInBody,
  ResetInBody,
  ResetInRequest,
  HalfCloseInRequest,
  StallThenReset
};
constexpr int plans = 7;

struct Options {
  int port = 0;
  std::size_t clients = 0;
  std::size_t at_once = 0;
  unsigned seed = 1;
  std::uint64_t files = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t most_bytes = 0;  // of one range
};

struct Counts {
  std::uint64_t clients = 0;
  std::uint64_t whole_responses = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t resets = 0;
  std::uint64_t half_closes = 0;
  std::uint64_t wrong_bytes = 0;    // not what stands at that place of that file
  std::uint64_t bad_heads = 0;      // not the 206 of the range that was asked for
  std::uint64_t surplus_bytes = 0;  // behind the last answer
  std::uint64_t cut_short = 0;      // answers that a client which broke off nothing did not get
  std::uint64_t not_connected = 0;
  std::uint64_t stuck = 0;  // clients to whom nothing happened for two minutes
};

struct Range {
  std::uint64_t file = 0;
  std::uint64_t offset = 0;
  std::uint64_t count = 0;
};

struct Client {
  Fd fd;
  std::size_t id = 0;
  Plan plan = Plan::Whole;
  std::vector<Range> ranges;
  std::string out;  // requests, pipelined
  std::size_t sent = 0;
  std::size_t send_limit = 0;    // ... InRequest: breaks off after so many bytes of them
  std::uint64_t body_limit = 0;  // ... InBody, Stall: after so many body bytes
  std::string head;              // of the answer under way, as far as it is here
  bool in_body = false;
  std::size_t answer = 0;        // which range is being answered
  std::uint64_t body_place = 0;  // in its body
  std::uint64_t body_bytes = 0;  // of all answers
  bool half_closed = false;
  std::int64_t last_progress_ms = 0;
};

std::int64_t now_ms() {
  return pagewire::sys::monotonic_ns() / 1'000'000;
}

class Flood {
 public:
  explicit Flood(const Options& options)
      : options_(options), random_(options.seed), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  Counts run();

 private:
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  void launch();
  std::unique_ptr<Client> make_client();
  bool connect(Client& client);
  void serve(Client& client);
  bool send_more(Client& client);
  bool receive_more(Client& client);
  bool take(Client& client, const char* bytes, std::size_t size);
  std::size_t take_head(Client& client, const char* bytes, std::size_t size);
  void check_body(Client& client, const char* bytes, std::size_t size);
  void peer_ended(Client& client);
  void half_close(Client& client);
  void reset(Client& client);
  void stall(Client& client);
  void watch(Client& client, std::uint32_t events, int operation);
  void finish(Client& client);
  void look_for_stuck();

  Options options_;
  Counts counts_;
  std::mt19937_64 random_;
  Fd epoll_;
  std::vector<std::unique_ptr<Client>> clients_;  // by id; empty when done
  std::deque<Client*> stalled_;
  std::size_t launched_ = 0;
  std::size_t open_ = 0;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
};

Counts Flood::run() {
  clients_.resize(options_.clients);
  std::vector<epoll_event> events(256);
  std::int64_t next_look_ms = now_ms() + 1'000;
  while (launched_ < options_.clients || open_ > 0) {
    while (launched_ < options_.clients && open_ < options_.at_once) launch();
    // Stalled ones hold the server's pipes while others come and go; then they are reset.
    while (!stalled_.empty() &&
           (stalled_.size() > options_.at_once / 4 || open_ == stalled_.size())) {
      Client& oldest = *stalled_.front();
      stalled_.pop_front();
      reset(oldest);
    }
    const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < n; ++i) {
      Client* const client = clients_[events[static_cast<std::size_t>(i)].data.u64].get();
      if (client != nullptr) serve(*client);
    }
    if (now_ms() >= next_look_ms) {
      look_for_stuck();
      next_look_ms = now_ms() + 1'000;
    }
  }
  return counts_;
}

void Flood::launch() {
  std::unique_ptr<Client> made = make_client();
  ++launched_;
  ++counts_.clients;
  if (!connect(*made)) {
    ++counts_.not_connected;
    return;
  }
  ++open_;
  Client& client = *made;
  clients_[client.id] = std::move(made);
  watch(client, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

std::unique_ptr<Client> Flood::make_client() {
  auto client = std::make_unique<Client>();
  client->id = launched_;
  client->plan = static_cast<Plan>(draw(plans));
  const std::uint64_t requests = 1 + draw(3);
  std::uint64_t all_bytes = 0;
  for (std::uint64_t i = 0; i < requests; ++i) {
    const std::uint64_t count = 1 + draw(options_.most_bytes);
    const Range range{
        .file = draw(options_.files), .offset = draw(options_.file_bytes - count), .count = count};
    client->ranges.push_back(range);
    all_bytes += count;
    client->out += "GET /coded" + std::to_string(range.file) +
                   ".bin HTTP/1.1\r\nHost: t\r\nRange: bytes=" + std::to_string(range.offset) +
                   "-" + std::to_string(range.offset + range.count - 1) + "\r\n\r\n";
  }
  const bool in_request =
      client->plan == Plan::ResetInRequest || client->plan == Plan::HalfCloseInRequest;
  // Within the first request, so that nothing at all is asked for.
  client->send_limit = in_request ? draw(client->out.find("\r\n\r\n")) + 1 : client->out.size();
  client->body_limit = draw(all_bytes);
  client->last_progress_ms = now_ms();
  return client;
}

bool Flood::connect(Client& client) {
  client.fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!client.fd.is_open()) return false;
  const int on = 1;
  // A small receive buffer, and segments so small that the server's send buffer, which the kernel
  // makes some tens of segments large, is full long before the range is out. Only a few windows are
  // tiny: those wait for the timers of the silly window, not for the server.
  const int segment = static_cast<int>(536 << draw(4));
  ::setsockopt(client.fd.get(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  const int small = static_cast<int>(draw(32) == 0 ? 8'192 : 32'768 << draw(3));
  ::setsockopt(client.fd.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ::setsockopt(client.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // Many source addresses: one alone would run out of ports, which wait after each connection.
  ::setsockopt(client.fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(static_cast<in_addr_t>(INADDR_LOOPBACK + 1 + client.id % 50));
  ::bind(client.fd.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(options_.port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int result = ::connect(client.fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return result == 0 || errno == EINPROGRESS;
}

void Flood::serve(Client& client) {
  client.last_progress_ms = now_ms();
  if (client.sent < client.send_limit && !send_more(client)) return;
  // Some turns only: others are waiting.
  for (int turn = 0; turn < 4; ++turn) {
    if (!receive_more(client)) return;
  }
}

/// False when the client is gone.
bool Flood::send_more(Client& client) {
  const ssize_t n = ::send(client.fd.get(), client.out.data() + client.sent,
                           client.send_limit - client.sent, MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return true;
  if (n < 0) {
    peer_ended(client);
    return false;
  }
  client.sent += static_cast<std::size_t>(n);
  if (client.sent < client.send_limit) return true;
  watch(client, EPOLLIN, EPOLL_CTL_MOD);
  if (client.plan == Plan::ResetInRequest) {
    reset(client);
    return false;
  }
  if (client.plan == Plan::HalfCloseFirst || client.plan == Plan::HalfCloseInRequest) {
    half_close(client);
  }
  return true;
}

/// False when there is nothing more now, or the client is gone.
bool Flood::receive_more(Client& client) {
  std::size_t size = buffer_.size();
  const bool breaks_off = client.plan == Plan::ResetInBody || client.plan == Plan::StallThenReset;
  if (breaks_off && client.in_body) {
    size = std::min<std::size_t>(size, client.body_limit - client.body_bytes + 1);
  }
  const ssize_t n = ::recv(client.fd.get(), buffer_.data(), size, 0);
  if (n < 0 && errno == EAGAIN) return false;
  if (n <= 0) {
    peer_ended(client);
    return false;
  }
  return take(client, buffer_.data(), static_cast<std::size_t>(n));
}

/// False when the client is gone or stalled.
bool Flood::take(Client& client, const char* bytes, std::size_t size) {
  while (size > 0) {
    std::size_t used = size;
    if (client.answer == client.ranges.size() || client.plan == Plan::HalfCloseInRequest) {
      counts_.surplus_bytes += size;
    } else if (!client.in_body) {
      used = take_head(client, bytes, size);
    } else {
      const Range& range = client.ranges[client.answer];
      used = std::min<std::size_t>(size, range.count - client.body_place);
      check_body(client, bytes, used);
      if (client.body_place == range.count) {
        ++counts_.whole_responses;
        ++client.answer;
        client.in_body = false;
      }
    }
    bytes += used;
    size -= used;
  }
  if (client.body_bytes > client.body_limit) {
    switch (client.plan) {
      case Plan::ResetInBody:
        reset(client);
        return false;
      case Plan::StallThenReset:
        stall(client);
        return false;
      case Plan::HalfCloseInBody:
        if (!client.half_closed) half_close(client);
        break;
      case Plan::Whole:
      case Plan::HalfCloseFirst:
      case Plan::ResetInRequest:
      case Plan::HalfCloseInRequest:
        break;
    }
  }
  if (client.answer == client.ranges.size() && !client.half_closed) {
    finish(client);
    return false;
  }
  return true;
}

/// Collects the head byte by byte; once whole, it must be the 206 of this client's range.
std::size_t Flood::take_head(Client& client, const char* bytes, std::size_t size) {
  std::size_t used = 0;
  while (used < size) {
    client.head += bytes[used++];
    if (client.head.ends_with("\r\n\r\n")) {
      const Range& range = client.ranges[client.answer];
      const std::string length = "\r\nContent-Length: " + std::to_string(range.count) + "\r\n";
      const std::string place = "\r\nContent-Range: bytes " + std::to_string(range.offset) + "-" +
                                std::to_string(range.offset + range.count - 1) + "/" +
                                std::to_string(options_.file_bytes) + "\r\n";
      const bool right = client.head.starts_with("HTTP/1.1 206 ") &&
                         client.head.find(length) != std::string::npos &&
                         client.head.find(place) != std::string::npos;
      if (!right && counts_.bad_heads++ == 0) {
        std::fprintf(stderr, "client %zu: bad head: %s\n", client.id, client.head.c_str());
      }
      client.head.clear();
      client.in_body = true;
      client.body_place = 0;
      break;
    }
  }
  return used;
}

void Flood::check_body(Client& client, const char* bytes, std::size_t size) {
  const Range& range = client.ranges[client.answer];
  std::uint64_t place = range.offset + client.body_place;
  for (std::size_t i = 0; i < size;) {
    const std::uint64_t word = (range.file + 1) << 48U | (place & ~std::uint64_t{7});
    char wanted[8];
    std::memcpy(wanted, &word, sizeof wanted);  // little-endian, as every machine this runs on
    const std::size_t skip = place & 7U;
    const std::size_t step = std::min<std::size_t>(8 - skip, size - i);
    if (std::memcmp(bytes + i, wanted + skip, step) != 0) {
      if (counts_.wrong_bytes == 0) {
        std::uint64_t got = 0;
        std::memcpy(&got, bytes + i, std::min<std::size_t>(step, sizeof got));
        std::fprintf(stderr, "client %zu: file %llu, offset %llu: got %016llx\n", client.id,
                     static_cast<unsigned long long>(range.file),
                     static_cast<unsigned long long>(place), static_cast<unsigned long long>(got));
      }
      counts_.wrong_bytes += step;
    }
    i += step;
    place += step;
  }
  client.body_place += size;
  client.body_bytes += size;
  counts_.body_bytes += size;
}

/// The server closed or reset. Right for one who has everything, or has asked for nothing whole.
void Flood::peer_ended(Client& client) {
  const bool asked_nothing = client.plan == Plan::HalfCloseInRequest;
  if (!asked_nothing && client.answer < client.ranges.size()) {
    if (counts_.cut_short++ == 0) {
      std::fprintf(stderr, "client %zu (plan %d): ended in answer %zu of %zu at byte %llu\n",
                   client.id, static_cast<int>(client.plan), client.answer, client.ranges.size(),
                   static_cast<unsigned long long>(client.body_place));
    }
  }
  finish(client);
}

void Flood::half_close(Client& client) {
  ::shutdown(client.fd.get(), SHUT_WR);
  client.half_closed = true;
  ++counts_.half_closes;
}

void Flood::reset(Client& client) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(client.fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ++counts_.resets;
  finish(client);
}

void Flood::stall(Client& client) {
  watch(client, 0, EPOLL_CTL_DEL);
  stalled_.push_back(&client);
}

void Flood::watch(Client& client, std::uint32_t events, int operation) {
  epoll_event event{.events = events, .data = {.u64 = client.id}};
  ::epoll_ctl(epoll_.get(), operation, client.fd.get(), &event);
}

void Flood::finish(Client& client) {
  --open_;
  clients_[client.id].reset();
}

void Flood::look_for_stuck() {
  constexpr std::int64_t patience_ms = 120'000;
  for (const std::unique_ptr<Client>& client : clients_) {
    if (client == nullptr || now_ms() - client->last_progress_ms < patience_ms) continue;
    bool waits = false;
    for (const Client* const one : stalled_) waits = waits || one == client.get();
    if (waits) continue;
    if (counts_.stuck++ == 0) {
      std::fprintf(stderr, "client %zu (plan %d): nothing came in answer %zu at byte %llu\n",
                   client->id, static_cast<int>(client->plan), client->answer,
                   static_cast<unsigned long long>(client->body_place));
    }
    finish(*client);
    return;  // the loop's element is gone; the others are looked at a second later
  }
}

void print(const char* name, std::uint64_t value) {
  std::printf("%s %llu\n", name, static_cast<unsigned long long>(value));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr, "usage: %s PORT CLIENTS AT_ONCE SEED FILES FILE_BYTES MOST_BYTES\n",
                 argv[0]);
    return 2;
  }
  const auto number = [&](int index) { return std::strtoull(argv[index], nullptr, 10); };
  const Options options{.port = static_cast<int>(number(1)),
                        .clients = number(2),
                        .at_once = number(3),
                        .seed = static_cast<unsigned>(number(4)),
                        .files = number(5),
                        .file_bytes = number(6),
                        .most_bytes = number(7)};
  const Counts counts = Flood(options).run();
  print("clients", counts.clients);
  print("whole_responses", counts.whole_responses);
  print("body_bytes", counts.body_bytes);
  print("resets", counts.resets);
  print("half_closes", counts.half_closes);
  print("wrong_bytes", counts.wrong_bytes);
  print("bad_heads", counts.bad_heads);
  print("surplus_bytes", counts.surplus_bytes);
  print("cut_short", counts.cut_short);
  print("not_connected", counts.not_connected);
  print("stuck", counts.stuck);
  return 0;
}
