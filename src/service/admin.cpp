#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <optional>

#include "http/http.h"
#include "service/service.h"
#include "service/status_page.h"
#include "sys/text_file.h"
#include "sys/thread.h"

namespace pagewire::service {

namespace {

constexpr std::size_t connection_limit = 64;
constexpr std::int64_t timeout_ms = 5'000;

/// One admin client: a head, an answer, the end.
class AdminStream final : public loop::Stream {
 public:
  AdminStream(loop::Loop& loop, const AdminAnswers& answers, sys::Fd fd)
      : Stream(std::move(fd)), loop_(loop), answers_(answers) {}

  void received(std::span<const char> bytes) override;
  void ended() override {
    if (answer_.empty() || sent_ == answer_.size()) loop_.retire(*this);
  }
  void writable() override { send(); }
  void timed_out() override { loop_.retire(*this); }
  void failed(Error) override { loop_.retire(*this); }

 private:
  void answer(const http::Request& request);
  /// What some answers have besides.
  struct Extra {
    std::string_view policy = {};
    std::optional<std::int64_t> modified_s = {};
  };
  void answer_doctor(const http::Request& request);
  void compose(const http::Request& request, int status, std::string_view type,
               std::string_view body, const Extra& extra);
  void compose(const http::Request& request, int status, std::string_view type,
               std::string_view body) {
    compose(request, status, type, body, Extra{});
  }
  void send();

  loop::Loop& loop_;
  const AdminAnswers& answers_;
  std::string head_;
  std::string answer_;
  std::size_t sent_ = 0;
};

void AdminStream::received(std::span<const char> bytes) {
  if (!answer_.empty()) return;  // whatever comes behind the one request is dropped
  head_.append(bytes.data(), bytes.size());
  const http::HeadLimits limits;
  const http::HeadScan scan = http::scan_head(head_, 0, limits);
  if (scan.state == http::HeadScan::State::Incomplete) return;
  http::Request request;
  const bool whole = scan.state == http::HeadScan::State::Complete;
  const std::string_view head =
      std::string_view(head_).substr(scan.leading, scan.end - scan.leading);
  if (!whole || http::parse_head(head, limits, request).status != 0) {
    compose(request, 400, "text/plain; charset=utf-8", "malformed request\n");
  } else {
    answer(request);
  }
  send();
}

void AdminStream::answer(const http::Request& request) {
  constexpr std::string_view text = "text/plain; charset=utf-8";
  if (request.method != http::Method::Get && request.method != http::Method::Head) {
    return compose(request, 405, text, "GET or HEAD\n");
  }
  if (request.path == "/healthz") {
    const bool healthy = answers_.healthy();
    return compose(request, healthy ? 200 : 503, text, healthy ? "ok\n" : "draining\n");
  }
  if (request.path == "/metrics") {
    return compose(request, 200, "text/plain; version=0.0.4; charset=utf-8", answers_.metrics());
  }
  if (request.path == "/") {
    return compose(request, 200, "text/html; charset=utf-8", status_page(),
                   {.policy = status_page_policy()});
  }
  if (request.path == "/doctor.json") return answer_doctor(request);
  compose(request, 404, text, "/, /healthz, /metrics or /doctor.json\n");
}

/// The file as it is, whoever wrote it; null where there is none, or none that can be read.
void AdminStream::answer_doctor(const http::Request& request) {
  constexpr std::string_view type = "application/json";
  struct stat status {};
  const char* const name = answers_.doctor_report.c_str();
  const Result<std::string> report = sys::read_text(answers_.doctor_report);
  if (!report || ::stat(name, &status) != 0) return compose(request, 200, type, "null\n");
  compose(request, 200, type, *report, {.modified_s = status.st_mtim.tv_sec});
}

void AdminStream::compose(const http::Request& request, int status, std::string_view type,
                          std::string_view body, const Extra& extra) {
  std::array<char, 1024> buffer;
  http::HeadWriter head(buffer);
  head.status(status);
  head.field("Content-Type", type);
  head.field("Content-Length", body.size());
  head.field("Cache-Control", "no-store");
  head.field("Pagewire-Engine", answers_.engine);
  head.field("X-Content-Type-Options", "nosniff");
  if (!extra.policy.empty()) head.field("Content-Security-Policy", extra.policy);
  if (extra.modified_s) {
    std::array<char, http::http_date_size> date;
    http::format_http_date(*extra.modified_s, date);
    head.field("Last-Modified", std::string_view(date.data(), date.size()));
  }
  if (status == 405) head.field("Allow", "GET, HEAD");
  head.field("Connection", "close");
  head.end();
  answer_.assign(head.text());
  if (request.method != http::Method::Head) answer_.append(body);
}

void AdminStream::send() {
  while (sent_ < answer_.size()) {
    const Result<ByteCount> sent = sys::send_some(fd(), std::string_view(answer_).substr(sent_));
    if (!sent && sent.error().errno_value == EAGAIN) return loop_.await_writable(*this);
    if (!sent) return loop_.retire(*this);  // EPIPE, ECONNRESET: the client has gone
    sent_ += sent->value;
  }
  // The client closes; a close from here could turn into a reset if it is still sending.
  sys::finish_sending(fd());
}

}  // namespace

Admin::~Admin() {
  if (loop_ != nullptr) loop_->stop();
  if (thread_.joinable()) thread_.join();
}

tl::expected<void, StartError> Admin::open(const sys::Address& address) {
  const auto fail = [&](const Error& error) {
    // EADDRINUSE: often the admin listener of another pagewire, which nobody asked for by name.
    const char* const hint =
        error.errno_value == EADDRINUSE ? "; --admin takes another address, or off" : "";
    return tl::unexpected(StartError{"cannot listen on " + address.to_string() +
                                     " (admin): " + std::strerror(error.errno_value) + hint});
  };
  Result<std::unique_ptr<loop::Loop>> loop = loop::make_epoll_loop(loop::Settings{});
  if (!loop) return fail(loop.error());
  loop_ = std::move(*loop);
  Result<sys::Fd> listener = sys::listen_on(address, {.reuse_port = false});
  if (!listener) return fail(listener.error());
  listener_ = std::move(*listener);
  const Result<sys::Address> bound = sys::local_address(listener_.get());
  if (!bound) return fail(bound.error());
  address_ = *bound;
  if (Result<void> listening = loop_->listen(listener_.get(), *this); !listening) {
    return fail(listening.error());
  }
  open_spare();
  return {};
}

void Admin::start() {
  thread_ = std::thread([this] {
    sys::name_this_thread("pw-admin");
    loop_->run([this] { open_spare(); });
  });
}

void Admin::accepted(sys::Accepted accepted) {
  if (loop_->stream_count() >= connection_limit) return;  // closes it
  auto owned = std::make_unique<AdminStream>(*loop_, answers_, std::move(accepted.fd));
  AdminStream& stream = *owned;
  if (!loop_->attach(std::move(owned))) return;  // ENOMEM; it is closed already
  loop_->set_deadline(stream, loop_->now_ms() + timeout_ms);
}

/// EMFILE, ENFILE: the workers' clients hold all descriptors; the spare one serves this client, and
/// is taken again at the next tick after one came back. ENOBUFS, ENOMEM: the next tick tries again.
loop::AfterFailure Admin::accept_failed(Error) {
  if (!spare_.is_open()) return loop::AfterFailure::Pause;
  spare_.close();
  if (Result<sys::Accepted> taken = sys::accept_from(listener_.get())) accepted(std::move(*taken));
  return loop::AfterFailure::Pause;
}

void Admin::open_spare() {
  if (!spare_.is_open()) spare_ = sys::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace pagewire::service
