// The server of a round: one loop, one thread, one path; what it does for an answer is what
// `pagewire serve` does (server/respond.cpp), so that its bill is a server's.
//
// Owns the listener, the open file, and what a worker lends its transfers. Invariants: a connection
// sends one transfer at a time, one for each turn round the file; its asks wait in a ring of fixed
// size, and reading is paused before it could overflow; a fault is told before the connection that
// met it is reset, so whoever sees the reset finds the reason.
// Rests on loop.h, egress.h, and TCP_NOTSENT_LOWAT (tcp(7)).
#include "bench/server_loop.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/asks.h"
#include "bench/engine_messages.h"
#include "content/content.h"
#include "loop/loop.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/file_advice.h"
#include "sys/tcp_info.h"
#include "sys/tcp_tuning.h"

namespace pagewire::bench {

namespace {

// As in `pagewire serve`, by default.
constexpr ByteCount quantum{512 * kib};
constexpr std::uint32_t answers_per_turn = 64;
constexpr ByteCount unsent{256 * kib};
constexpr std::size_t scratch_bytes = 256 * kib;

// How long the kernel may keep what was sent with MSG_ZEROCOPY once a connection is over.
constexpr std::int64_t release_timeout_ms = 10'000;

// One receive holds at most so many asks, and the ring has room for them whenever reading goes on.
constexpr std::size_t asks_per_receive = 64;
constexpr std::size_t ring_asks = 2 * asks_per_receive + 1;

constexpr const char* shrank = "the file shrank while it was sent";

class Control;
class Connection;

class Server final : private loop::Acceptor {
 public:
  Server(const ServerSettings& settings, const sys::FileStatus& status, sys::Fd control)
      : path_(*settings.path),
        address_(settings.network != nullptr ? settings.network->server_address
                                             : *sys::Address::parse("127.0.0.1:0")),
        // The child's own descriptor: the parent has another one for the same file.
        file_(new content::OpenFile(sys::Fd(settings.file_fd), status)),
        control_fd_(std::move(control)) {}

  /// Until the control socket ends; an Error when it could not start.
  Result<void> run();

  // For its connections:
  loop::Loop& loop() { return *loop_; }
  egress::Resources& resources() {
    resources_.residency.now_ms = loop_->now_ms();
    return resources_;
  }
  const egress::Path& path() const { return path_; }
  const content::OpenFile& file() const { return *file_.get(); }
  std::uint64_t file_bytes() const { return file_->status().size.value; }
  ServerSample& counts() { return counts_; }
  /// The connection is over: its TCP counts are added up.
  void count_end(const Connection& connection);
  void tell_fault(const std::string& text);
  /// Why a file that is not the one any more is not.
  void tell_file_changed();

  // For the control stream:
  void send_sample();
  void stop() { loop_->stop(); }

 private:
  void accepted(sys::Accepted connection) override;
  loop::AfterFailure accept_failed(Error error) override;
  Result<sys::Address> listen();

  const egress::Path& path_;
  sys::Address address_;
  content::FileRef file_;
  sys::Fd control_fd_;
  int control_ = -1;
  sys::Fd listener_;
  sys::PipePool pipes_{sys::PipePool::Limits{}};
  std::vector<char> scratch_ = std::vector<char>(scratch_bytes);
  std::unique_ptr<egress::MasterPipes, egress::MasterPipesEnd> masters_ =
      egress::make_master_pipes();
  egress::UringLanes lanes_;
  // The look at the page cache is part of the bill; a path that is measured is never given up.
  egress::Resources resources_{.pipes = pipes_,
                               .scratch = scratch_,
                               .masters = masters_.get(),
                               .lanes = &lanes_,
                               .residency = {.on = true},
                               .zero_copy = {.limits = {.copied_streak = 0}}};
  ServerSample counts_;
  bool fault_told_ = false;
  std::unique_ptr<loop::Loop> loop_;  // last: its streams refer to all of the above
};

/// The parent's wishes.
class Control final : public loop::Stream {
 public:
  Control(Server& server, sys::Fd fd) : Stream(std::move(fd)), server_(server) {}

 private:
  void received(std::span<const char> bytes) override {
    for (std::size_t i = 0; i < bytes.size(); ++i) server_.send_sample();
  }
  void ended() override { server_.stop(); }
  void writable() override {}
  void timed_out() override {}
  void failed(Error) override { server_.stop(); }

  Server& server_;
};

/// One connection of the client's.
class Connection final : public loop::Stream {
 public:
  Connection(Server& server, sys::Fd fd) : Stream(std::move(fd)), server_(server) {}
  ~Connection() override { egress::finish(transfer_); }

