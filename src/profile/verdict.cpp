// The rule of thumb: a server that only moves bytes and spends more than 5% of its CPU in copy
// functions would gain by zero-copy. It counts the copies alone, not what they do to caches.
#include "profile/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pagewire::profile {

namespace {

constexpr double threshold_percent = 5;
constexpr std::uint64_t enough_samples = 100;

/// "read 12%, sendto 9%" of all samples: the calls that the copies were made for.
std::string copied_in_text(const Report& report) {
  constexpr std::size_t most = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, report.copied_in.size()); ++i) {
    const auto& [call, samples] = report.copied_in[i];
    text += fmt::format("{}{} {:.1f}%", text.empty() ? "" : ", ", call,
                        100 * static_cast<double>(samples) / static_cast<double>(report.samples));
  }
  return text;
}

std::string tls_text(const Report& report) {
  const double tls = report.percent(Category::Tls);
  if (tls < threshold_percent) return {};
  return fmt::format(
      " TLS takes {:.1f}%, which zero-copy does not change; with kernel TLS files still go by "
      "sendfile.",
      tls);
}

std::string where(const Report& report) {
  const std::string calls = copied_in_text(report);
  return calls.empty() ? "" : " (" + calls + ")";
}

}  // namespace

double margin_percent(double percent, std::uint64_t samples) {
  if (samples == 0) return 100;
  const double share = std::clamp(percent / 100, 0.0, 1.0);
  const auto n = static_cast<double>(samples);
  // Where nothing was seen, as many as would be missed one time in twenty (3 / n).
  return 100 * std::max(1.96 * std::sqrt(share * (1 - share) / n), 3 / n);
}

Verdict judge(const Report& report) {
  const auto unknown = [](std::string why) {
    return Verdict{.advice = Advice::Unknown, .text = std::move(why)};
  };
  if (report.samples < enough_samples) {
    return unknown(
        fmt::format("Too few samples to say anything: {} in {:.1f} s, in which it used {:.2f} s of "
                    "CPU. Profile "
                    "it under load, or longer (-t).",
                    report.samples, report.seconds, report.cpu_seconds));
  }
  if (!report.kernel_seen || !report.kernel_named) {
    return unknown(
        "What it does in the kernel cannot be told apart, so nobody can say how much of "
        "it is copying.");
  }
  const double copy = report.percent(Category::Copy);
  const double margin = margin_percent(copy, report.samples);
  if (copy - margin > threshold_percent) {
    return {.advice = Advice::ZeroCopyWouldPay,
            .text = fmt::format(
                "Zero-copy would pay, if this server only moves bytes: {:.1f} ±{:.1f}% of its CPU "
                "goes into copying them{}, more than the rule of thumb of 5%.{}",
                copy, margin, where(report), tls_text(report))};
  }
  if (copy + margin > threshold_percent) {
    return {.advice = Advice::Borderline,
            .text = fmt::format("Borderline: {:.1f} ±{:.1f}% of its CPU goes into copying bytes{}, "
                                "and the rule of thumb is 5%. A longer run (-t) tells more.{}",
                                copy, margin, where(report), tls_text(report))};
  }
  return {.advice = Advice::LittleToGain,
          .text = fmt::format("Little to gain by zero-copy: {:.1f} ±{:.1f}% of its CPU goes into "
                              "copying bytes{}, less than the rule of thumb of 5%.{}",
                              copy, margin, where(report), tls_text(report))};
}

std::string_view name(Advice advice) {
  switch (advice) {
    case Advice::ZeroCopyWouldPay:
      return "zero_copy_would_pay";
    case Advice::Borderline:
      return "borderline";
    case Advice::LittleToGain:
      return "little_to_gain";
    case Advice::Unknown:
      return "unknown";
  }
  return "";
}

}  // namespace pagewire::profile
