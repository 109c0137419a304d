// One look: two readings and what lies between them.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "sys/clock.h"
#include "top/fetch.h"
#include "top/json.h"
#include "top/view.h"

namespace pagewire::top {

namespace {

constexpr std::int64_t patience_ms = 5'000;

std::int64_t now_ms() {
  return sys::monotonic_ns() / 1'000'000;
}

tl::expected<Reading, std::string> read_now(const Target& target) {
  const auto failed = [&](const std::string& why) {
    return tl::unexpected(fmt::format("cannot read {}: {}", target.url, why));
  };
  Fetch fetch(target);
  const std::int64_t deadline_ms = now_ms() + patience_ms;
  while (!fetch.over()) {
    const std::int64_t left_ms = deadline_ms - now_ms();
    if (left_ms <= 0) return failed(fmt::format("no answer within {} s", patience_ms / 1'000));
    pollfd wanted = fetch.wanted();
    ::poll(&wanted, 1, static_cast<int>(left_ms));
    fetch.advance();
  }
  if (fetch.state() == Fetch::State::Failed) return failed(fetch.error());
  auto metrics = Exposition::parse(fetch.body());
  if (!metrics) return failed(metrics.error());
  return Reading{.metrics = std::move(*metrics), .at_ns = sys::monotonic_ns()};
}

std::string plain_text(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) {
    for (const Piece& piece : line) text += piece.text;
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace

Outcome once(const Settings& settings, Format format, std::size_t columns, std::string& text) {
  const auto before = read_now(settings.target);
  if (!before) return tl::unexpected(before.error());
  ::usleep(static_cast<useconds_t>(settings.interval_ms * 1'000));
  const auto after = read_now(settings.target);
  if (!after) return tl::unexpected(after.error());
  if (restarted(*before, *after)) {
    return tl::unexpected(settings.target.url + ": the server was restarted between two readings");
  }
  const double now_s = static_cast<double>(sys::realtime_ns()) / 1e9;
  const Summary summary = summarize(*before, *after, now_s);
  switch (format) {
    case Format::Text:
      text += plain_text(picture(&summary, {.columns = columns, .url = settings.target.url}));
      break;
    case Format::Json:
      text += to_json(summary, settings.target.url);
      break;
  }
  return {};
}

}  // namespace pagewire::top
