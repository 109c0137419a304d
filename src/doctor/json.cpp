// An Examined as JSON: docs/doctor.schema.json says the shape. What is not known is null.
#include <cmath>
#include <nlohmann/json.hpp>

#include "doctor/doctor.h"

namespace pagewire::doctor {

namespace {

using Json = nlohmann::ordered_json;
constexpr int schema_version = 1;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json json_of(const std::optional<Cost>& cost) {
  if (!cost || !std::isfinite(cost->low) || !std::isfinite(cost->high)) return {};
  return {{"low", cost->low}, {"high", cost->high}};
}

Json json_of(const Entry& entry) {
  const Finding& finding = entry.finding;
  return {{"group", name(entry.group)},
          {"name", entry.name},
          {"interface", text_or_null(entry.interface)},
          {"looked_at", finding.looked_at},
          {"found", finding.found},
          {"status", name(finding.status)},
          {"reason", text_or_null(finding.reason)},
          {"costs", text_or_null(finding.costs)},
          {"cpu_ms_per_gbit", json_of(finding.estimate)},
          {"mend", text_or_null(finding.mend)},
          {"as_root", text_or_null(finding.as_root)},
          {"link", entry.link}};
}

Json json_of(const BodyPath& path) {
  return {{"body", path.body},
          {"path", path.path},
          {"reason", path.reason},
          {"over_loopback", text_or_null(path.over_loopback)}};
}

Json json_of(const WrongSetting& setting) {
  return {{"setting", setting.setting},
          {"cpu_ms_per_gbit", json_of(setting.cost)},
          {"basis", setting.basis},
          {"here", setting.here}};
}

Json json_of(const Change& change) {
  return {{"check", change.check},
          {"what", change.what},
          {"mend", change.mend},
          {"saves_cpu_ms_per_gbit", json_of(change.saves)}};
}

template <class Values>
Json array_of(const Values& values) {
  Json array = Json::array();
  for (const auto& value : values) array.push_back(json_of(value));
  return array;
}

}  // namespace

std::string to_json(const Examined& examined) {
  const Verdict& verdict = examined.verdict;
  const Json json = {{"schema_version", schema_version},
                     {"kind", "doctor"},
                     {"pagewire_version", PAGEWIRE_VERSION},
                     {"kernel", examined.kernel},
                     {"cpus", examined.cpus},
                     {"root", examined.root},
                     {"filesystem", text_or_null(examined.filesystem)},
                     {"interfaces", examined.interfaces},
                     {"is_root", examined.is_root},
                     {"tls", examined.tls},
                     {"calibration", text_or_null(examined.calibration)},
                     {"took_s", examined.took_s},
                     {"worst", name(examined.worst())},
                     {"checks", array_of(examined.entries)},
                     {"verdict",
                      {{"text", verdict.text},
                       {"engine", verdict.engine},
                       {"paths", array_of(verdict.paths)},
                       {"wrong_settings", array_of(verdict.wrong_settings)},
                       {"changes", array_of(verdict.changes)}}}};
  // Names of files need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pagewire::doctor
