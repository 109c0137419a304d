// A Report as JSON: docs/profile.schema.json says the shape. What is not known is null.
#include <cmath>
#include <nlohmann/json.hpp>

#include "profile/profile.h"

namespace pagewire::profile {

namespace {

using Json = nlohmann::ordered_json;
constexpr int schema_version = 1;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json number_or_null(const std::optional<double>& number) {
  return number && std::isfinite(*number) ? Json(*number) : Json();
}

Json shares_of(const Report& report) {
  Json shares = Json::object();
  for (std::size_t i = 0; i < category_count; ++i) {
    const auto category = static_cast<Category>(i);
    shares[std::string(name(category))] =
        report.samples == 0 ? Json() : Json(report.percent(category));
  }
  return shares;
}

Json processes_of(const Report& report) {
  Json array = Json::array();
  for (const Process& process : report.processes) {
    array.push_back({{"pid", process.pid}, {"name", process.name}});
  }
  return array;
}

Json syscalls_of(const Report& report) {
  if (!report.no_syscalls.empty()) return {};
  Json array = Json::array();
  for (const SyscallUse& use : report.syscalls) {
    array.push_back({{"name", use.name},
                     {"calls_per_s", use.calls_per_s},
                     {"bytes_per_call", number_or_null(use.bytes_per_call)}});
  }
  return array;
}

Json copied_in_of(const Report& report) {
  Json object = Json::object();
  for (const auto& [call, samples] : report.copied_in) {
    object[call] = 100 * static_cast<double>(samples) / static_cast<double>(report.samples);
  }
  return object;
}

Json stacks_of(const Report& report) {
  Json array = Json::array();
  for (const Stack& stack : report.stacks) {
    Json frames = Json::array();
    for (const std::uint32_t place : stack.frames) {
      const Frame& frame = report.frames[place];
      frames.push_back(frame.function + (frame.in_kernel ? "_[k]" : ""));
    }
    array.push_back({{"frames", std::move(frames)},
                     {"category", name(stack.category)},
                     {"samples", stack.samples}});
  }
  return array;
}

}  // namespace

std::string to_json(const Report& report) {
  const Json json = {
      {"schema_version", schema_version},
      {"kind", "profile"},
      {"pagewire_version", PAGEWIRE_VERSION},
      {"processes", processes_of(report)},
      {"seconds", report.seconds},
      {"cpu_seconds", report.cpu_seconds},
      {"user_seconds", report.user_seconds},
      {"event", report.event},
      {"frequency_hz", report.frequency_hz},
      {"samples", report.samples},
      {"lost", report.lost},
      {"kernel_seen", report.kernel_seen},
      {"kernel_named", report.kernel_named},
      {"percent", shares_of(report)},
      {"copied_in_percent", copied_in_of(report)},
      {"syscalls", syscalls_of(report)},
      {"no_syscalls", text_or_null(report.no_syscalls)},
      {"notes", report.notes},
      {"verdict", {{"advice", name(report.verdict.advice)}, {"text", report.verdict.text}}},
      {"stacks", stacks_of(report)}};
  // Names of programs and functions need not be UTF-8.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pagewire::profile