  /// It is over, and counted; only the kernel may still hold memory of ours.
  bool is_gone() const { return gone_; }

 private:
  void received(std::span<const char> bytes) override;
  void ended() override;
  void writable() override {
    if (!gone_) answer();
  }
  void timed_out() override;
  void failed(Error) override;
  void notified() override;

  static void woken(void* self);
  void take_asks(std::span<const char> bytes);
  void answer();
  void account(const egress::StepResult& result);
  bool begin_transfer();
  bool next_ask();
  bool end_transfer();
  void wait();
  void break_off();
  void leave();

  Server& server_;
  std::array<char, sizeof(Ask)> partial_{};
  std::size_t partial_bytes_ = 0;
  std::array<Ask, ring_asks> ring_{};
  std::size_t first_ = 0;
  std::size_t waiting_ = 0;
  Ask current_;  // count: what is still to go; offset: where it goes on
  bool answering_ = false;
  bool under_way_ = false;  // transfer_ is
  bool paused_ = false;
  bool peer_ended_ = false;
  bool gone_ = false;  // over: retired, or waiting for its last completion
  bool unsent_limited_ = false;
  std::array<content::Segment, 2> segments_;
  egress::SocketState socket_state_;  // before the transfer, which refers to it
  egress::Transfer transfer_;
};

}  // namespace

void run_server(const ServerSettings& settings, const sys::FileStatus& status, sys::Fd control) {
  const int control_fd = control.get();
  Server server(settings, status, std::move(control));
  const Result<void> ran = server.run();
  if (!ran) send_fault(control_fd, "the server could not start: " + describe(ran.error()));
}

namespace {

// ---------------------------------------------------------------- the server

Result<void> Server::run() {
  // Small, so that one receive cannot bring more asks than the ring holds.
  const loop::Settings settings{.receive_buffer_bytes = asks_per_receive * sizeof(Ask)};
  Result<std::unique_ptr<loop::Loop>> made = loop::make_epoll_loop(settings);
  if (!made) return tl::unexpected(made.error());
  loop_ = std::move(*made);
  if (Result<void> equipped = egress::equip(path_, resources_); !equipped) return equipped;
  loop::LaneWatchers watchers(*loop_, lanes_);
  if (Result<void> watched = watchers.watch(); !watched) return watched;
  const Result<sys::Address> bound = listen();
  if (!bound) return tl::unexpected(bound.error());
  control_ = control_fd_.get();
  // The loop reads until EAGAIN; what we say is far smaller than the socket's buffer.
  if (::fcntl(control_, F_SETFL, O_NONBLOCK) != 0) return last_error("fcntl");
  ChildReport ready;
  ready.kind = ReportKind::Ready;
  ready.address = *bound;
  send_report(control_, ready);
  auto control = std::make_unique<Control>(*this, std::move(control_fd_));
  if (Result<void> attached = loop_->attach(std::move(control)); !attached) return attached;
  // As `pagewire serve` does with files that are streamed. A refusal changes nothing else.
  if (file_->status().size >= content::streamed_from) {
    static_cast<void>(sys::advise_sequential(file_->fd()));
  }
  loop_->run([] {});
  return {};
}

Result<sys::Address> Server::listen() {
  Result<sys::Fd> listener = sys::listen_on(address_, {.reuse_port = false});
  if (!listener) return tl::unexpected(listener.error());
  listener_ = std::move(*listener);
  // Inherited by the accepted sockets.
  if (Result<void> set = sys::set_no_delay(listener_.get()); !set) {
    return tl::unexpected(set.error());
  }
  if (address_.is_loopback()) sys::leave_unpaced(listener_.get());  // as `serve` does
  if (Result<void> added = loop_->listen(listener_.get(), *this); !added) {
    return tl::unexpected(added.error());
  }
  return sys::local_address(listener_.get());
}

void Server::accepted(sys::Accepted connection) {
  auto stream = std::make_unique<Connection>(*this, std::move(connection.fd));
  if (Result<void> attached = loop_->attach(std::move(stream)); !attached) {
    tell_fault("the server could not take a connection in: " + describe(attached.error()));
  }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM: the round cannot be what it was meant to be.
loop::AfterFailure Server::accept_failed(Error error) {
  tell_fault("the server could not take a connection in: " + describe(error));
  return loop::AfterFailure::Pause;
}

void Server::tell_fault(const std::string& text) {
  if (fault_told_) return;  // the first is the cause, the others come of it
  fault_told_ = true;
  send_fault(control_, text);
}

void Server::tell_file_changed() {
  const Result<sys::FileStatus> now = sys::status_of(file_->fd());
  const bool shorter = now && now->size < file_->status().size;
  tell_fault(shorter ? shrank : "the file was overwritten while it was sent");
}

void add(TcpSample& sum, const sys::TcpInfo& info) {
  sum.retransmits += info.retransmits;
  sum.busy_us += info.busy_us;
  sum.receiver_limited_us += info.receiver_limited_us;
  sum.send_buffer_limited_us += info.send_buffer_limited_us;
}

void Server::count_end(const Connection& connection) {
  // What it says stays in the sum; a socket that is reset still says it.
  if (const Result<sys::TcpInfo> info = sys::tcp_info(connection.fd())) add(counts_.tcp, *info);
}

void Server::send_sample() {
  ChildReport report;
  report.kind = ReportKind::Sample;
  report.server = counts_;
  Result<void> all_told;
  loop_->for_each([&](loop::Stream& stream) {
    if (stream.fd() == control_ || static_cast<Connection&>(stream).is_gone()) return;
    const Result<sys::TcpInfo> info = sys::tcp_info(stream.fd());
    if (info) {
      add(report.server.tcp, *info);
    } else {
      all_told = tl::unexpected(info.error());
    }
  });
  if (!all_told) return tell_fault("the server's sample: " + describe(all_told.error()));
  report.server.at_ns = sys::monotonic_ns();
  send_report(control_, report);
}

// ---------------------------------------------------------------- a connection

void Connection::received(std::span<const char> bytes) {
  if (gone_) return;
  take_asks(bytes);
  if (!gone_ && !under_way_) answer();
}

void Connection::take_asks(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), sizeof(Ask) - partial_bytes_);
    std::memcpy(partial_.data() + partial_bytes_, bytes.data(), size);
    bytes = bytes.subspan(size);
    partial_bytes_ += size;
    if (partial_bytes_ < sizeof(Ask)) return;
    partial_bytes_ = 0;
    Ask ask;
    std::memcpy(&ask, partial_.data(), sizeof ask);
    // Not our client, then: anybody on the machine can connect.
    if (ask.offset >= server_.file_bytes() || ask.count == 0) return break_off();
    PW_CHECK(waiting_ < ring_.size());
    ring_[(first_ + waiting_) % ring_.size()] = ask;
    ++waiting_;
  }
  if (waiting_ <= asks_per_receive || paused_) return;
  paused_ = true;
  server_.loop().pause_reading(*this);
}

