// What every egress conformance test needs beside files (test_files.h): a TCP connection over
// loopback, a peer that reads and compares in a thread, and a sender that drives a transfer the
// way an edge-triggered loop does, checking the contract of egress.h at each step.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "content/content.h"
#include "egress/egress.h"
#include "expectation.h"
#include "record_reader.h"
#include "support/position_code.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/kernel_tls.h"
#include "sys/socket.h"
#include "test_files.h"
#include "worker_parts.h"

namespace pagewire::test {

using egress::Status;
using egress::StepResult;
using egress::Transfer;

// ---------------------------------------------------------------- the connection

struct BufferSizes {
  int send = 0;     ///< SO_SNDBUF; 0 leaves the kernel's
  int receive = 0;  ///< SO_RCVBUF
};

struct Connection {
  sys::Fd sender;  ///< non-blocking, TCP_NODELAY
  sys::Fd peer;    ///< blocking
};

inline Connection connect_over_loopback(BufferSizes sizes) {
  sys::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(listener.get(), raw, length), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), raw, &length), 0);
  Connection connection;
  connection.peer = sys::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int peer = connection.peer.get();
  if (sizes.receive != 0) {  // before connect: it limits the window that is offered
    ::setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &sizes.receive, sizeof sizes.receive);
  }
  EXPECT_EQ(::connect(peer, raw, length), 0) << std::strerror(errno);
  connection.sender =
      sys::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  EXPECT_TRUE(connection.sender.is_open());
  if (sizes.send != 0) {
    ::setsockopt(connection.sender.get(), SOL_SOCKET, SO_SNDBUF, &sizes.send, sizeof sizes.send);
  }
  EXPECT_TRUE(sys::set_no_delay(connection.sender.get()).has_value());
  return connection;
}

// ---------------------------------------------------------------- the peer

/// How the connection of a transfer by `path` is encrypted: not at all, or by the path, or, when
/// PAGEWIRE_TEST_KTLS is set, by the kernel.
inline egress::Transport::Kind kind_for(const egress::Path& path) {
  if (path.name == "tls_copy") return egress::Transport::Kind::UserTls;
  return std::getenv("PAGEWIRE_TEST_KTLS") != nullptr ? egress::Transport::Kind::KernelTls
                                                      : egress::Transport::Kind::Plain;
}

struct PeerHabits {
  std::size_t chunk = 256 * 1024;                        ///< bytes a recv asks for
  std::chrono::microseconds pause{0};                    ///< between two recvs
  std::uint64_t reset_after = Expectation::npos;         ///< RST once this many bytes have come
  std::uint64_t stop_writing_after = Expectation::npos;  ///< shutdown(SHUT_WR), and reads on
  bool opens_records = false;                            ///< what comes is sealed
  const std::atomic<bool>* waits_for = nullptr;          ///< reads nothing before (30 s at most)
};

/// Reads in a thread of its own until the stream ends, and compares.
class Peer {
 public:
  Peer(sys::Fd fd, Expectation& expectation, const PeerHabits& habits)
      : thread_([this, fd = std::move(fd), &expectation, habits]() mutable {
          run(std::move(fd), expectation, habits);
        }) {}
  ~Peer() { wait(); }
  void wait() {
    if (thread_.joinable()) thread_.join();
  }
  bool saw_reset() const { return saw_reset_; }
  /// Plain bytes that have come.
  std::uint64_t received() const { return received_; }
  bool has_ended() const { return ended_; }

