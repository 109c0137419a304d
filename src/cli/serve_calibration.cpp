#include "cli/serve_calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/text_file.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

/// A warning when the file names another one than this; "" in the file is unknown.
void expect_same(std::string_view what, const std::string& measured, const std::string& here,
                 std::vector<std::string>& warnings) {
  if (measured.empty() || measured == here) return;
  warnings.push_back(
      fmt::format("it was measured on {} {}, this is {}; measure anew with pagewire "
                  "bench sweep --save",
                  what, measured, here.empty() ? "another" : here));
}

bool is_usable(const bench::MeasuredCost& cost) {
  return cost.ci95 && cost.ci95->high - cost.ci95->low <= widest_interval * cost.mean;
}

/// One line for all intervals that are too wide, if there are any.
void warn_of_wide_intervals(const bench::Calibration& calibration,
                            std::vector<std::string>& warnings) {
  std::size_t unusable = 0;
  const bench::MeasuredCost* example = nullptr;
  for (const bench::MeasuredCost& cost : calibration.costs) {
    if (is_usable(cost)) continue;
    ++unusable;
    if (example == nullptr) example = &cost;
  }
  if (example == nullptr) return;
  const std::string interval = example->ci95 ? fmt::format("{:.1f} to {:.1f} ms per Gbit",
                                                           example->ci95->low, example->ci95->high)
                                             : "one round gives none";
  warnings.push_back(
      fmt::format("{} of its {} intervals are too wide to use (such as {} at {}: "
                  "{}); more --repeat or a longer -t narrows them",
                  unusable, calibration.costs.size(), example->path,
                  show_size(static_cast<std::uint64_t>(example->size_bytes)), interval));
}

/// What can be used, by size, the cheapest of a size first. A path that this build does not have is
/// left out.
std::vector<egress::CostsAtSize> cost_table(const bench::Calibration& calibration,
                                            ByteCount above) {
  std::vector<bench::MeasuredCost> costs = calibration.costs;
  std::stable_sort(costs.begin(), costs.end(), [](const auto& a, const auto& b) {
    return a.size_bytes != b.size_bytes ? a.size_bytes < b.size_bytes : a.mean < b.mean;
  });
  std::vector<egress::CostsAtSize> table;
  for (const bench::MeasuredCost& cost : costs) {
    const egress::Path* const path = egress::find_path(cost.path);
    // Beyond off_t there are no bodies, and the conversion would not be defined.
    const bool possible = cost.size_bytes < static_cast<double>(max_file_size_bytes);
    if (path == nullptr || !possible || !is_usable(cost)) continue;
    const ByteCount size{static_cast<std::uint64_t>(cost.size_bytes)};
    if (size <= above) continue;
    if (table.empty() || table.back().size != size) table.push_back({.size = size, .costs = {}});
    table.back().costs.push_back({.path = path, .low = cost.ci95->low, .high = cost.ci95->high});
  }
  return table;
}

/// "; by mmap at 4K, by splice at 1M": where the chooser will not follow its rule by size, as far
/// as these paths turn out to be usable.
std::string exceptions_text(const egress::ChooserSettings& chooser) {
  std::string text;
  for (const egress::CostsAtSize& here : chooser.costs) {
    const std::string_view rule = here.size <= chooser.small_body ? "copy" : "sendfile";
    const auto ours =
        std::find_if(here.costs.begin(), here.costs.end(),
                     [&](const egress::Cost& cost) { return cost.path->name == rule; });
    if (ours == here.costs.end()) continue;
    const auto cheaper =
        std::find_if(here.costs.begin(), here.costs.end(),
                     [&](const egress::Cost& cost) { return cost.high < ours->low; });
    if (cheaper == here.costs.end()) continue;
    text += fmt::format("{} by {} at {}", text.empty() ? ";" : ",", cheaper->path->name,
                        show_size(here.size.value));
  }
  return text;
}

}  // namespace

CalibrationUse apply_calibration(const bench::Calibration& calibration, const Host& here,
                                 ServeSettings& settings) {
  CalibrationUse use;
  expect_same("kernel", calibration.kernel, here.kernel, use.warnings);
  expect_same("CPU", calibration.cpu_model, here.cpu_model, use.warnings);
  const std::optional<ByteCount> copied = calibration.copy_up_to("sendfile");
  egress::ChooserSettings& chooser = settings.server.chooser;
  if (!copied) {
    use.warnings.push_back(fmt::format("it has no break-even of sendfile; small-body stays {}",
                                       show_size(chooser.small_body.value)));
  } else if (!settings.small_body_given) {
    chooser.small_body = std::min(*copied, ByteCount{largest_small_body});
  }
  warn_of_wide_intervals(calibration, use.warnings);
  const ByteCount above = settings.small_body_given ? chooser.small_body : ByteCount{0};
  chooser.costs = cost_table(calibration, above);
  use.taken =
      fmt::format("bodies up to {} are copied{}, larger ones go by sendfile{}",
                  show_size(chooser.small_body.value),
                  settings.small_body_given ? " (--small-body)" : "", exceptions_text(chooser));
  return use;
}

OrUsageError<std::vector<std::string>> load_calibration(ServeSettings& settings) {
  const std::string& file = settings.calibration_file;
  const auto wrong = [&file](const std::string& why) {
    return tl::unexpected(UsageError{fmt::format("pagewire serve: calibration {}: {}", file, why)});
  };
  const Result<std::string> text = read_whole(file);
  if (!text) return wrong(describe(text.error()));
  const auto calibration = bench::calibration_from_json(*text);
  if (!calibration) return wrong(calibration.error());
  const bench::Environment here =
      bench::describe_environment(settings.server.site.root, bench::NetKind::Loopback);
  CalibrationUse use = apply_calibration(
      *calibration, {.kernel = here.kernel, .cpu_model = here.cpu_model}, settings);
  settings.calibration_note = std::move(use.taken);
  return std::move(use.warnings);
}

}  // namespace pagewire::cli
