// The live picture: readings at an interval, keys, and the window's size, in one loop of poll(2).
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <optional>

#include "sys/clock.h"
#include "top/fetch.h"
#include "top/screen.h"
#include "top/view.h"

namespace pagewire::top {

namespace {

constexpr std::int64_t patience_ms = 3'000;
constexpr std::size_t history_kept = 240;
constexpr std::array<std::int64_t, 7> intervals_ms{250, 500, 1'000, 2'000, 5'000, 10'000, 30'000};

std::int64_t now_ms() {
  return sys::monotonic_ns() / 1'000'000;
}

double realtime_s() {
  return static_cast<double>(sys::realtime_ns()) / 1e9;
}

/// SIGINT, SIGTERM and SIGHUP end the loop, so that the terminal is given back.
class EndSignals {
 public:
  EndSignals() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, number);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
    fd_ = sys::Fd(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  }
  ~EndSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  EndSignals(const EndSignals&) = delete;
  EndSignals& operator=(const EndSignals&) = delete;
  int fd() const { return fd_.get(); }
  /// Takes what came off: it would be delivered when the destructor lets signals in again.
  void take() {
    signalfd_siginfo came{};
    while (::read(fd_.get(), &came, sizeof came) > 0) {
    }
  }

 private:
  sigset_t before_{};
  sys::Fd fd_;
};

class Watch {
 public:
  explicit Watch(const Settings& settings)
      : settings_(settings), interval_ms_(settings.interval_ms) {
    view_.url = settings.target.url;
  }
  Outcome run();

 private:
  Outcome read_first();
  void read_more();
  void take(const std::string& body);
  void show_newest();
  void trouble(const std::string& why);
  bool press(Pressed pressed);
  bool press_letter(char letter);
  void change_interval(int step);
  void scroll(std::ptrdiff_t lines);
  void draw();
  int wait_ms() const;