void Connection::ended() {
  peer_ended_ = true;
  // One that has closed for good answers the bytes under way with a reset.
  if (!answering_ && waiting_ == 0) leave();
}

/// A turn: until nothing is asked for, the socket is full, or the turn is over.
void Connection::answer() {
  ByteCount sent;
  server_.resources();  // the time
  for (std::uint32_t answers = 0; sent < quantum && answers < answers_per_turn;) {
    if (!under_way_ && !begin_transfer()) return;
    const egress::StepResult result = egress::step(transfer_, quantum - sent);
    if (transfer_.path != &server_.path()) {
      // A bill for another path than the one that was asked for would be a lie.
      server_.tell_fault(std::string(server_.path().name) + " does not work on this file; " +
                         std::string(transfer_.path->name) + " was used instead");
      return break_off();
    }
    account(result);
    sent += result.moved;
    switch (result.status) {
      case egress::Status::Moved:
        continue;
      case egress::Status::Done:
        if (!end_transfer()) return;
        ++answers;
        continue;
      case egress::Status::WantWrite:
        server_.loop().await_writable(*this);
        return wait();
      case egress::Status::SourceTruncated:
        server_.tell_fault(shrank);
        return break_off();
      case egress::Status::SourceChanged:
        server_.tell_file_changed();
        return break_off();
      case egress::Status::PeerGone:
        return leave();
      case egress::Status::Failed:  // EIO, ENOMEM ... from the file or the socket
        server_.tell_fault("the server could not send: " + describe(result.error));
        return break_off();
      case egress::Status::Submitted:  // until woken()
        return wait();
      case egress::Status::WantPages:
        // Here and now: nobody else waits for this thread, and the reading is on this bill.
        if (const Result<void> read = egress::fetch_in_place(transfer_); !read) {
          server_.tell_fault("the server could not read: " + describe(read.error()));
          return break_off();
        }
        continue;
      case egress::Status::Unsupported:
        PW_CHECK(false);  // `copy` fits everything
    }
  }
  server_.loop().yield(*this);
  wait();
}

