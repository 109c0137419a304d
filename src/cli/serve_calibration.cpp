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

}  // namespace

std::vector<std::string> apply_calibration(const bench::Calibration& calibration, const Host& here,
                                           ServeSettings& settings) {
  std::vector<std::string> warnings;
  expect_same("kernel", calibration.kernel, here.kernel, warnings);
  expect_same("CPU", calibration.cpu_model, here.cpu_model, warnings);
  const std::optional<ByteCount> copied = calibration.copy_up_to("sendfile");
  ByteCount& small_body = settings.server.chooser.small_body;
  if (!copied) {
    warnings.push_back(fmt::format("it has no break-even of sendfile; small-body stays {}",
                                   show_size(small_body.value)));
  } else if (!settings.small_body_given) {
    small_body = std::min(*copied, ByteCount{largest_small_body});
  }
  return warnings;
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
  return apply_calibration(*calibration, {.kernel = here.kernel, .cpu_model = here.cpu_model},
                           settings);
}

}  // namespace pagewire::cli
