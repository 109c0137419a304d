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
#include "support/position_code.h"
#include "sys/clock.h"
#include "sys/file.h"
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

/// Compares a stream with what the segments promise, as it comes. Data of a file is position-coded;
/// where a sparse file has no island it is zeros.
class Expectation {
 public:
  explicit Expectation(std::span<const Segment> segments) : segments_(segments) {
    for (const Segment& segment : segments) total_ += segment.size().value;
  }
  /// Only these parts of files hold data, the rest are holes.
  void set_islands(std::vector<ByteRange> islands) { islands_ = std::move(islands); }

  std::uint64_t total() const { return total_; }
  std::uint64_t received() const { return received_; }
  bool complete() const { return received_ == total_; }
  /// Where in the stream the first wrong or surplus byte was; npos if none.
  static constexpr std::uint64_t npos = ~std::uint64_t{0};
  std::uint64_t wrong_at() const { return wrong_at_; }

  void consume(std::string_view bytes) {
    while (!bytes.empty()) {
      while (index_ < segments_.size() && segments_[index_].size().value == in_segment_) {
        ++index_;
        in_segment_ = 0;
      }
      if (index_ == segments_.size()) return note_wrong(0, bytes.size());
      const Segment& segment = segments_[index_];
      const std::size_t size =
          std::min<std::size_t>(bytes.size(), segment.size().value - in_segment_);
      const std::size_t right = compare(segment, bytes.substr(0, size));
      if (right < size) note_wrong(right, 0);
      in_segment_ += size;
      received_ += size;
      bytes.remove_prefix(size);
    }
  }

 private:
  void note_wrong(std::size_t at, std::size_t surplus) {
    wrong_at_ = std::min(wrong_at_, received_ + at);
    received_ += surplus;
  }
  std::size_t compare(const Segment& segment, std::string_view bytes) const {
    if (segment.kind == Segment::Kind::Memory) {
      const std::string_view promised = segment.memory.substr(in_segment_, bytes.size());
      return static_cast<std::size_t>(
          std::mismatch(bytes.begin(), bytes.end(), promised.begin()).first - bytes.begin());
    }
    const std::uint64_t offset = segment.slice.offset.value + in_segment_;
    return islands_.empty() ? first_wrong(offset, bytes) : compare_sparse(offset, bytes);
  }
  std::size_t compare_sparse(std::uint64_t offset, std::string_view bytes) const {
    static const std::string zeros(1 << 20, '\0');
    bool near_data = bytes.size() > zeros.size();
    for (const ByteRange& island : islands_) {
      near_data |= offset < island.end().value && island.offset.value < offset + bytes.size();
    }
    if (!near_data && std::memcmp(bytes.data(), zeros.data(), bytes.size()) == 0) {
      return bytes.size();
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bool data = false;
      for (const ByteRange& island : islands_) {
        data |= island.offset.value <= offset + i && offset + i < island.end().value;
      }
      if (bytes[i] != (data ? position_byte(offset + i) : '\0')) return i;
    }
    return bytes.size();
  }

  std::span<const Segment> segments_;
  std::vector<ByteRange> islands_;
  std::size_t index_ = 0;
  std::uint64_t in_segment_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t wrong_at_ = npos;
};

struct PeerHabits {
  std::size_t chunk = 256 * 1024;                        ///< bytes a recv asks for
  std::chrono::microseconds pause{0};                    ///< between two recvs
  std::uint64_t reset_after = Expectation::npos;         ///< RST once this many bytes have come
  std::uint64_t stop_writing_after = Expectation::npos;  ///< shutdown(SHUT_WR), and reads on
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

 private:
  void run(sys::Fd fd, Expectation& expectation, const PeerHabits& habits) {
    std::string buffer(habits.chunk, '\0');
    bool writing = true;
    for (;;) {
      if (expectation.received() >= habits.reset_after) return sys::abort_on_close(fd.get());
      if (writing && expectation.received() >= habits.stop_writing_after) {
        ::shutdown(fd.get(), SHUT_WR);
        writing = false;
      }
      const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      saw_reset_ = n < 0;
      if (n <= 0) return;
      expectation.consume(std::string_view(buffer).substr(0, static_cast<std::size_t>(n)));
      if (habits.pause.count() > 0) std::this_thread::sleep_for(habits.pause);
    }
  }

  std::atomic<bool> saw_reset_ = false;
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
  bool gated = true;  ///< steps look at the page cache first
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
      ready = ::epoll_wait(epoll_.get(), &event, 1, 20'000);
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
    transfer.resources->residency.now_ms = sys::monotonic_coarse_ms();
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
  for (int ms = 0; ms < 10'000 && sys::unacknowledged(fd)->value > 0; ++ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Until the kernel has let go of everything that went out on the socket.
inline void await_completions(const egress::Transport& transport, Outcome& outcome) {
  for (int ms = 0; ms < 20'000 && transport.state->busy(); ++ms) {
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

/// Must not move, nor be copied: `transfer` is set in place.
inline void begin(Transfer& transfer, const egress::Path& path, std::span<const Segment> segments,
                  const Connection& connection, WorkerParts& parts) {
  transfer.transport = {.socket_fd = connection.sender.get(), .state = &parts.state};
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
  Outcome outcome;
  outcome.promised = expectation.total();
  Peer peer(std::move(connection.peer), expectation, options.habits);
  WorkerParts parts(path, options.pipes);
  parts.resources.zero_copy.limits = options.zero_copy;
  parts.resources.residency.on = options.gated;
  Transfer transfer;
  begin(transfer, path, segments, connection, parts);
  outcome.fitted = transfer.path == &path;  // zerocopy may give itself up on the way
  drive(transfer, parts, options, outcome);
  outcome.pipe_capacity = transfer.pipe.capacity;
  egress::finish(transfer);
  if (options.await_acknowledgement) await_acknowledgement(connection.sender.get());
  if (parts.state.busy()) sys::finish_sending(connection.sender.get());
  await_completions(transfer.transport, outcome);
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

/// One test for every registered path that this kernel has; each must leave the descriptors as it
/// found them.
class EveryPath : public ::testing::TestWithParam<const egress::Path*> {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);  // sendfile and splice have no MSG_NOSIGNAL: the process's duty
    const egress::Availability available = path().probe();
    descriptors_ = open_descriptors();
    if (!available.available) GTEST_SKIP() << available.reason;
  }
  void TearDown() override { EXPECT_EQ(open_descriptors(), descriptors_); }
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
