// verify_content: one answer, received as a client receives it, compared with the file byte by
// byte.
//
// In a process of its own, because the client's network may be another one than the parent's, and
// so that a stop is heard while it runs. The file is read by pread, which no path uses to send
// but `copy`; no position code is assumed, so any file can be compared.
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/asks.h"
#include "bench/child.h"
#include "bench/client_loop.h"
#include "bench/engine_messages.h"
#include "sys/clock.h"
#include "sys/file.h"

namespace pagewire::bench {

namespace {

constexpr std::size_t chunk_bytes = 256 * kib;
constexpr std::int64_t silence_limit_s = 8;  // shorter than the parent's patience
constexpr std::int64_t connect_limit_ms = 5'000;
constexpr std::int64_t report_every_ms = 500;

/// The child's part.
class Verifier {
 public:
  Verifier(const ClientSettings& settings, int file_fd, int control_fd)
      : settings_(settings), file_fd_(file_fd), control_fd_(control_fd) {}

  OrFault<void> run();

 private:
  OrFault<void> ask();
  OrFault<void> compare_head();
  OrFault<void> compare_file();
  OrFault<void> expect_end();
  OrFault<std::span<const char>> receive(std::size_t most);
  void report(ReportKind kind, std::uint64_t bytes);

  const ClientSettings& settings_;
  int file_fd_;
  int control_fd_;
  sys::Fd socket_;
  std::vector<char> received_ = std::vector<char>(chunk_bytes);
  std::vector<char> expected_ = std::vector<char>(chunk_bytes);
};

tl::unexpected<Fault> fault(std::string text) {
  return tl::unexpected(Fault{std::move(text)});
}

}  // namespace

OrFault<std::uint64_t> verify_content(const ClientSettings& client, int file_fd,
                                      const StopAsked& stop_asked) {
  if (client.file_bytes == 0) return fault("the file is empty: there is nothing to compare");
  const Network* const network = client.network;
  const ChildPlan plan{.role = "verifier",
                       .network_namespace = network ? &network->client_namespace : nullptr,
                       .cpu = client.cpu,
                       .file_fd = file_fd};
  OrFault<Child> child = start_child(plan, [&](sys::Fd control) {
    Verifier verifier(client, file_fd, control.get());
    if (const OrFault<void> done = verifier.run(); !done) {
      send_fault(control.get(), done.error().text);
    }
  });
  if (!child) return tl::unexpected(child.error());
  for (;;) {
    const OrFault<ChildReport> report = child->next_report(stop_asked);
    if (!report) return tl::unexpected(report.error());
    if (stop_asked && stop_asked()) return fault("stopped");
    if (report->kind == ReportKind::Verified) return report->verified_bytes;
  }
}

namespace {

OrFault<void> Verifier::run() {
  if (OrFault<void> asked = ask(); !asked) return asked;
  if (settings_.mode == Mode::Request) {
    if (OrFault<void> compared = compare_head(); !compared) return compared;
  }
  if (OrFault<void> compared = compare_file(); !compared) return compared;
  if (OrFault<void> ended = expect_end(); !ended) return ended;
  report(ReportKind::Verified, settings_.file_bytes);
  return {};
}

OrFault<void> Verifier::ask() {
  const auto failed = [this](const Error& error) {
    return fault("the client cannot connect to " + settings_.server.to_string() + ": " +
                 describe(error));
  };
  Result<sys::Fd> connected =
      connect_to(settings_.server, sys::monotonic_coarse_ms() + connect_limit_ms);
  if (!connected) return failed(connected.error());
  socket_ = std::move(*connected);
  const timeval limit{.tv_sec = silence_limit_s, .tv_usec = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const Ask ask{.offset = 0,
                .count = settings_.file_bytes,
                .with_head = settings_.mode == Mode::Request ? 1U : 0U};
  if (::send(socket_.get(), &ask, sizeof ask, MSG_NOSIGNAL) != sizeof ask) {
    return failed(last_error("send").value());  // EPIPE, ECONNRESET
  }
  // Behind the answer must come the end, and no byte more.
  ::shutdown(socket_.get(), SHUT_WR);
  return {};
}

/// The next bytes, at least one.
OrFault<std::span<const char>> Verifier::receive(std::size_t most) {
  for (;;) {
    const std::size_t size = std::min(most, received_.size());
    const ssize_t n = ::recv(socket_.get(), received_.data(), size, 0);
    if (n > 0) return std::span<const char>(received_.data(), static_cast<std::size_t>(n));
    if (n == 0) return fault("the server closed a connection: end of the stream");
    if (errno == EINTR) continue;  // stopped and continued
    // EAGAIN: SO_RCVTIMEO has passed.
    if (errno == EAGAIN) return fault("the server sent nothing for 8 s");
    return fault(std::string("the server closed a connection: ") + std::strerror(errno));
  }
}

OrFault<void> Verifier::compare_head() {
  for (std::size_t done = 0; done < answer_head.size();) {
    const OrFault<std::span<const char>> got = receive(answer_head.size() - done);
    if (!got) return tl::unexpected(got.error());
    const auto [wrong, right] = std::mismatch(got->begin(), got->end(), &answer_head[done]);
    if (wrong != got->end()) {
      const auto at = done + static_cast<std::size_t>(wrong - got->begin());
      return fault("byte " + std::to_string(at) + " of the answer's head arrived wrong");
    }
    done += got->size();
  }
  return {};
}

OrFault<void> Verifier::compare_file() {
  std::int64_t next_report_ms = sys::monotonic_coarse_ms() + report_every_ms;
  for (std::uint64_t done = 0; done < settings_.file_bytes;) {
    const OrFault<std::span<const char>> got = receive(settings_.file_bytes - done);
    if (!got) return tl::unexpected(got.error());
    const std::span<char> expected = std::span(expected_).first(got->size());
    const Result<ByteCount> read = sys::read_at(file_fd_, FileOffset{done}, expected);
    if (!read) return fault("the file: " + describe(read.error()));
    if (read->value < expected.size()) return fault("the file shrank while it was compared");
    const auto [wrong, right] = std::mismatch(got->begin(), got->end(), expected.begin());
    if (wrong != got->end()) {
      const auto at = done + static_cast<std::uint64_t>(wrong - got->begin());
      return fault("byte " + std::to_string(at) + " of the file arrived wrong");
    }
    done += got->size();
    if (sys::monotonic_coarse_ms() < next_report_ms) continue;
    next_report_ms = sys::monotonic_coarse_ms() + report_every_ms;
    report(ReportKind::Progress, done);
  }
  return {};
}

OrFault<void> Verifier::expect_end() {
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), received_.data(), 1, 0);
    if (n == 0) return {};
    if (n > 0) return fault("the server sent more than the file");
    if (errno != EINTR) {  // ECONNRESET; EAGAIN: nothing for too long
      return fault(std::string("the server did not end the connection: ") + std::strerror(errno));
    }
  }
}

void Verifier::report(ReportKind kind, std::uint64_t bytes) {
  ChildReport report;
  report.kind = kind;
  report.verified_bytes = bytes;
  send_report(control_fd_, report);
}

}  // namespace

}  // namespace pagewire::bench
