// What a sweep found, for the chooser: from which size on a path is cheaper than copy, and what
// each path cost at each size.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "base/units.h"
#include "bench/report.h"

namespace pagewire::bench {

/// CPU of the sending process, ms per Gbit.
struct MeasuredCost {
  std::string path;
  double size_bytes = 0;
  double mean = 0;
  std::optional<Bounds> ci95;  ///< of the mean; none after a single round
};

struct Calibration {
  std::string kernel;  ///< where it was measured; another one deserves a warning
  std::string cpu_model;
  std::string date;
  std::string filesystem;
  std::vector<BreakEven> break_evens;
  std::vector<MeasuredCost> costs{};  ///< by ascending size; none in files of before it was kept

  /// The largest body that copy carries for less than `path` does; nullopt when the sweep did not
  /// find out. 0: the path was cheaper at every size. max_file_size_bytes: dearer at every size.
  std::optional<ByteCount> copy_up_to(std::string_view path) const;
};

Calibration calibration_of(const Report& sweep);
/// JSON, docs/calibration.schema.json.
std::string to_json(const Calibration& calibration);
/// The error says what is wrong and where.
tl::expected<Calibration, std::string> calibration_from_json(std::string_view text);

}  // namespace pagewire::bench
