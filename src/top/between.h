// Two readings of the metrics, and how much each series grew between them. Pure. Private to this
// room.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "top/summary.h"

namespace pagewire::top {

/// Refers to both readings.
class Between {
 public:
  Between(const Reading& before, const Reading& after)
      : before_(before.metrics),
        after_(after.metrics),
        seconds_(static_cast<double>(after.at_ns - before.at_ns) / 1e9) {}

  double seconds() const { return seconds_; }
  const Exposition& now() const { return after_; }

  /// How much one series grew. One that is new has grown from 0.
  double growth(const Sample& sample) const {
    return std::max(0.0, sample.value - before_.same_as(sample).value_or(0));
  }
  double growth(std::string_view name) const {
    double sum = 0;
    for (const Sample* const sample : after_.of(name)) sum += growth(*sample);
    return sum;
  }
  double growth(std::string_view name, std::string_view label, std::string_view value) const {
    double sum = 0;
    for (const Sample* const sample : after_.of(name)) {
      if (sample->label(label) == value) sum += growth(*sample);
    }
    return sum;
  }
  double rate(double growth) const { return seconds_ > 0 ? growth / seconds_ : 0; }
  /// A second, in units of 10^9 bits.
  double gbit(double bytes) const { return rate(bytes) * 8 / 1e9; }
  /// Of each value of `label`, a second; the largest first, without those that are 0.
  std::vector<Share> rates(std::string_view name, std::string_view label) const;

 private:
  const Exposition& before_;
  const Exposition& after_;
  double seconds_;
};

inline std::optional<double> ratio(double part, double whole) {
  if (whole <= 0) return std::nullopt;
  return part / whole;
}

/// The largest first; without those that are 0.
inline void sort_shares(std::vector<Share>& shares) {
  std::erase_if(shares, [](const Share& share) { return share.second <= 0; });
  std::stable_sort(shares.begin(), shares.end(),
                   [](const Share& a, const Share& b) { return a.second > b.second; });
}

inline std::vector<Share> Between::rates(std::string_view name, std::string_view label) const {
  std::vector<Share> shares;
  for (const Sample* const sample : after_.of(name)) {
    shares.emplace_back(sample->label(label), rate(growth(*sample)));
  }
  sort_shares(shares);
  return shares;
}

/// Of one that passes on connections: what summarize() does not find by the names of serve.
RelaySummary summarize_relay(const Between& between);

}  // namespace pagewire::top
