#include "top/fetch.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>

#include "sys/socket.h"

namespace pagewire::top {

namespace {

constexpr std::string_view default_path = "/metrics";

/// The Content-Length of a head in any case of letters; absent when it has none.
std::optional<std::size_t> content_length(std::string_view head) {
  std::string lower(head);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::string_view field = "\r\ncontent-length:";
  const std::size_t at = lower.find(field);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t digits =
      std::min(lower.find_first_not_of(' ', at + field.size()), lower.size());
  std::size_t length = 0;
  const auto [end, error] =
      std::from_chars(lower.data() + digits, lower.data() + lower.size(), length);
  if (error != std::errc()) return std::nullopt;
  return length;
}

}  // namespace

tl::expected<Target, std::string> parse_target(std::string_view text) {
  const auto wrong = [text](std::string_view why) {
    return tl::unexpected(fmt::format("\"{}\" {}", text, why));
  };
  std::string_view rest = text;
  if (rest.starts_with("https://")) return wrong("is https; the admin listener speaks http");
  if (rest.starts_with("http://")) rest.remove_prefix(7);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  Target target;
  target.path = rest.substr(slash);
  if (target.path.empty() || target.path == "/") target.path = default_path;
  std::string_view host = rest.substr(0, slash);
  const std::size_t colon = host.rfind(':');
  const bool bracketed = host.starts_with('[');
  const std::size_t bracket = host.find(']');
  if (bracketed && bracket == std::string_view::npos) return wrong("has a bracket too few");
  if (colon != std::string_view::npos && (!bracketed || colon > bracket)) {
    target.port = host.substr(colon + 1);
    host = host.substr(0, colon);
  } else if (!host.empty() && host.find_first_not_of("0123456789") == std::string_view::npos) {
    target.port = host;
    host = {};
  } else {
    target.port = "9180";
  }
  if (bracketed) host = host.substr(1, bracket - 1);
  target.host = host.empty() ? "127.0.0.1" : host;
  unsigned port = 0;
  const char* const port_end = target.port.data() + target.port.size();
  const auto [end, error] = std::from_chars(target.port.data(), port_end, port);
  if (error != std::errc() || end != port_end || port == 0 || port > 65'535) {
    return wrong("has no port from 1 to 65535");
  }
  for (const char c : text) {  // it goes into a request
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return wrong("has a blank in it");
  }
  const bool is_ipv6 = target.host.find(':') != std::string::npos;
  target.url = fmt::format(fmt::runtime(is_ipv6 ? "http://[{}]:{}{}" : "http://{}:{}{}"),
                           target.host, target.port, target.path);
  return target;
}

tl::expected<void, std::string> look_up(Target& target) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &found);
  if (error != 0) {
    return tl::unexpected(
        fmt::format("cannot find the host {}: {}", target.host, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, ::freeaddrinfo);
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    sockaddr_storage raw{};
    std::memcpy(&raw, each->ai_addr, each->ai_addrlen);
    target.addresses.push_back(sys::Address::from_raw(raw, each->ai_addrlen));
  }
  return {};
}

Fetch::Fetch(const Target& target) : target_(target) {
  const bool is_ipv6 = target.host.find(':') != std::string::npos;
  request_ = fmt::format(fmt::runtime(is_ipv6 ? "GET {} HTTP/1.0\r\nHost: [{}]:{}\r\n\r\n"
                                              : "GET {} HTTP/1.0\r\nHost: {}:{}\r\n\r\n"),
                         target.path, target.host, target.port);
  connect_next();
}

/// To the next address of the host: "localhost" may be ::1 first, where nobody listens.
void Fetch::connect_next() {
  state_ = State::Connecting;
  while (next_address_ < target_.addresses.size()) {
    const sys::Address& address = target_.addresses[next_address_++];
    socket_ =
        sys::Fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_.is_open()) {  // EMFILE; EAFNOSUPPORT: no IPv6 here
      error_ = std::strerror(errno);
      continue;
    }
    if (::connect(socket_.get(), address.raw(), address.raw_size()) == 0) {
      state_ = State::Sending;
      return;
    }
    if (errno == EINPROGRESS) return;
    error_ = std::strerror(errno);  // ECONNREFUSED, ENETUNREACH
  }
  give_up(error_);
}

void Fetch::check_connected() {
  const int error = sys::take_error(socket_.get());
  if (error == 0) {
    state_ = State::Sending;
    return;
  }
  error_ = std::strerror(error);  // ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH
  connect_next();
}

pollfd Fetch::wanted() const {
  const short events = state_ == State::Receiving ? POLLIN : POLLOUT;
  return {.fd = over() ? -1 : socket_.get(), .events = events, .revents = 0};
}

void Fetch::advance() {
  pollfd now = wanted();
  if (over() || ::poll(&now, 1, 0) <= 0) return;
  if (state_ == State::Connecting) check_connected();
  if (state_ == State::Sending) send_request();
  if (state_ == State::Receiving) receive();
}

void Fetch::give_up(std::string why) {
  state_ = State::Failed;
  error_ = std::move(why);
  socket_.close();
}

void Fetch::send_request() {
  while (sent_ < request_.size()) {
    const Result<ByteCount> sent =
        sys::send_some(socket_.get(), std::string_view(request_).substr(sent_));
    if (!sent) {
      if (sent.error().errno_value == EAGAIN) return;
      return give_up(std::strerror(sent.error().errno_value));  // EPIPE, ECONNRESET
    }
    sent_ += sent->value;
  }
  state_ = State::Receiving;
}

void Fetch::receive() {
  std::array<char, 64 * kib> buffer;
  while (true) {
    const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n == 0) return finish();
    if (n < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR) continue;
      return give_up(std::strerror(errno));  // ECONNRESET: the server was stopped meanwhile
    }
    text_.append(buffer.data(), static_cast<std::size_t>(n));
    if (text_.size() > most_bytes) return give_up("the answer is longer than metrics are");
  }
}

/// The server has sent its FIN: what came must be a whole answer with status 200.
void Fetch::finish() {
  const std::size_t end = text_.find("\r\n\r\n");
  if (!text_.starts_with("HTTP/1.") || end == std::string::npos) {
    return give_up(text_.empty() ? "the connection was closed without an answer"
                                 : "the answer is not HTTP");
  }
  const std::string head = text_.substr(0, end);
  const std::string status = head.substr(std::min<std::size_t>(9, head.size()), 3);
  if (status != "200") {
    return give_up(fmt::format("the answer has status {}; is this an admin listener?", status));
  }
  text_.erase(0, end + 4);
  const std::optional<std::size_t> length = content_length(head);
  if (length && *length != text_.size()) return give_up("the answer broke off");
  state_ = State::Done;
  socket_.close();
}

}  // namespace pagewire::top
