#include "bench/svg_scale.h"

#include <array>
#include <cmath>

namespace pagewire::bench {

namespace {

constexpr double wanted_ticks = 5;
constexpr double few_decades = 0.8;
constexpr double some_decades = 4;

/// 1, 2 or 5 times a power of ten: the least that leaves no more than the wanted ticks.
double step_for(double most) {
  const double rough = most / wanted_ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * 0.999) return factor * power;
  }
  return 10 * power;
}

std::vector<double> linear_ticks(const Scale& scale) {
  const double step = step_for(scale.values.high);
  std::vector<double> ticks;
  for (double i = 0; i * step <= scale.values.high * 1.001; ++i) ticks.push_back(i * step);
  return ticks;
}

/// Fewer within a decade, the more decades there are.
std::vector<double> factors_for(double decades) {
  if (decades < few_decades) return {1, 1.5, 2, 3, 5, 7};
  if (decades < some_decades) return {1, 2, 5};
  return {1};
}

std::vector<double> log_ticks(const Scale& scale) {
  const double first = std::floor(std::log10(scale.values.low));
  const double last = std::ceil(std::log10(scale.values.high));
  const double decades = std::log10(scale.values.high / scale.values.low);
  const double every = std::ceil(decades / 10);
  std::vector<double> ticks;
  for (double power = first; power <= last; power += every) {
    for (const double factor : factors_for(decades)) {
      const double value = factor * std::pow(10, power);
      if (value >= scale.values.low && value <= scale.values.high) ticks.push_back(value);
    }
  }
  return ticks;
}

}  // namespace

double Scale::at(double value) const {
  const double part = is_log ? std::log(value / values.low) / std::log(values.high / values.low)
                             : (value - values.low) / (values.high - values.low);
  return pixels.low + part * (pixels.high - pixels.low);
}

Scale linear_scale(double most, Bounds pixels) {
  const double high = most > 0 && std::isfinite(most) ? most : 1;
  const double step = step_for(high);
  return {.is_log = false, .values = {0, std::ceil(high / step * 0.999) * step}, .pixels = pixels};
}

std::optional<Scale> log_scale(Bounds values, Bounds pixels) {
  constexpr double air = 1.15;
  if (!(values.low > 0) || !(values.high >= values.low) || !std::isfinite(values.high)) {
    return std::nullopt;
  }
  return Scale{.is_log = true, .values = {values.low / air, values.high * air}, .pixels = pixels};
}

std::vector<double> ticks_of(const Scale& scale) {
  return scale.is_log ? log_ticks(scale) : linear_ticks(scale);
}

}  // namespace pagewire::bench
