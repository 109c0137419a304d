// The state machine of one iperf3 test: what comes from the client, and what follows from it.
//
// Invariants: a message that does not belong to the state ends the test; nothing is sent on a data
// connection before TestRunning, and each is closed at TestEnd, as by iperf3's own server; what the
// results say is what the steps counted.
#include "bench/iperf3_test.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "bench/iperf3_peer.h"
#include "sys/clock.h"
#include "sys/tcp_tuning.h"

namespace pagewire::bench::iperf3 {

namespace {

constexpr double ns_per_s = 1e9;
constexpr std::int64_t ms_per_s = 1'000;

// A client that is stopped by Ctrl-C says so and closes everything: the reset of a data connection
// may come first.
constexpr std::int64_t last_words_ms = 300;

}  // namespace

Test::Test(Server& server, Peer& control, std::string cookie)
    : server_(server), control_(&control), cookie_(std::move(cookie)) {}

Test::~Test() = default;

void Test::start() {
  control_->become_control(*this);
  control_->set_timeout(server_.limits().parameters_ms);
  control_->send(message_bytes(Message::ParamExchange));
}

void Test::control_received(std::string& input) {
  bool taken = true;
  while (taken && state_ != State::Over && !input.empty()) {
    const bool json = state_ == State::Parameters || state_ == State::Results;
    taken = json ? take_json(input) : take_message(input);
  }
}

bool Test::take_json(std::string& input) {
  const Framed framed = read_framed(input);
  const bool parameters = state_ == State::Parameters;
  switch (framed.state) {
    case Framed::State::Incomplete:
      return false;
    case Framed::State::TooLong:
      fail({parameters ? ErrorNumber::ReceiveParams : ErrorNumber::ReceiveResults, EMSGSIZE,
            fmt::format("announced more than {} bytes of {}", json_limit_bytes,
                        parameters ? "parameters" : "results")});
      return false;
    case Framed::State::Complete:
      break;
  }
  const std::string json(framed.json);
  input.erase(0, framed.used);
  parameters ? begin_streams(json) : exchange_results(json);
  return true;
}

/// TestEnd in Running, IperfDone in Done, ClientTerminate at any time; nothing else.
bool Test::take_message(std::string& input) {
  const auto message = static_cast<Message>(input.front());
  input.erase(0, 1);
  if (message == Message::ClientTerminate) {
    complain("the client ended the test before its time");
    control_->leave({});
    end();
  } else if (message == Message::TestEnd && state_ == State::Running) {
    end_running();
  } else if (message == Message::IperfDone && state_ == State::Done) {
    control_->leave({});
    end();
  } else {
    fail({ErrorNumber::UnknownMessage, 0,
          fmt::format("unexpected message {}", static_cast<int>(message))});
  }
  return true;
}

// ---------------------------------------------------------------- Parameters, Streams

void Test::begin_streams(std::string_view json) {
  tl::expected<Parameters, Refusal> parsed = parse_parameters(json);
  if (!parsed)
    return fail(
        {parsed.error().number, parsed.error().errno_value, "refused: " + parsed.error().text});
  parameters_ = *std::move(parsed);
  // On the control connection first, which it does no harm: a client that cannot have it either
  // gives up as soon as it has a stream, and whether we see that or the stream first is chance.
  if (auto refusal = set_congestion(control_->fd())) return fail(*refusal);
  ration_.block_bytes = parameters_.block_bytes;
  ration_.rate_bits_per_s = parameters_.rate_bits_per_s;
  // The client starts to count when its own omitted time is over, a little before or after us: with
  // -O it alone ends a test of so many bytes.
  if (parameters_.omit_s == 0) ration_.left_bytes = bytes_to_send(parameters_);
  state_ = State::Streams;
  control_->set_timeout(server_.limits().streams_ms);
  control_->send(message_bytes(Message::CreateStreams));
}

void Test::add_stream(Peer& peer) {
  senders_.push_back(std::make_unique<StreamSender>(server_.source(), peer));
  peer.become_data(*this, *senders_.back());
  if (auto refusal = tune(peer.fd())) return fail(*refusal);
  if (senders_.size() == parameters_.streams) begin_running();
}

std::optional<Refusal> Test::set_congestion(int fd) const {
  if (parameters_.congestion.empty()) return std::nullopt;
  const Result<void> set = sys::set_congestion(fd, parameters_.congestion);
  if (set) return std::nullopt;
  // ENOENT: not in this kernel; EPERM: not for this user.
  return Refusal{ErrorNumber::SetCongestion, set.error().errno_value,
                 "refused: -C " + parameters_.congestion + ": " + describe(set.error())};
}

std::optional<Refusal> Test::tune(int fd) {
  if (parameters_.window_bytes > 0) {
    const Result<ByteCount> set = sys::set_send_buffer(fd, ByteCount{parameters_.window_bytes});
    // Smaller: net.core.wmem_max is.
    if (!set || set->value < parameters_.window_bytes) {
      return Refusal{ErrorNumber::BufferNotSet, 0, "refused: -w: net.core.wmem_max is less"};
    }
  }
  if (auto refusal = set_congestion(fd)) return refusal;
  if (parameters_.kernel_pacing_bits_per_s > 0) {
    if (Result<void> set = sys::limit_pacing_rate(fd, parameters_.kernel_pacing_bits_per_s / 8);
        !set) {
      return Refusal{ErrorNumber::SetPacing, set.error().errno_value,
                     "refused: --fq-rate: " + describe(set.error())};
    }
  }
  // A mark on packets changes nothing here; a socket that cannot have it sends without.
  if (parameters_.type_of_service > 0) {
    static_cast<void>(sys::set_type_of_service(fd, parameters_.type_of_service));
  }
  return std::nullopt;
}

// ---------------------------------------------------------------- Running

void Test::begin_running() {
  // The client numbers its streams as it connects them, and cookies may overtake one another.
  std::sort(senders_.begin(), senders_.end(),
            [](const auto& a, const auto& b) { return a->peer()->number() < b->peer()->number(); });
  state_ = State::Running;
  control_->send(message_bytes(Message::TestStart) + message_bytes(Message::TestRunning));
  running_since_ns_ = sys::monotonic_ns();
  begin_counting();
  omitting_ = parameters_.omit_s > 0;
  watch_running();
  for (const auto& sender : senders_) {
    if (state_ == State::Running) stream_turn(*sender);
  }
}

void Test::begin_counting() {
  omitting_ = false;
  counting_since_ns_ = sys::monotonic_ns();
  cpu_before_ = cpu_time();
  for (const auto& sender : senders_) sender->begin_counting();
}

void Test::stream_turn(StreamSender& sender) {
  if (state_ != State::Running || sender.peer() == nullptr) return;
  tick();
  const StreamSender::Turn turn = sender.turn(ration_);
  loop::Loop& loop = server_.loop();
  switch (turn.after) {
    case StreamSender::After::Yield:
      return loop.yield(*sender.peer());
    case StreamSender::After::AwaitWritable:
      return loop.await_writable(*sender.peer());
    case StreamSender::After::Wait:
      return loop.set_deadline(*sender.peer(), loop.now_ms() + 1);  // the next tick
    case StreamSender::After::AwaitOperation:
    case StreamSender::After::Spent:
      return;
    case StreamSender::After::Ended:
      return stream_ended(turn.ended_by);
  }
}

/// Is the omitted time over?
void Test::tick() {
  if (state_ != State::Running || !omitting_) return;
  const auto omit_ns = static_cast<std::int64_t>(parameters_.omit_s) * 1'000'000'000;
  if (sys::monotonic_ns() - running_since_ns_ >= omit_ns) begin_counting();
}

void Test::stream_ended(const egress::StepResult& result) {
  if (result.status != egress::Status::PeerGone) {
    // The file: iperf3 has no word for it but that a stream could not be written.
    const int error = result.error.errno_value != 0 ? result.error.errno_value : ESTALE;
    return fail({ErrorNumber::StreamWrite, error, why_ended(result)});
  }
  stream_lost_ = true;
  control_->set_timeout(last_words_ms);
}

/// Its data connection has ended or broken. After TestEnd that is as it should be.
void Test::stream_gone(StreamSender& sender) {
  sender.peer_gone();
  if (state_ != State::Streams && state_ != State::Running) return;
  stream_lost_ = true;
  control_->set_timeout(last_words_ms);
}

void Test::watch_running() {
  acknowledged_before_ = acknowledged_bytes();
  std::int64_t wait_ms = server_.limits().stall_ms;
  const bool by_time = parameters_.time_s > 0;
  if (by_time) {
    const auto promised_ms =
        static_cast<std::int64_t>(parameters_.omit_s + parameters_.time_s) * ms_per_s;
    const std::int64_t since_ms = (sys::monotonic_ns() - running_since_ns_) / 1'000'000;
    const std::int64_t left_ms = promised_ms + server_.limits().after_time_ms - since_ms;
    wait_ms = std::clamp<std::int64_t>(left_ms, 1, wait_ms);
  }
  control_->set_timeout(wait_ms);
}

void Test::control_timed_out() {
  const auto silent = [this](const char* what, std::int64_t ms) {
    fail({ErrorNumber::Idle, 0, fmt::format("{} for {} s", what, ms / ms_per_s)});
  };
  const Limits& limits = server_.limits();
  if (stream_lost_) return fail({ErrorNumber::StreamClosed, 0, "a data connection has closed"});
  switch (state_) {
    case State::Parameters:
      return silent("no parameters", limits.parameters_ms);
    case State::Streams:
      return silent("not all of its data connections came", limits.streams_ms);
    case State::Running:
      break;
    case State::Results:
      return silent("no results", limits.results_ms);
    case State::Done:
      return silent("no word that it is done", limits.results_ms);
    case State::Over:
      return;
  }
  const double promised_s = static_cast<double>(parameters_.omit_s + parameters_.time_s);
  const double since_s = static_cast<double>(sys::monotonic_ns() - running_since_ns_) / ns_per_s;
  const double grace_s = static_cast<double>(limits.after_time_ms) / ms_per_s;
  if (parameters_.time_s > 0 && since_s >= promised_s + grace_s) {
    return fail({ErrorNumber::Idle, 0, "did not end its test in time"});
  }
  const bool paced = std::any_of(senders_.begin(), senders_.end(),
                                 [](const auto& sender) { return sender->waits_for_pace(); });
  if (!paced && acknowledged_bytes() == acknowledged_before_) {
    return silent("took nothing", limits.stall_ms);
  }
  watch_running();
}

// ---------------------------------------------------------------- Results, Done

void Test::end_running() {
  ended_ns_ = sys::monotonic_ns();
  const CpuTime cpu = cpu_time();
  const double seconds = counted_seconds();
  if (seconds > 0) {
    results_.cpu_user_percent = 100 * (cpu.user_s - cpu_before_.user_s) / seconds;
    results_.cpu_system_percent = 100 * (cpu.system_s - cpu_before_.system_s) / seconds;
  }
  results_.seconds = seconds;
  const Peer* const first = senders_.front()->peer();
  if (first != nullptr) results_.congestion = sys::congestion_of(first->fd()).value_or("");
  for (const auto& sender : senders_) {
    results_.streams.push_back(
        {.bytes = sender->counted_bytes(), .retransmits = sender->counted_retransmits()});
    sender->stop();
    // Before our next word: the client goes on reading whole blocks, without a limit of time, until
    // it has one or the end of the stream.
    if (Peer* const peer = sender->peer()) peer->close();
    sender->peer_gone();
  }
  state_ = State::Results;
  stream_lost_ = false;
  control_->set_timeout(server_.limits().results_ms);
  control_->send(message_bytes(Message::ExchangeResults));
}

void Test::exchange_results(std::string_view json) {
  const tl::expected<std::uint64_t, std::string> received = received_bytes(json);
  if (!received) return fail({ErrorNumber::ReceiveResults, EINVAL, received.error()});
  const std::string line = said(fmt::format("the client received {} bytes", *received));
  server_.source().say(line);
  if (parameters_.wants_output) results_.output = line + "\n";
  state_ = State::Done;
  control_->set_timeout(server_.limits().results_ms);
  control_->send(framed(to_json(results_)) + message_bytes(Message::DisplayResults));
}

std::string Test::said(const std::string& received) const {
  std::uint64_t retransmits = 0;
  bool known = true;
  for (const StreamResult& stream : results_.streams) {
    known = known && stream.retransmits.has_value();
    retransmits += stream.retransmits.value_or(0);
  }
  const Amount amount{.bytes = counted_bytes(), .seconds = results_.seconds};
  return fmt::format("{}: {} by {} ({} bytes), iperf3 test, {} stream{}, {} retransmits; {}",
                     control_->name(), describe(amount), senders_.front()->path_used().name,
                     amount.bytes, senders_.size(), senders_.size() == 1 ? "" : "s",
                     known ? std::to_string(retransmits) : "unknown", received);
}

// ---------------------------------------------------------------- ends before its time

void Test::control_gone(const std::string& why) {
  complain(why + (state_ == State::Done ? " before it said that it was done" : " in its test"));
  control_->drop();
  end();
}

void Test::stop() {
  complain("stopped");
  control_->leave(message_bytes(Message::ServerTerminate));
  end();
}

void Test::fail(const Refusal& refusal) {
  complain(refusal.text);
  control_->leave(error_bytes(refusal));
  end();
}

void Test::complain(const std::string& what) {
  std::string line = control_->name() + ": " + what;
  if (state_ == State::Running) {
    ended_ns_ = sys::monotonic_ns();
    line += ", after " + describe(Amount{.bytes = counted_bytes(), .seconds = counted_seconds()});
  }
  server_.source().complain(line);
}

void Test::end() {
  state_ = State::Over;
  for (const auto& sender : senders_) {
    sender->stop();
    if (Peer* const peer = sender->peer()) peer->drop();
    sender->peer_gone();
  }
  server_.test_over();
}

// ---------------------------------------------------------------- figures

double Test::counted_seconds() const {
  return static_cast<double>(ended_ns_ - counting_since_ns_) / ns_per_s;
}

std::uint64_t Test::counted_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& sender : senders_) sum += sender->counted_bytes();
  return sum;
}

std::uint64_t Test::acknowledged_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& sender : senders_) sum += sender->acknowledged_bytes();
  return sum;
}

Test::CpuTime Test::cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return {.user_s = seconds(usage.ru_utime), .system_s = seconds(usage.ru_stime)};
}

}  // namespace pagewire::bench::iperf3