/// What the transfer waited for has come. We may be within another connection's step.
void Connection::woken(void* self) {
  Connection& connection = *static_cast<Connection*>(self);
  connection.server_.loop().yield(connection);
}

void Connection::account(const egress::StepResult& result) {
  ServerSample& counts = server_.counts();
  counts.sent_bytes += result.moved.value;
  counts.copied_bytes += result.copied.value;
}

/// The next stretch of the file that is asked for, up to its end. False when nothing is to be sent,
/// or the connection has ended.
bool Connection::begin_transfer() {
  const bool fresh = !answering_;
  if (fresh && !next_ask()) return false;
  // As `pagewire serve` looks at a file before each answer from it.
  if (!server_.file().unchanged()) {
    server_.tell_file_changed();
    break_off();
    return false;
  }
  const ByteCount stretch{std::min(current_.count, server_.file_bytes() - current_.offset)};
  std::size_t count = 0;
  if (fresh && current_.with_head != 0) {
    segments_[count++] =
        content::Segment::of_memory(std::string_view(answer_head.data(), answer_head.size()));
  }
  segments_[count++] =
      content::Segment::of_file(server_.file(), {FileOffset{current_.offset}, stretch});
  transfer_ = egress::Transfer{};
  transfer_.path = &server_.path();
  transfer_.transport = {.socket_fd = fd(), .state = &socket_state_};
  transfer_.resources = &server_.resources();
  transfer_.waker = {.call = woken, .self = this};
  transfer_.segments = std::span(segments_.data(), count);
  egress::prepare(transfer_);
  under_way_ = true;
  if (server_.path().fits(transfer_.segments, transfer_.transport)) return true;
  server_.tell_fault(std::string(server_.path().name) + " sends only " + server_.path().fits_only);
  break_off();
  return false;
}

bool Connection::next_ask() {
  if (waiting_ == 0) {
    if (peer_ended_) leave();
    return false;
  }
  current_ = ring_[first_];
  first_ = (first_ + 1) % ring_.size();
  --waiting_;
  answering_ = true;
  if (paused_ && waiting_ <= asks_per_receive) {
    paused_ = false;
    server_.loop().resume_reading(*this);
  }
  return true;
}

/// The stretch has gone. False when nothing more is asked for.
bool Connection::end_transfer() {
  const std::uint64_t stretch = segments_[transfer_.segments.size() - 1].slice.count.value;
  egress::finish(transfer_);
  transfer_.path = nullptr;
  under_way_ = false;
  current_.offset = 0;  // a stretch ends with the file, or with the ask
  if (current_.count != endless) current_.count -= stretch;
  if (current_.count > 0) return true;
  answering_ = false;
  ++server_.counts().answers;
  return waiting_ > 0 || peer_ended_;
}

/// Its answer did not go out in one turn: from now on the kernel queues only what the network needs
/// next (see server/respond.cpp).
void Connection::wait() {
  if (unsent_limited_) return;
  unsent_limited_ = true;
  // Fails only on a socket that has gone; the next step says so.
  static_cast<void>(sys::limit_unsent(fd(), unsent));
}

/// The client sees a reset.
void Connection::break_off() {
  server_.count_end(*this);
  gone_ = true;
  socket_state_.busy() ? sys::reset_now(fd()) : sys::abort_on_close(fd());
  leave();
}

/// The end. While the kernel still reads memory of ours for this socket, it stays open for the
/// completions (server/connection.h, Draining).
void Connection::leave() {
  if (!gone_) server_.count_end(*this);
  gone_ = true;
  egress::finish(transfer_);
  transfer_.path = nullptr;
  if (!socket_state_.busy()) return server_.loop().retire(*this);
  sys::finish_sending(fd());
  server_.loop().pause_reading(*this);
  server_.loop().set_deadline(*this, server_.loop().now_ms() + release_timeout_ms);
  notified();
}

void Connection::failed(Error) {
  gone_ ? notified() : leave();
}

/// Completions of MSG_ZEROCOPY. What the kernel copied after all is a copy like any other.
void Connection::notified() {
  server_.counts().copied_bytes += socket_state_.take_completions(fd()).copied.value;
  if (gone_ && !socket_state_.busy()) server_.loop().retire(*this);
}

void Connection::timed_out() {
  if (gone_) server_.loop().retire(*this);
}

}  // namespace

}  // namespace pagewire::bench
