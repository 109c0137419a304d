// The calibration file: what a sweep found, for the chooser. docs/calibration.schema.json.
//
// Invariants: what to_json writes, calibration_from_json reads back equal; a file of another
// schema_version, or with a value of the wrong type, is refused with the place in it, because a
// misread break-even would silently choose the dearer path.
#include "bench/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/statistics.h"

namespace pagewire::bench {

namespace {

// nlohmann's ordered object keeps the keys in the order in which a person would read them.
using Json = nlohmann::ordered_json;

constexpr int calibration_version = 1;
constexpr std::string_view calibration_kind = "calibration";

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json to_json_value(const std::optional<Bounds>& bounds) {
  return bounds ? Json{{"low", bounds->low}, {"high", bounds->high}} : Json(nullptr);
}

Json to_json_value(const MeasuredCost& cost) {
  return Json{{"path", cost.path},
              {"size_bytes", cost.size_bytes},
              {"cpu_ms_per_gbit", cost.mean},
              {"ci95", to_json_value(cost.ci95)}};
}

Json to_json_value(const BreakEven& point) {
  return Json{{"path", point.path},
              {"size_bytes", point.size_bytes ? Json(*point.size_bytes) : Json(nullptr)},
              {"ci95", to_json_value(point.ci95)},
              {"reason", text_or_null(point.reason)}};
}

/// What is wrong with the file, found on the way; the first finding is kept.
struct Reader {
  std::string wrong;

  void complain(std::string text) {
    if (wrong.empty()) wrong = std::move(text);
  }

  /// The member `key` of `object`; null, with a complaint, where there is none.
  const Json& member(const Json& object, const std::string& where, const char* key) {
    static const Json none = nullptr;
    const auto found = object.find(key);
    if (found != object.end()) return *found;
    complain(fmt::format("{}{} is missing", where, key));
    return none;
  }

  std::string text(const Json& object, const std::string& where, const char* key) {
    const Json& value = member(object, where, key);
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_null()) complain(fmt::format("{}{} is not a string or null", where, key));
    return {};
  }

  /// A finite number that is not negative, or null; `unit` for the complaint.
  std::optional<double> number(const Json& object, const std::string& where, const char* key,
                               const char* unit) {
    const Json& value = member(object, where, key);
    if (value.is_null()) return std::nullopt;
    if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0) {
      complain(fmt::format("{}{} is not a number of {} or null", where, key, unit));
      return std::nullopt;
    }
    return value.get<double>();
  }

  std::optional<double> size(const Json& object, const std::string& where, const char* key) {
    return number(object, where, key, "bytes");
  }

  std::optional<Bounds> bounds(const Json& object, const std::string& where, const char* key) {
    const Json& value = member(object, where, key);
    if (value.is_null()) return std::nullopt;
    if (!value.is_object()) {
      complain(fmt::format("{}{} is not an object or null", where, key));
      return std::nullopt;
    }
    const std::string inside = fmt::format("{}{}.", where, key);
    const std::optional<double> low = size(value, inside, "low");
    const std::optional<double> high = size(value, inside, "high");
    if (low && high && *low <= *high) return Bounds{*low, *high};
    complain(fmt::format("{} is not low <= high", inside.substr(0, inside.size() - 1)));
    return std::nullopt;
  }

  MeasuredCost cost(const Json& value, const std::string& where) {
    MeasuredCost found;
    if (!value.is_object()) {
      complain(where.substr(0, where.size() - 1) + " is not an object");
      return found;
    }
    found.path = text(value, where, "path");
    if (found.path.empty()) complain(where + "path names no path");
    const std::optional<double> size_bytes = size(value, where, "size_bytes");
    const std::optional<double> mean = number(value, where, "cpu_ms_per_gbit", "ms");
    if (!size_bytes || !mean) complain(where + "size_bytes or cpu_ms_per_gbit is null");
    found.size_bytes = size_bytes.value_or(0);
    found.mean = mean.value_or(0);
    found.ci95 = bounds(value, where, "ci95");
    return found;
  }

  BreakEven break_even(const Json& value, const std::string& where) {
    BreakEven point;
    if (!value.is_object()) {
      complain(where.substr(0, where.size() - 1) + " is not an object");
      return point;
    }
    point.path = text(value, where, "path");
    if (point.path.empty()) complain(where + "path names no path");
    point.size_bytes = size(value, where, "size_bytes");
    point.ci95 = bounds(value, where, "ci95");
    point.reason = text(value, where, "reason");
    if (!point.size_bytes && point.reason.empty()) {
      complain(where + "size_bytes is null without a reason");
    }
    return point;
  }
};

