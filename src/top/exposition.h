// A Prometheus text (format 0.0.4) as a list of samples. Private to this room.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace pagewire::top {

using Labels = std::vector<std::pair<std::string, std::string>>;

struct Sample {
  std::string name{};
  Labels labels{};
  double value = 0;

  /// "" for a label that it has not.
  std::string_view label(std::string_view name) const;
};

class Exposition {
 public:
  /// The error names the line that is none. Comments and time stamps are passed over.
  static tl::expected<Exposition, std::string> parse(std::string_view text);

  const std::vector<Sample>& samples() const { return samples_; }
  /// Those of one name, in their order.
  std::vector<const Sample*> of(std::string_view name) const;
  /// The sum of them; absent when there is none.
  std::optional<double> total(std::string_view name) const;
  /// The one with this label.
  std::optional<double> with(std::string_view name, std::string_view label,
                             std::string_view value) const;
  /// The one with exactly these labels.
  std::optional<double> same_as(const Sample& sample) const;

 private:
  std::vector<Sample> samples_{};
};

}  // namespace pagewire::top
