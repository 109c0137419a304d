// From which size on a path costs less CPU per byte than the baseline (copy). Pure.
//
// Each size gives one difference (path - copy, in CPU per Gbit) with Welch's 95% interval, and one
// of three words: surely dearer, surely cheaper, or within the noise. The break-even lies between
// the last size that is surely dearer and the first one after it that is surely cheaper; the
// estimate is where the means cross in between, on a line over log(size); without a size that is
// surely dearer there is no lower limit, and the interval begins at 0. Sizes within the noise
// decide nothing, so that one bad round at 64 MiB does not move the break-even there.
//
// Where no interval can be had (one round), the means alone decide where a crossing is, and ci95 is
// absent. That a path is dearer or cheaper at every size is never said on means alone.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/format_number.h"
#include "bench/run.h"
#include "bench/statistics.h"

namespace pagewire::bench {

namespace {

constexpr Metric bill = Metric::CpuMsPerGbit;

enum class Sign : std::uint8_t { Dearer, Cheaper, Unclear };

/// A path beside the baseline at one size.
struct Difference {
  double size_bytes = 0;
  double relative = 0;  ///< (path - baseline) / baseline, of the means
  Sign sign = Sign::Unclear;
  bool has_interval = false;
};

const Contender* find_contender(const Row& row, std::string_view name) {
  const auto found =
      std::find_if(row.contenders.begin(), row.contenders.end(),
                   [name](const Contender& contender) { return contender.name == name; });
  return found == row.contenders.end() ? nullptr : &*found;
}

Sign sign_of(const std::optional<Bounds>& interval, double difference) {
  // Without an interval the difference stands for itself.
  const Bounds bounds = interval.value_or(Bounds{difference, difference});
  if (bounds.low > 0) return Sign::Dearer;
  if (bounds.high < 0) return Sign::Cheaper;
  return Sign::Unclear;
}

/// The sizes, ascending, at which both have been measured.
std::vector<Difference> differences_of(const std::vector<Row>& rows, std::string_view path) {
  std::vector<Difference> found;
  for (const Row& row : rows) {
    const Contender* ours = find_contender(row, path);
    const Contender* theirs = find_contender(row, row.baseline);
    if (ours == nullptr || theirs == nullptr) continue;
    const std::vector<double> path_values = values_of(*ours, bill);
    const std::vector<double> base_values = values_of(*theirs, bill);
    const std::optional<double> path_mean = mean(path_values);
    const std::optional<double> base_mean = mean(base_values);
    if (!path_mean || !base_mean || *base_mean <= 0) continue;
    const std::optional<Bounds> interval = ci95_of_difference(base_values, path_values);
    found.push_back({.size_bytes = static_cast<double>(row.size_bytes),
                     .relative = *path_mean / *base_mean - 1,
                     .sign = sign_of(interval, *path_mean - *base_mean),
                     .has_interval = interval.has_value()});
  }
  std::sort(found.begin(), found.end(),
            [](const Difference& a, const Difference& b) { return a.size_bytes < b.size_bytes; });
  return found;
}

std::optional<std::size_t> last_of(const std::vector<Difference>& differences, Sign sign) {
  for (std::size_t i = differences.size(); i-- > 0;) {
    if (differences[i].sign == sign) return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> first_of(const std::vector<Difference>& differences, Sign sign,
                                    std::size_t from) {
  for (std::size_t i = from; i < differences.size(); ++i) {
    if (differences[i].sign == sign) return i;
  }
  return std::nullopt;
}

/// Where the means fall below the baseline's for the last time before `cheaper`, which is below;
/// nullopt when they are below from the first size on.
std::optional<double> crossing_before(const std::vector<Difference>& differences,
                                      std::size_t cheaper) {
  std::size_t above = cheaper;
  while (above > 0 && differences[above].relative < 0) --above;
  const Difference& left = differences[above];
  if (left.relative < 0) return std::nullopt;
  const Difference& right = differences[above + 1];
  const double share = left.relative / (left.relative - right.relative);
  const double log_left = std::log2(left.size_bytes);
  return std::exp2(log_left + share * (std::log2(right.size_bytes) - log_left));
}

/// Whether the path has this sign at every size, and 95% sure: what is said of every size decides
/// how a server sends, so means within the noise must not say it.
bool surely_everywhere(const std::vector<Difference>& differences, Sign sign) {
  return std::all_of(differences.begin(), differences.end(), [sign](const Difference& difference) {
    return difference.has_interval && difference.sign == sign;
  });
}

bool have_intervals(const std::vector<Difference>& differences) {
  return std::all_of(differences.begin(), differences.end(),
                     [](const Difference& difference) { return difference.has_interval; });
}

/// Why there is no break-even although the path was measured and is surely cheaper nowhere above
/// the last size at which it is surely dearer.
std::string reason_without_cheaper(const std::vector<Difference>& differences,
                                   std::optional<std::size_t> last_dearer) {
  if (!last_dearer) return "no clear crossing: within the noise at every size";
  const std::string up_to = format_size(differences[*last_dearer].size_bytes);
  if (last_of(differences, Sign::Cheaper)) {
    return "no clear crossing: cheaper at some sizes, but dearer again at " + up_to;
  }
  if (surely_everywhere(differences, Sign::Dearer)) return std::string(dearer_at_every_size);
  if (!have_intervals(differences)) {
    return "no clear crossing: dearer up to " + up_to +
           " by the means alone, for which one round gives no confidence";
  }
  const bool to_the_end = *last_dearer + 1 == differences.size();
  return fmt::format("no clear crossing: dearer up to {}, within the noise {}", up_to,
                     to_the_end ? "at some sizes" : "above");
}

/// Why there is no break-even although the path is surely cheaper from `cheaper` on: no size at
/// which it is dearer was found.
std::string reason_without_dearer(const std::vector<Difference>& differences, std::size_t cheaper) {
  if (surely_everywhere(differences, Sign::Cheaper)) return std::string(cheaper_at_every_size);
  const std::string from = format_size(differences[cheaper].size_bytes);
  if (!have_intervals(differences)) {
    return "no clear crossing: cheaper from " + from +
           " on by the means alone, for which one round gives no confidence";
  }
  return fmt::format("no clear crossing: cheaper from {} on, within the noise {}", from,
                     cheaper > 0 ? "below" : "at some sizes");
}

BreakEven break_even_of(std::string_view path, const std::vector<Difference>& differences) {
  BreakEven result;
  result.path = path;
  const std::optional<std::size_t> last_dearer = last_of(differences, Sign::Dearer);
  const std::optional<std::size_t> first_cheaper =
      first_of(differences, Sign::Cheaper, last_dearer ? *last_dearer + 1 : 0);
  if (!first_cheaper) {
    result.reason = reason_without_cheaper(differences, last_dearer);
    return result;
  }
  // Surely dearer nowhere: it may lie below all sizes.
  const Bounds between{last_dearer ? differences[*last_dearer].size_bytes : 0,
                       differences[*first_cheaper].size_bytes};
  if (have_intervals(differences)) result.ci95 = between;
  result.size_bytes = crossing_before(differences, *first_cheaper);
  if (!result.size_bytes) {
    result.reason = reason_without_dearer(differences, *first_cheaper);
    // Surely so from the first size on: there is nothing left that an interval could say.
    if (*first_cheaper == 0) result.ci95.reset();
  }
  return result;
}

/// Why a path and the baseline have no size in common.
std::string reason_not_measured(const std::vector<Row>& rows, std::string_view path) {
  for (const Row& row : rows) {
    const Contender* contender = find_contender(row, path);
    if (contender != nullptr && !contender->unavailable.empty()) return contender->unavailable;
    const Contender* baseline = find_contender(row, row.baseline);
    if (baseline != nullptr && !baseline->unavailable.empty()) {
      return row.baseline + " was not measured: " + baseline->unavailable;
    }
  }
  return "no round was complete at any size";
}

}  // namespace

std::vector<BreakEven> find_break_evens(const std::vector<Row>& rows) {
  std::vector<BreakEven> found;
  if (rows.empty()) return found;
  for (const Contender& contender : rows.front().contenders) {
    if (contender.name == rows.front().baseline) continue;
    const std::vector<Difference> differences = differences_of(rows, contender.name);
    if (differences.empty()) {
      found.push_back({.path = contender.name,
                       .size_bytes = {},
                       .ci95 = {},
                       .reason = reason_not_measured(rows, contender.name)});
      continue;
    }
    found.push_back(break_even_of(contender.name, differences));
  }
  return found;
}

}  // namespace pagewire::bench