/// What each path cost at each size, where there was a round.
std::vector<MeasuredCost> costs_of(const Report& sweep) {
  std::vector<MeasuredCost> costs;
  for (const Row& row : sweep.rows) {
    for (const Contender& contender : row.contenders) {
      const std::vector<double> values = values_of(contender, Metric::CpuMsPerGbit);
      const std::optional<double> average = mean(values);
      if (!average) continue;
      std::optional<Bounds> ci95 = ci95_of_mean(values);
      // A cost below nothing is an artefact of Student's t with few rounds.
      if (ci95) ci95->low = std::max(ci95->low, 0.0);
      costs.push_back({.path = contender.name,
                       .size_bytes = static_cast<double>(row.size_bytes),
                       .mean = *average,
                       .ci95 = ci95});
    }
  }
  return costs;
}

/// The complaint about a file that is no calibration of this version; "" when it is one.
std::string wrong_kind(const Json& root) {
  if (!root.is_object()) return "it is not a JSON object";
  const auto kind = root.find("kind");
  if (kind == root.end() || !kind->is_string() || *kind != calibration_kind) {
    return "it is not a calibration (`pagewire bench sweep --save` writes them)";
  }
  const auto version = root.find("schema_version");
  if (version == root.end() || !version->is_number_integer()) return "schema_version is missing";
  if (*version != calibration_version) {
    return fmt::format("schema_version is {}, this pagewire reads {}", version->dump(),
                       calibration_version);
  }
  return {};
}

}  // namespace

std::optional<ByteCount> Calibration::copy_up_to(std::string_view path) const {
  const auto found = std::find_if(break_evens.begin(), break_evens.end(),
                                  [path](const BreakEven& point) { return point.path == path; });
  if (found == break_evens.end()) return std::nullopt;
  if (found->size_bytes) {
    // Beyond off_t there are no bodies, and the conversion would not be defined.
    if (*found->size_bytes >= static_cast<double>(max_file_size_bytes)) {
      return ByteCount{max_file_size_bytes};
    }
    return ByteCount{static_cast<std::uint64_t>(*found->size_bytes)};
  }
  if (found->reason == cheaper_at_every_size) return ByteCount{0};
  if (found->reason == dearer_at_every_size) return ByteCount{max_file_size_bytes};
  return std::nullopt;
}

Calibration calibration_of(const Report& sweep) {
  return {.kernel = sweep.environment.kernel,
          .cpu_model = sweep.environment.cpu_model,
          .date = sweep.environment.date,
          .filesystem = sweep.environment.filesystem,
          .break_evens = sweep.break_evens,
          .costs = costs_of(sweep)};
}

std::string to_json(const Calibration& calibration) {
  Json points = Json::array();
  for (const BreakEven& point : calibration.break_evens) points.push_back(to_json_value(point));
  Json costs = Json::array();
  for (const MeasuredCost& cost : calibration.costs) costs.push_back(to_json_value(cost));
  const Json root{{"kind", calibration_kind},
                  {"schema_version", calibration_version},
                  {"date", text_or_null(calibration.date)},
                  {"kernel", text_or_null(calibration.kernel)},
                  {"cpu_model", text_or_null(calibration.cpu_model)},
                  {"filesystem", text_or_null(calibration.filesystem)},
                  {"break_evens", std::move(points)},
                  {"costs", std::move(costs)}};
  // Bytes that are no UTF-8 (a mount point may have any) are replaced, not thrown over.
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

tl::expected<Calibration, std::string> calibration_from_json(std::string_view text) {
  constexpr bool throw_nothing = false;
  const Json root = Json::parse(text, nullptr, throw_nothing);
  if (root.is_discarded()) return tl::unexpected(std::string("it is not JSON"));
  if (std::string wrong = wrong_kind(root); !wrong.empty()) return tl::unexpected(wrong);
  Reader reader;
  Calibration calibration;
  calibration.date = reader.text(root, "", "date");
  calibration.kernel = reader.text(root, "", "kernel");
  calibration.cpu_model = reader.text(root, "", "cpu_model");
  calibration.filesystem = reader.text(root, "", "filesystem");
  const Json& points = reader.member(root, "", "break_evens");
  if (!points.is_array()) reader.complain("break_evens is not an array");
  if (points.is_array()) {
    for (std::size_t i = 0; i < points.size(); ++i) {
      calibration.break_evens.push_back(
          reader.break_even(points[i], fmt::format("break_evens[{}].", i)));
    }
  }
  if (const auto costs = root.find("costs"); costs != root.end()) {
    if (!costs->is_array()) reader.complain("costs is not an array");
    for (std::size_t i = 0; costs->is_array() && i < costs->size(); ++i) {
      calibration.costs.push_back(reader.cost((*costs)[i], fmt::format("costs[{}].", i)));
    }
  }
  if (!reader.wrong.empty()) return tl::unexpected(reader.wrong);
  return calibration;
}

}  // namespace pagewire::bench