 private:
  void run(sys::Fd fd, Expectation& expectation, const PeerHabits& habits) {
    read(std::move(fd), expectation, habits);
    ended_ = true;
  }
  void read(sys::Fd fd, Expectation& expectation, const PeerHabits& habits) {
    for (int ms = 0; ms < 30'000 && habits.waits_for != nullptr && !*habits.waits_for; ++ms) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::string buffer(habits.chunk, '\0');
    bool writing = true;
    RecordReader records;
    for (;;) {
      if (expectation.received() >= habits.reset_after) return sys::abort_on_close(fd.get());
      if (writing && expectation.received() >= habits.stop_writing_after) {
        ::shutdown(fd.get(), SHUT_WR);
        writing = false;
      }
      const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      saw_reset_ = n < 0;
      if (n <= 0) return;
      const auto bytes = std::string_view(buffer).substr(0, static_cast<std::size_t>(n));
      if (habits.opens_records) {
        const auto take = [&](std::string_view plain) { expectation.consume(plain); };
        EXPECT_TRUE(records.feed(bytes, take)) << "record " << records.records();
      } else {
        expectation.consume(bytes);
      }
      received_ = expectation.received();
      if (habits.pause.count() > 0) std::this_thread::sleep_for(habits.pause);
    }
  }

  std::atomic<bool> saw_reset_ = false;
  std::atomic<bool> ended_ = false;
  std::atomic<std::uint64_t> received_ = 0;
  std::thread thread_;
};

// ---------------------------------------------------------------- the sender

struct SendOptions {
  BufferSizes buffers{};
  PeerHabits habits{};
  ByteCount quantum{1 * mib};
  sys::PipePool::Limits pipes{};
  std::vector<ByteRange> islands{};
  /// The path may fall to another one although it fits: that is what the test brings about.
  bool may_fall = false;
  egress::ZeroCopyLimits zero_copy{.copied_streak = 0};
  /// Whether what the socket tells is taken between two steps, as a loop does.
  bool take_completions = true;
  /// Keep the connection open until the peer has acknowledged all: closing pushes what MSG_MORE
  /// holds.
  bool await_acknowledgement = false;
  bool gated = true;          ///< steps look at the page cache first
  bool clock_stands = false;  ///< looks do not become old
  /// The transfer begins as if so much of its segments had gone already, to this very peer.
  ByteCount gone_before{};
  /// Called for each WantPages, instead of reading what it wants and going on.
  std::function<void(Transfer&)> on_want_pages{};
  /// Called before each step that has something behind it, with what has gone so far.
  std::function<void(const Transfer&)> between_steps{};
  /// Called once when the connection stands and nothing has been sent.
  std::function<void()> before_first{};
};

struct Outcome {
  Status status = Status::Failed;
  Error error;
  std::uint64_t sent = 0;
  std::uint64_t promised = 0;
  std::uint64_t received = 0;
  std::uint64_t wrong_at = Expectation::npos;
  std::uint64_t calls = 0;
  std::uint64_t copied = 0;
  std::uint64_t wants = 0;             ///< WantPages
  const egress::Path* path = nullptr;  ///< the one that it ended on
  bool fitted = true;                  ///< the path that was asked for could do these segments
  std::size_t idle_pipes = 0;
  egress::ZeroCopyUse zero_copy;
  ByteCount pipe_capacity;

  bool all_right() const {
    return status == Status::Done && received == promised && wrong_at == Expectation::npos;
  }
};

inline void PrintTo(const Outcome& outcome, std::ostream* out) {
  *out << "status " << int(outcome.status) << " (" << describe(outcome.error) << "), sent "
       << outcome.sent << ", received " << outcome.received << " of " << outcome.promised
       << ", wrong at " << static_cast<std::int64_t>(outcome.wrong_at) << ", ended on "
       << (outcome.path != nullptr ? outcome.path->name : "-");
}

/// Waits for writability as an edge-triggered loop does: only an edge that comes after an EAGAIN
/// wakes it, so a WantWrite without a full socket would time out here.
class WriteEdge {
 public:
  explicit WriteEdge(int fd) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLOUT | EPOLLET;
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
    wait();  // the first edge: a fresh socket is writable
  }
  bool wait() {
    epoll_event event{};
    int ready = -1;
    do {  // EINTR: the kernel finishes an operation in our context
      ready = ::epoll_wait(epoll_.get(), &event, 1, 60'000);
    } while (ready < 0 && errno == EINTR);
    return ready == 1;
  }

 private:
  sys::Fd epoll_;
};

/// The pages wanted are of the slice at the cursor or of a later one, and begin in it.
inline void check_wanted(const Transfer& transfer, const egress::WantedPages& wanted) {
  EXPECT_GT(wanted.range.count.value, 0U);
  bool in_a_slice = false;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) {
    in_a_slice |= segment.kind == Segment::Kind::File && segment.file == wanted.file &&
                  segment.slice.offset <= wanted.range.offset &&
                  wanted.range.end() <= segment.slice.end();
  }
  EXPECT_TRUE(in_a_slice);
}

inline void check_step(const Transfer& transfer, const StepResult& result, ByteCount quantum) {
  ByteCount memory;  // rides along: the quantum is of file bytes
  for (const Segment& segment : transfer.segments) {
    if (segment.kind == Segment::Kind::Memory) memory += segment.size();
  }
  EXPECT_LE(result.moved, quantum + memory);
  EXPECT_EQ(result.calls > 0, result.moved.value > 0);
  EXPECT_NE(result.status, Status::Unsupported);
  if (result.status == Status::Moved) {
    EXPECT_GT(result.moved.value, 0U);
    EXPECT_FALSE(transfer.finished());
  } else if (result.status == Status::Done) {
    EXPECT_TRUE(transfer.finished());
  } else {
    EXPECT_EQ(result.moved.value, 0U);
  }
  if (result.status == Status::WantPages) check_wanted(transfer, result.pages);
}

