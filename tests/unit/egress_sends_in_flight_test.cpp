// Completion ranges of MSG_ZEROCOPY: coalesced, out of order, repeated, across the wrap of their
// 32-bit numbers.
#include "egress/sends_in_flight.h"

#include <gtest/gtest.h>

#include <vector>

namespace pagewire::egress {
namespace {

/// Sends of 1, 2, 3 ... bytes, numbered from `first` on, each with its place as its window.
class Sends {
 public:
  Sends(std::uint32_t first, std::uint8_t count) : sends_(first) {
    for (std::uint8_t i = 0; i < count; ++i) sends_.add(ByteCount{i + 1UL}, i);
  }

  /// The places of the sends that completed by this.
  std::vector<int> complete(std::uint32_t first, std::uint32_t last) {
    std::vector<int> places;
    ByteCount bytes;
    const SendsInFlight::Completed done = sends_.complete(
        {.first = first, .last = last, .copied = false}, [&](const SendsInFlight::Send& send) {
          places.push_back(send.window);
          bytes += send.bytes;
        });
    EXPECT_EQ(done.sends, places.size());
    EXPECT_EQ(done.bytes, bytes);
    return places;
  }
  SendsInFlight& get() { return sends_; }

 private:
  SendsInFlight sends_;
};

using Places = std::vector<int>;
constexpr std::uint32_t last_number = ~std::uint32_t{0};

TEST(SendsInFlight, ARangeCompletesAllOfItsSends) {
  Sends sends(0, 5);
  EXPECT_EQ(sends.complete(0, 2), (Places{0, 1, 2}));
  EXPECT_EQ(sends.get().left().sends, 2U);
  EXPECT_EQ(sends.get().left().bytes.value, 4U + 5U);
  EXPECT_EQ(sends.complete(3, 4), (Places{3, 4}));
  EXPECT_TRUE(sends.get().empty());
  EXPECT_EQ(sends.get().left().sends, 0U);
}

TEST(SendsInFlight, RangesComeInAnyOrder) {
  Sends sends(0, 6);
  EXPECT_EQ(sends.complete(4, 5), (Places{4, 5}));
  EXPECT_FALSE(sends.get().empty());
  EXPECT_EQ(sends.complete(1, 1), (Places{1}));
  EXPECT_EQ(sends.get().left().bytes.value, 1U + 3U + 4U);
  EXPECT_EQ(sends.complete(0, 0), (Places{0}));
  EXPECT_EQ(sends.complete(2, 3), (Places{2, 3}));
  EXPECT_TRUE(sends.get().empty());
}

TEST(SendsInFlight, NothingCompletesTwice) {
  Sends sends(10, 4);
  EXPECT_EQ(sends.complete(11, 12), (Places{1, 2}));
  EXPECT_EQ(sends.complete(11, 12), (Places{}));
  EXPECT_EQ(sends.complete(10, 13), (Places{0, 3}));
  EXPECT_EQ(sends.complete(10, 13), (Places{}));
}

TEST(SendsInFlight, NumbersThatAreNotInFlightArePassedOver) {
  Sends sends(10, 2);
  EXPECT_EQ(sends.complete(0, 9), (Places{}));
  EXPECT_EQ(sends.complete(12, 400), (Places{}));
  EXPECT_EQ(sends.complete(12, 9), (Places{})) << "a range around everything but these two";
  EXPECT_EQ(sends.get().left().sends, 2U);
  EXPECT_EQ(sends.complete(0, 4000), (Places{0, 1}));
}

TEST(SendsInFlight, ARangeAcrossTheWrap) {
  Sends sends(last_number - 1, 5);  // the numbers -2, -1, 0, 1, 2
  EXPECT_EQ(sends.complete(last_number, 1), (Places{1, 2, 3}));
  EXPECT_EQ(sends.complete(2, 2), (Places{4}));
  EXPECT_FALSE(sends.get().empty());
  EXPECT_EQ(sends.complete(last_number - 1, last_number - 1), (Places{0}));
  EXPECT_TRUE(sends.get().empty());
}

TEST(SendsInFlight, TheRingGoesRoundAndRoundAcrossTheWrap) {
  SendsInFlight sends(last_number - 1000);
  std::uint32_t number = last_number - 1000;
  for (int i = 0; i < 3000; ++i, ++number) {
    sends.add(ByteCount{7}, static_cast<std::uint8_t>(number % 8));
    if (!sends.full()) continue;
    const std::uint32_t oldest = number - (SendsInFlight::capacity - 1);
    const auto is_of_range = [&](const SendsInFlight::Send& send) {
      EXPECT_LT(send.window, 8);
      EXPECT_EQ(send.bytes.value, 7U);
    };
    // The newer half first: the ring stays full until the oldest is done.
    const std::uint32_t middle = oldest + SendsInFlight::capacity / 2;
    EXPECT_EQ(sends.complete({middle, number, false}, is_of_range).sends, 64U);
    EXPECT_TRUE(sends.full());
    EXPECT_EQ(sends.complete({oldest, middle - 1, false}, is_of_range).sends, 64U);
    EXPECT_TRUE(sends.empty());
  }
}

}  // namespace
}  // namespace pagewire::egress
