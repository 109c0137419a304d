// The file of `bench send` and one connection's walk through it, by egress::step.
//
// Invariant: a transfer's OpenFile has the status that the file had when the connection came, so
// the last look of egress::step tells whether it was changed since.
// Rests on fstat(2), fcntl(2) F_DUPFD_CLOEXEC, TCP_NOTSENT_LOWAT (tcp(7)).
#include "bench/send_source.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>

#include "base/check.h"
#include "bench/format_number.h"
#include "bench/source_file.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace pagewire::bench {

namespace {

constexpr std::size_t scratch_bytes = 256 * kib;
constexpr ByteCount unsent_limit{256 * kib};

tl::unexpected<std::string> cannot_send(const std::string& file, const std::string& why) {
  return tl::unexpected("cannot send " + file + ": " + why);
}

}  // namespace

tl::expected<std::unique_ptr<SendSource>, std::string> SendSource::open(
    const SendSettings& settings, const SendHooks& hooks) {
  if (const egress::PathReport report = egress::probe_path(*settings.path);
      report.state != egress::PathState::Usable) {
    return tl::unexpected(std::string(settings.path->name) + " is " + report.describe());
  }
  if (settings.zeros.value > 0) {
    tl::expected<SourceFile, CannotRun> zeros = open_zeros(settings.zeros);
    if (!zeros) return tl::unexpected(zeros.error().text);
    content::FileRef file(new content::OpenFile(std::move(zeros->fd), zeros->status));
    return std::make_unique<SendSource>(settings, hooks, std::move(file));
  }
  // O_NONBLOCK: a FIFO must not stop us; it is refused below.
  sys::Fd fd(::open(settings.file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.is_open()) return cannot_send(settings.file, std::strerror(errno));  // as open(2)
  const Result<sys::FileStatus> status = sys::status_of(fd.get());
  if (!status) return cannot_send(settings.file, std::strerror(status.error().errno_value));
  if (status->type != sys::FileType::Regular) {
    return cannot_send(settings.file, "not a regular file");
  }
  auto source = std::make_unique<SendSource>(
      settings, hooks, content::FileRef(new content::OpenFile(std::move(fd), *status)));
  if (Result<void> ready = egress::equip(*settings.path, source->resources()); !ready) {
    return tl::unexpected(std::string(settings.path->name) +
                          " is not available: " + pagewire::describe(ready.error()));
  }
  return source;
}

SendSource::SendSource(const SendSettings& settings, const SendHooks& hooks, content::FileRef file)
    : settings_(settings),
      hooks_(hooks),
      path_(*settings.path),
      file_(std::move(file)),
      scratch_(scratch_bytes),
      masters_(egress::make_master_pipes()),
      resources_{.pipes = pipes_,
                 .scratch = scratch_,
                 .masters = masters_.get(),
                 .lanes = &lanes_,
                 .residency = {.on = true},
                 .zero_copy = {.limits = {.copied_streak = 0}}} {}  // the path was asked for

content::FileRef SendSource::file_now() {
  if (file_->unchanged()) return file_;
  // Transfers that are under way keep the OpenFile with the old status, and will see that it
  // changed. Both fail when descriptors have run out, or the filesystem has gone: then the old one
  // is sent from, and its last look says what is wrong.
  const Result<sys::FileStatus> status = sys::status_of(file_->fd());
  sys::Fd duplicate(::fcntl(file_->fd(), F_DUPFD_CLOEXEC, 0));
  if (status && duplicate.is_open()) {
    file_ = content::FileRef(new content::OpenFile(std::move(duplicate), *status));
  }
  return file_;
}

std::string SendSource::describe() const {
  return fmt::format("{} ({}) by {}", settings_.zeros.value > 0 ? zero_device : settings_.file,
                     format_size(static_cast<double>(file_->status().size.value)), path_.name);
}

void SendSource::note_path_used(const egress::Path& used) {
  if (fallback_told_ || &used == &path_) return;
  fallback_told_ = true;
  complain(fmt::format("{} cannot send this file here: going on by {}", path_.name, used.name));
}

FilePump::FilePump(SendSource& source, int socket_fd, const egress::Waker& waker)
    : source_(source), socket_fd_(socket_fd), waker_(waker), file_(source.file_now()) {
  if (file_bytes() > 0) {
    segment_ = content::Segment::of_file(*file_.get(), {FileOffset{}, ByteCount{file_bytes()}});
  }
  rewind();
}

egress::StepResult FilePump::step(ByteCount most) {
  source_.resources().residency.now_ms = sys::monotonic_coarse_ms();
  egress::StepResult result = egress::step(transfer_, most);
  while (result.status == egress::Status::WantPages) {
    // Here and now: what waits for a disk meanwhile is this sender's alone.
    if (const Result<void> read = egress::fetch_in_place(transfer_); !read) {
      result = {.status = egress::Status::Failed, .moved = {}, .copied = {}, .error = read.error()};
    } else {
      result = egress::step(transfer_, most);
    }
  }
  sent_bytes_ += result.moved.value;
  if (transfer_.path != &source_.path()) source_.note_path_used(*transfer_.path);
  if (result.status == egress::Status::WantWrite && !unsent_limited_) {
    unsent_limited_ = true;
    // Fails only on a socket that has gone; the next step says so.
    static_cast<void>(sys::limit_unsent(socket_fd_, unsent_limit));
  }
  return result;
}

void FilePump::rewind() {
  // A path that could not do this file before will not be asked again.
  const egress::Path* path = transfer_.path != nullptr ? transfer_.path : &source_.path();
  egress::finish(transfer_);
  transfer_ = egress::Transfer{};
  transfer_.transport = {.socket_fd = socket_fd_, .state = &socket_state_};
  transfer_.resources = &source_.resources();
  transfer_.waker = waker_;
  if (file_bytes() > 0) transfer_.segments = {&segment_, 1};
  const bool fits = path->fits(transfer_.segments, transfer_.transport);
  transfer_.path = fits ? path : egress::paths().back();  // `copy` fits everything
  egress::prepare(transfer_);
}

void FilePump::stop() {
  egress::finish(transfer_);
}

std::string why_ended(const egress::StepResult& result) {
  switch (result.status) {
    case egress::Status::SourceTruncated:
      return "the file shrank while it was sent";
    case egress::Status::SourceChanged:
      return "the file changed while it was sent";
    case egress::Status::PeerGone:
      return std::strerror(result.error.errno_value);
    case egress::Status::Failed:
      return describe(result.error);
    case egress::Status::Moved:
    case egress::Status::WantWrite:
    case egress::Status::WantPages:
    case egress::Status::Submitted:
    case egress::Status::Done:
    case egress::Status::Unsupported:
      break;
  }
  PW_CHECK(false);  // those end no connection
  return {};
}

std::string describe(const Amount& amount) {
  const double megabytes = static_cast<double>(amount.bytes) / 1e6;
  // A clock that did not move between two calls measured nothing.
  if (amount.seconds <= 0)
    return fmt::format("{:.1f} MB in no time that could be measured", megabytes);
  const double rate = megabytes / amount.seconds;
  return fmt::format("{:.1f} MB in {:.{}f} s, {:.1f} MB/s, {:.2f} Gbit/s", megabytes,
                     amount.seconds, amount.seconds < 0.1 ? 4 : 2, rate, rate * 8 / 1e3);
}

}  // namespace pagewire::bench