inline std::uint64_t take_completions(const egress::Transport& transport) {
  if (transport.state == nullptr) return 0;
  return transport.state->take_completions(transport.socket_fd).copied.value;
}

/// Drives `transfer` to its end and checks every step.
inline void drive(Transfer& transfer, WorkerParts& parts, const SendOptions& options,
                  Outcome& outcome) {
  bool woken = false;
  transfer.waker = WorkerParts::wake(woken);
  WriteEdge edge(transfer.transport.socket_fd);
  if (options.before_first) options.before_first();
  for (;;) {
    if (options.take_completions) outcome.copied += take_completions(transfer.transport);
    if (options.between_steps && transfer.sent.value > 0) options.between_steps(transfer);
    if (!options.clock_stands) {
      transfer.resources->residency.now_ms = sys::monotonic_coarse_ms();
    }
    const StepResult result = egress::step(transfer, options.quantum);
    check_step(transfer, result, options.quantum);
    outcome.sent += result.moved.value;
    outcome.calls += result.calls;
    outcome.copied += result.copied.value;
    outcome.status = result.status;
    outcome.error = result.error;
    if (result.status == Status::WantWrite) {
      if (edge.wait()) continue;
      ADD_FAILURE() << "WantWrite, but the socket never became writable";
      return;
    }
    if (result.status == Status::WantPages) {
      ++outcome.wants;
      if (options.on_want_pages) {
        options.on_want_pages(transfer);
        continue;
      }
      const Result<void> read = egress::fetch_in_place(transfer);
      if (read) continue;
      outcome.error = read.error();
    }
    if (result.status == Status::Submitted) {
      if (parts.wait_for(woken)) continue;
      ADD_FAILURE() << "Submitted, but never woken";
      return;
    }
    if (result.status != Status::Moved) return;
  }
}