  const Settings& settings_;
  std::int64_t interval_ms_;
  std::unique_ptr<Screen> screen_;
  std::optional<Fetch> fetch_;
  std::int64_t next_read_ms_ = 0;
  std::int64_t give_up_ms_ = 0;
  std::int64_t trouble_since_ms_ = 0;
  std::optional<Reading> last_;
  std::optional<Summary> newest_;
  std::vector<double> history_;   // of its throughput
  std::optional<Summary> shown_;  // the newest, but while paused
  View view_;
  std::size_t scrolled_ = 0;
};

/// Before the terminal is taken over: who mistyped the address wants a line, not a picture.
Outcome Watch::read_first() {
  fetch_.emplace(settings_.target);
  give_up_ms_ = now_ms() + patience_ms;
  while (!fetch_->over()) {
    const std::int64_t left_ms = give_up_ms_ - now_ms();
    if (left_ms <= 0) fetch_->give_up(fmt::format("no answer within {} s", patience_ms / 1'000));
    pollfd wanted = fetch_->wanted();
    ::poll(&wanted, 1, static_cast<int>(std::max<std::int64_t>(left_ms, 0)));
    fetch_->advance();
  }
  if (fetch_->state() == Fetch::State::Done) take(fetch_->body());
  const std::string why = fetch_->error();
  fetch_.reset();
  if (last_) {
    // A short first interval, so that there is something to see at once.
    constexpr std::int64_t first_ms = 300;
    next_read_ms_ = now_ms() + std::min(first_ms, interval_ms_);
    return {};
  }
  return tl::unexpected(
      fmt::format("cannot read {}: {}", settings_.target.url, why.empty() ? view_.trouble : why));
}

Outcome Watch::run() {
  if (Outcome first = read_first(); !first) return first;
  EndSignals signals;
  auto screen = Screen::open();
  if (!screen) return tl::unexpected(screen.error());
  screen_ = std::move(*screen);
  while (true) {
    draw();
    std::array<pollfd, 3> events{
        {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
         {.fd = signals.fd(), .events = POLLIN, .revents = 0},
         fetch_ ? fetch_->wanted() : pollfd{.fd = -1, .events = 0, .revents = 0}}};
    ::poll(events.data(), events.size(), wait_ms());  // EINTR: the window has another size
    if (events[1].revents != 0) {
      signals.take();
      return {};
    }
    while (true) {
      const Pressed pressed = screen_->pressed();
      if (pressed.key == Key::None) break;
      if (!press(pressed)) return {};
    }
    // The terminal has gone; without this poll(2) would say so again and again.
    if ((events[0].revents & (POLLHUP | POLLERR)) != 0) return {};
    read_more();
  }
}

int Watch::wait_ms() const {
  const std::int64_t until_ms = fetch_ ? give_up_ms_ : next_read_ms_;
  return static_cast<int>(std::max<std::int64_t>(until_ms - now_ms(), 0));
}

void Watch::read_more() {
  if (!fetch_) {
    if (now_ms() < next_read_ms_) return;
    next_read_ms_ = now_ms() + interval_ms_;
    give_up_ms_ = now_ms() + patience_ms;
    fetch_.emplace(settings_.target);
  }
  fetch_->advance();
  if (!fetch_->over() && now_ms() >= give_up_ms_) {
    fetch_->give_up(fmt::format("no answer within {} s", patience_ms / 1'000));
  }
  if (!fetch_->over()) return;
  if (fetch_->state() == Fetch::State::Done) {
    take(fetch_->body());
  } else {
    trouble(fetch_->error());
  }
  fetch_.reset();
  next_read_ms_ = std::max(next_read_ms_, now_ms());
}

void Watch::take(const std::string& body) {
  auto metrics = Exposition::parse(body);
  if (!metrics) return trouble(metrics.error());
  Reading reading{.metrics = std::move(*metrics), .at_ns = sys::monotonic_ns()};
  trouble_since_ms_ = 0;
  view_.trouble.clear();
  if (last_ && restarted(*last_, reading)) {
    // What it counted before says nothing about now.
    newest_.reset();
    history_.clear();
    view_.trouble = "the server was restarted; its counters begin anew";
  } else if (last_) {
    newest_ = summarize(*last_, reading, realtime_s());
    history_.push_back(newest_->gbit);
    if (history_.size() > history_kept) history_.erase(history_.begin());
  }
  last_ = std::move(reading);
  if (!view_.paused) show_newest();
}

void Watch::show_newest() {
  shown_ = newest_;
  view_.history = history_;
}

/// The last figures stay on the screen, under a line that says how old they are.
void Watch::trouble(const std::string& why) {
  if (trouble_since_ms_ == 0) trouble_since_ms_ = now_ms();
  view_.trouble = fmt::format("cannot read the metrics for {} s: {}; trying again",
                              (now_ms() - trouble_since_ms_) / 1'000, why);
}

/// False: the user wants to end it.
bool Watch::press(Pressed pressed) {
  const auto page = static_cast<std::ptrdiff_t>(screen_->rows() - 1);
  switch (pressed.key) {
    case Key::Letter:
      return press_letter(pressed.letter);
    case Key::Up:
      scroll(-1);
      break;
    case Key::Down:
      scroll(1);
      break;
    case Key::PageUp:
      scroll(-page);
      break;
    case Key::PageDown:
      scroll(page);
      break;
    case Key::Home:
      scrolled_ = 0;
      break;
    case Key::None:
    case Key::Other:
    case Key::Resized:  // draw() asks for the size each time
      break;
  }
  return true;
}

bool Watch::press_letter(char letter) {
  switch (letter) {
    case 'q':
    case 'Q':
      return false;
    case 's':
      view_.sort = static_cast<Sort>((static_cast<std::size_t>(view_.sort) + 1) % sorts);
      break;
    case 'r':
      view_.reversed = !view_.reversed;
      break;
    case 'p':
    case ' ':
      view_.paused = !view_.paused;
      if (!view_.paused) show_newest();
      break;
    case '+':
    case '=':
      change_interval(-1);
      break;
    case '-':
      change_interval(1);
      break;
    case 'h':
    case '?':
      view_.help = !view_.help;
      scrolled_ = 0;
      break;
    default:
      break;
  }
  return true;
}

/// To the next one of the list, in that direction.
void Watch::change_interval(int step) {
  if (step < 0) {
    const auto shorter = std::find_if(intervals_ms.rbegin(), intervals_ms.rend(),
                                      [this](std::int64_t ms) { return ms < interval_ms_; });
    if (shorter != intervals_ms.rend()) interval_ms_ = *shorter;
  } else {
    const auto longer = std::upper_bound(intervals_ms.begin(), intervals_ms.end(), interval_ms_);
    if (longer != intervals_ms.end()) interval_ms_ = *longer;
  }
  next_read_ms_ = std::min(next_read_ms_, now_ms() + interval_ms_);
}

void Watch::scroll(std::ptrdiff_t lines) {
  scrolled_ = static_cast<std::size_t>(
      std::max<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(scrolled_) + lines, 0));
}

void Watch::draw() {
  view_.columns = screen_->columns();
  view_.unicode = screen_->unicode();
  const std::vector<Line> lines = picture(shown_ ? &*shown_ : nullptr, view_);
  const std::size_t room = screen_->rows() - 1;
  scrolled_ = std::min(scrolled_, lines.size() > room ? lines.size() - room : 0);
  const std::string keys =
      fmt::format("q quit  h keys  p {}  s sort: {}{}  every {} s",
                  view_.paused ? "go on" : "pause", name(view_.sort),
                  view_.reversed ? " (reversed)" : "", static_cast<double>(interval_ms_) / 1e3);
  screen_->draw(std::span(lines).subspan(scrolled_), {{.text = keys, .ink = Ink::Faint}});
}

}  // namespace

Outcome watch(const Settings& settings) {
  return Watch(settings).run();
}

}  // namespace pagewire::top
