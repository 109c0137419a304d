// What the other end and its buffers do: partial writes, slow readers, resets, half-closed peers;
// and a random mixture of everything. Every test runs over every registered path.
#include <random>

#include "harness.h"

namespace pagewire::test {
namespace {

constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";

class Socket : public EveryPath {};
INSTANTIATE_TEST_SUITE_P(Egress, Socket, ::testing::ValuesIn(egress::paths()), path_name);

TEST_P(Socket, TinyBuffersMakeEveryWritePartial) {
  const FileRef file = make_file(dir_.file("f"), 400'001);
  const std::string text = positions(0, 50'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {200'000}}),
                              Segment::of_memory(text), slice_of(file, {{199'999}, {200'002}})};
  for (const BufferSizes buffers : {BufferSizes{1, 1}, BufferSizes{8192, 1}, BufferSizes{1, 0}}) {
    const Outcome outcome = send_by(path(), segments, {.buffers = buffers});
    EXPECT_TRUE(outcome.all_right()) << buffers.send << ": " << ::testing::PrintToString(outcome);
    EXPECT_GT(outcome.calls, 5U);
  }
}

TEST_P(Socket, ASlowReaderGetsEveryByte) {
  const FileRef file = make_file(dir_.file("f"), 300'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{1}, {299'999}})};
  const SendOptions options{.buffers = {.send = 20'000, .receive = 4000},
                            .habits = {.chunk = 3001, .pause = std::chrono::milliseconds(1)}};
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

TEST_P(Socket, AResetEndsTheTransferAsPeerGone) {
  const FileRef file = make_file(dir_.file("f"), 20 * mib);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {20 * mib}})};
  for (const std::uint64_t after : {0UL, 1UL, 100'000UL, 5 * mib}) {
    const SendOptions options{.buffers = {.send = 0, .receive = 65536},
                              .habits = {.chunk = 10'000, .reset_after = after}};
    const Outcome outcome = send_by(path(), segments, options);
    EXPECT_EQ(outcome.status, Status::PeerGone) << ::testing::PrintToString(outcome);
    EXPECT_TRUE(outcome.error.errno_value == ECONNRESET || outcome.error.errno_value == EPIPE);
    EXPECT_EQ(outcome.wrong_at, Expectation::npos);
    EXPECT_LT(outcome.sent, outcome.promised);
  }
}

TEST_P(Socket, ATransferCancelledWithFullBuffersLeavesNothing) {
  const FileRef file = make_file(dir_.file("f"), 20 * mib);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {20 * mib}})};
  const Connection connection = connect_over_loopback({.send = 30'000, .receive = 5000});
  WorkerParts parts(path());
  Transfer transfer;
  begin(transfer, path(), segments, connection, parts);
  while (step_through(transfer, parts, ByteCount{1 * mib}).status == Status::Moved) {
  }
  const bool held_bytes = transfer.in_pipe.value > 0;
  egress::finish(transfer);
  EXPECT_FALSE(transfer.pipe.is_open());
  EXPECT_FALSE(transfer.mapping.is_mapped());
  EXPECT_EQ(parts.pool.idle(), 0U) << "a pipe with a dead transfer's bytes came back to the pool";
  EXPECT_EQ(held_bytes, uses_pipe(*transfer.path));
}

TEST_P(Socket, AnEmptyPipeGoesBackToThePool) {
  const FileRef file = make_file(dir_.file("f"), 500'000);
  const Segment segments[] = {slice_of(file, {{0}, {500'000}})};
  const Outcome outcome = send_by(path(), segments);
  EXPECT_TRUE(outcome.all_right());
  EXPECT_EQ(outcome.idle_pipes, uses_pipe(*outcome.path) ? 1U : 0U);
}

TEST_P(Socket, AHalfClosedPeerGetsTheRest) {
  const FileRef file = make_file(dir_.file("f"), 3 * mib);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {3 * mib}})};
  for (const std::uint64_t after : {0UL, 1UL, 1'000'000UL}) {
    const SendOptions options{.buffers = {.send = 30'000, .receive = 30'000},
                              .habits = {.chunk = 20'000, .stop_writing_after = after}};
    const Outcome outcome = send_by(path(), segments, options);
    EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  }
}

// ---------------------------------------------------------------- everything at random

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t upto(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(0, most)(engine_);
  }
  /// Small numbers as often as large ones: edges are near 0.
  std::uint64_t skewed(std::uint64_t most) {
    return upto(std::max<std::uint64_t>(1, most >> upto(12)));
  }
  bool one_in(std::uint64_t n) { return upto(n - 1) == 0; }

 private:
  std::mt19937_64 engine_;
};

std::vector<Segment> random_segments(Dice& dice, const FileRef& file, std::string_view memory) {
  const std::uint64_t size = file->status().size.value;
  std::vector<Segment> segments;
  for (std::uint64_t i = dice.upto(7) + 1; i > 0; --i) {
    if (dice.one_in(2)) {
      const std::uint64_t at = dice.upto(memory.size() - 1);
      segments.push_back(Segment::of_memory(memory.substr(at, dice.skewed(memory.size() - at))));
    } else {
      const std::uint64_t at = dice.one_in(3) ? dice.upto(size / 4096) * 4096 : dice.upto(size - 1);
      const std::uint64_t count = std::min(dice.skewed(size) + 1, size - at);
      if (count > 0) segments.push_back(slice_of(file, {{at}, {count}}));
    }
  }
  return segments;
}

SendOptions random_options(Dice& dice, std::uint64_t promised) {
  SendOptions options;
  if (dice.one_in(2)) options.buffers.send = static_cast<int>(dice.skewed(200'000) + 1);
  // Not below 5,000: a receive buffer that no packet fits into makes TCP drop and wait for its own
  // retransmission timer, tens of seconds long.
  if (dice.one_in(2)) options.buffers.receive = static_cast<int>(dice.skewed(200'000) + 5'000);
  options.habits.chunk = dice.skewed(200'000) + 500;
  if (dice.one_in(4)) options.habits.pause = std::chrono::microseconds(dice.upto(100));
  if (dice.one_in(4)) options.habits.reset_after = dice.upto(promised);
  if (dice.one_in(4)) options.habits.stop_writing_after = dice.upto(promised);
  options.quantum = ByteCount{dice.skewed(1 * mib) + promised / 500 + 1};
  options.pipes.capacity = ByteCount{4096UL << dice.upto(6)};
  return options;
}

TEST_P(Socket, AnythingAtRandom) {
  const char* const given = std::getenv("PAGEWIRE_SEED");
  const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  std::printf("PAGEWIRE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Dice dice(seed);
  const FileRef file = make_file(dir_.file("f"), 700'001);
  const std::string memory = positions(0, 100'000, 3);
  const char* const fewer = std::getenv("PAGEWIRE_ROUNDS");  // where everything is slow
  const int rounds = fewer != nullptr ? std::stoi(fewer) : 150;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const std::vector<Segment> segments = random_segments(dice, file, memory);
    const Expectation promise(segments);
    const SendOptions options = random_options(dice, promise.total());
    const Outcome outcome = send_by(path(), segments, options);
    ASSERT_EQ(outcome.wrong_at, Expectation::npos) << ::testing::PrintToString(outcome);
    const bool may_reset = options.habits.reset_after != Expectation::npos;
    const bool cut = may_reset && outcome.received < outcome.promised;
    ASSERT_TRUE(cut || outcome.all_right()) << ::testing::PrintToString(outcome);
    ASSERT_TRUE(outcome.status == Status::Done || outcome.status == Status::PeerGone);
  }
}

}  // namespace
}  // namespace pagewire::test