inline void await_acknowledgement(int fd) {
  for (int ms = 0; ms < 60'000 && sys::unacknowledged(fd)->value > 0; ++ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Under kernel TLS, close(2) may drop what is not in TCP's queue yet (docs/KERNEL_NOTES.md).
inline void await_arrival(const Peer& peer, std::uint64_t sent) {
  for (int ms = 0; ms < 60'000 && !peer.has_ended() && peer.received() < sent; ++ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Until the kernel has let go of everything that went out on the socket.
inline void await_completions(const egress::Transport& transport, Outcome& outcome) {
  for (int ms = 0; ms < 60'000 && transport.state->busy(); ++ms) {
    outcome.copied += take_completions(transport);
    if (transport.state->busy()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_FALSE(transport.state->busy()) << "the kernel never let go of what was sent";
}

/// Where a transfer by `path` starts: there, or where it does not fit, on the next one that does,
/// as falling through goes.
inline const egress::Path& start_of(const egress::Path& path, std::span<const Segment> segments,
                                    const egress::Transport& transport) {
  for (const egress::Path* next : egress::paths().subspan(egress::index_of(path))) {
    if (next->fits(segments, transport)) return *next;
  }
  ADD_FAILURE() << "copy fits everything";
  return path;
}

/// Gives the transport of `kind` its keys.
inline void encrypt(egress::Transport& transport, egress::Transport::Kind kind,
                    WorkerParts& parts) {
  transport.kind = kind;
  const tls::WriteKeys keys = fixed_keys();
  if (kind == egress::Transport::Kind::UserTls) {
    EXPECT_TRUE(parts.outlet.seals() || parts.outlet.install(keys, 0));
    transport.outlet = &parts.outlet;
  }
  if (kind != egress::Transport::Kind::KernelTls) return;
  EXPECT_TRUE(sys::attach_tls(transport.socket_fd).has_value());
  const sys::TlsKeys transmit{.tls13 = true,
                              .cipher = sys::TlsCipher::Aes128Gcm,
                              .key = std::span(keys.key).first(16),
                              .iv = keys.iv,
                              .sequence = 0};
  EXPECT_TRUE(sys::start_tls_transmit(transport.socket_fd, transmit).has_value());
}

/// Must not move, nor be copied: `transfer` is set in place.
inline void begin(Transfer& transfer, const egress::Path& path, std::span<const Segment> segments,
                  const Connection& connection, WorkerParts& parts) {
  transfer.transport = {.socket_fd = connection.sender.get(), .state = &parts.state};
  encrypt(transfer.transport, kind_for(path), parts);
  transfer.path = &start_of(path, segments, transfer.transport);
  transfer.resources = &parts.resources;
  transfer.segments = segments;
  egress::prepare(transfer);
}

/// Sends the segments by `path` to a peer that compares every byte; by the next path where it
/// does not fit. Where it fits, and nothing is in its way, it must be the one that did it.
inline Outcome send_by(const egress::Path& path, std::span<const Segment> segments,
                       const SendOptions& options = {}) {
  Connection connection = connect_over_loopback(options.buffers);
  Expectation expectation(segments);
  expectation.set_islands(options.islands);
  expectation.skip(options.gone_before.value);
  Outcome outcome;
  outcome.promised = expectation.total();
  outcome.sent = options.gone_before.value;
  PeerHabits habits = options.habits;
  habits.opens_records = kind_for(path) != egress::Transport::Kind::Plain;
  WorkerParts parts(path, options.pipes);
  parts.resources.zero_copy.limits = options.zero_copy;
  parts.resources.residency.on = options.gated;
  Transfer transfer;
  begin(transfer, path, segments, connection, parts);
  // Not before: kernel TLS is refused where the peer's FIN or RST has come already.
  Peer peer(std::move(connection.peer), expectation, habits);
  transfer.advance(options.gone_before);
  outcome.fitted = transfer.path == &path;  // zerocopy may give itself up on the way
  drive(transfer, parts, options, outcome);
  outcome.pipe_capacity = transfer.pipe.capacity;
  egress::finish(transfer);
  if (options.await_acknowledgement) await_acknowledgement(connection.sender.get());
  if (parts.state.busy()) sys::finish_sending(connection.sender.get());
  await_completions(transfer.transport, outcome);
  if (transfer.transport.kind == egress::Transport::Kind::KernelTls &&
      outcome.status == Status::Done) {
    await_arrival(peer, outcome.sent);
  }
  connection.sender.close();
  peer.wait();
  outcome.zero_copy = parts.resources.zero_copy;
  EXPECT_EQ(outcome.zero_copy.in_flight.value, 0U);
  EXPECT_EQ(outcome.zero_copy.completed, outcome.zero_copy.sends);
  EXPECT_EQ(outcome.sent, transfer.sent.value);
  // What an asynchronous send still got rid of when its transfer ended early is counted by
  // nobody.
  const bool asynchronous = path.name == "uring_zc_sqpoll" && outcome.status != Status::Done;
  const std::uint64_t uncounted = asynchronous ? 128 * kib : 0;
  EXPECT_LE(expectation.received(), outcome.sent + uncounted);
  outcome.received = expectation.received();
  outcome.wrong_at = expectation.wrong_at();
  outcome.path = transfer.path;
  const bool by_itself = outcome.path == &path;
  EXPECT_TRUE(outcome.fitted || !by_itself) << path.name << " did what does not fit it";
  // zerocopy wants a send buffer of 64 KiB; the tests that have less see what it falls to.
  const bool small_buffer = options.buffers.send != 0 && path.name == "zerocopy";
  EXPECT_TRUE(by_itself || !outcome.fitted || options.may_fall || small_buffer)
      << path.name << " fell to " << outcome.path->name;
  outcome.idle_pipes = parts.pool.idle();
  parts.lanes.settle();  // a transfer that ended early may have left one under way
  EXPECT_EQ(parts.lanes.counters().operations_in_flight, 0U);
  return outcome;
}

// ---------------------------------------------------------------- the fixture

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

/// Why this kernel cannot encrypt what `path` sends, where PAGEWIRE_TEST_KTLS wants it to; else "".
inline std::string no_kernel_tls(const egress::Path& path) {
  if (kind_for(path) != egress::Transport::Kind::KernelTls) return "";
  const auto probed = sys::probe_kernel_tls();
  return probed.available ? "" : "kernel TLS: " + std::string(probed.reason);
}

/// One test for every registered path that this kernel has; each must leave the descriptors as it
/// found them.
class EveryPath : public ::testing::TestWithParam<const egress::Path*> {
 protected:
  void SetUp() override {
    if (const std::string why = no_kernel_tls(path()); !why.empty()) GTEST_SKIP() << why;
    ::signal(SIGPIPE, SIG_IGN);  // sendfile and splice have no MSG_NOSIGNAL: the process's duty
    const egress::Availability available = path().probe();
    descriptors_ = open_descriptors();
    if (!available.available) GTEST_SKIP() << available.reason;
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(open_descriptors(), descriptors_);
  }
  static const egress::Path& path() { return *GetParam(); }
  /// Whether the path has the bytes in a pipe on their way.
  const TempDir dir_;

 private:
  std::size_t descriptors_ = 0;
};

/// Those that hold a pipe between two steps.
inline bool uses_pipe(const egress::Path& path) {
  return path.name == "splice" || path.name == "vmsplice" || path.name == "tee" ||
         path.name == "uring_splice";
}

inline std::string path_name(const ::testing::TestParamInfo<const egress::Path*>& info) {
  return std::string(info.param->name);
}

}  // namespace pagewire::test
