#include "relay/mirror_sink.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "relay/mirror.h"
#include "relay/relay.h"
#include "sys/socket.h"

namespace pagewire::relay {

namespace {

/// A recorder that acknowledges nothing for so long is connected to anew.
constexpr unsigned dead_recorder_ms = 30'000;

/// By name or number. This thread may wait for a resolver; no other waits for it.
std::vector<sys::Address> addresses_of(const std::string& target, const LookUp& look_up) {
  const auto parsed = parse_upstream(target);
  if (!parsed) return {};
  if (parsed->address) return {*parsed->address};
  return look_up(parsed->name).addresses;
}

Result<void> wait_connected(int fd, MirrorSink::Patience patience) {
  pollfd waiting[] = {{.fd = fd, .events = POLLOUT, .revents = 0},
                      {.fd = patience.alarm_fd, .events = POLLIN, .revents = 0}};
  if (::poll(waiting, 2, patience.wait_ms) <= 0 || waiting[0].revents == 0) {
    return failure("connect", ETIMEDOUT);
  }
  const int error = sys::take_error(fd);
  if (error != 0) return failure("connect", error);  // ECONNREFUSED, EHOSTUNREACH
  return {};
}

/// Who names a folder or a device would look there, and not for NAME.1 beside it.
Result<void> check_target(const std::string& name) {
  struct stat found = {};
  if (::stat(name.c_str(), &found) != 0 || S_ISREG(found.st_mode)) return {};
  return failure("open", S_ISDIR(found.st_mode) ? EISDIR : EEXIST);
}

}  // namespace

bool is_recorder(std::string_view target) {
  const std::size_t colon = target.rfind(':');
  if (colon == target.npos || colon == 0 || target.find('/') != target.npos) return false;
  const std::string_view port = target.substr(colon + 1);
  return !port.empty() && port.size() <= 5 &&
         port.find_first_not_of("0123456789") == std::string_view::npos;
}

MirrorSink::MirrorSink(std::string target, LookUp look_up)
    : target_(std::move(target)),
      name_(target_),
      look_up_(std::move(look_up)),
      is_file_(!is_recorder(target_)) {}

Result<void> MirrorSink::open_next(Patience patience) {
  return is_file_ ? create_file() : connect_to_recorder(patience);
}

Result<void> MirrorSink::create_file() {
  if (auto checked = check_target(target_); !checked) return checked;
  for (;;) {
    std::string name = next_number_ == 0 ? target_ : target_ + "." + std::to_string(next_number_);
    sys::Fd file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600));
    if (!file.is_open() && errno != EEXIST) return last_error("open");
    ++next_number_;
    if (!file.is_open()) continue;  // of an earlier run: never touched
    fd_ = std::move(file);
    name_ = std::move(name);
    position_ = 0;
    return {};
  }
}

Result<void> MirrorSink::connect_to_recorder(Patience patience) {
  Result<void> done = failure("getaddrinfo", EHOSTUNREACH);
  for (const sys::Address& address : addresses_of(target_, look_up_)) {
    Result<sys::Fd> fd = sys::connect_to(address, {});
    done = fd ? wait_connected(fd->get(), patience) : tl::unexpected(fd.error());
    if (done &&
        sys::is_connected_to_itself(fd->get(), address)) {  // nobody listens: both ends are ours
      sys::abort_on_close(fd->get());                       // TIME_WAIT would keep the port
      done = failure("connect", ECONNREFUSED);
    }
    if (!done) continue;
    // Without these a recorder that was unplugged would be believed in for minutes.
    const int on = 1;
    ::setsockopt(fd->get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)sys::set_user_timeout(fd->get(), dead_recorder_ms);
    (void)sys::set_no_delay(fd->get());
    fd_ = std::move(*fd);
    position_ = 0;
    return {};
  }
  return done;
}

Result<ByteCount> MirrorSink::write(std::span<const unsigned char> bytes, More more) {
  for (;;) {
    const ssize_t n =
        is_file_ ? ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position_))
                 : ::send(fd_.get(), bytes.data(), bytes.size(),
                          MSG_DONTWAIT | MSG_NOSIGNAL | (more == More::Yes ? MSG_MORE : 0));
    if (n < 0 && errno == EINTR) continue;  // a signal before the first byte
    if (n < 0) return last_error(is_file_ ? "pwrite" : "send");
    position_ += static_cast<std::uint64_t>(n);
    return ByteCount{static_cast<std::uint64_t>(n)};
  }
}

Result<ByteCount> MirrorSink::splice(const sys::Pipe& pipe, ByteCount count, More more) {
  const unsigned flags =
      SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more == More::Yes ? unsigned{SPLICE_F_MORE} : 0U);
  for (;;) {
    auto offset = static_cast<loff_t>(position_);
    const ssize_t n = ::splice(pipe.read_end.get(), nullptr, fd_.get(),
                               is_file_ ? &offset : nullptr, count.value, flags);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return last_error("splice");
    position_ += static_cast<std::uint64_t>(n);
    return ByteCount{static_cast<std::uint64_t>(n)};
  }
}

void MirrorSink::cut_to(std::uint64_t size_bytes) {
  // Making a file shorter needs no room; EIO: the disk is broken, and the reader sees a torn end.
  (void)!::ftruncate(fd_.get(), static_cast<off_t>(size_bytes));
  position_ = size_bytes;
}

void MirrorSink::overwrite(std::uint64_t at, std::span<const unsigned char> bytes) {
  // EIO, or ENOSPC where a filesystem copies on write: the reader then sees a torn record.
  (void)!::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
}

}  // namespace pagewire::relay
