// A Report as JSON: docs/bench.schema.json says the shape, json_read.cpp reads it back.
//
// What it writes always keeps to the schema, whatever the values: JSON has no NaN and no infinity
// (RFC 8259, section 6), so a figure that is not finite becomes null with that as its reason, and
// bytes that are not UTF-8 become U+FFFD. Key order is the order of report.h and metric.h, and what
// fits stands on one line, so that a committed result reads well and differs line by line.
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/render.h"

namespace pagewire::bench {

namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json number_or_null(std::optional<double> number) {
  return number && std::isfinite(*number) ? Json(*number) : Json();
}

double finite_or_zero(double number) {
  return std::isfinite(number) ? number : 0;
}

Json bounds_or_null(const std::optional<Bounds>& bounds) {
  if (!bounds || !std::isfinite(bounds->low) || !std::isfinite(bounds->high)) return {};
  return Json::array({bounds->low, bounds->high});
}

/// Why there is no number; never "".
std::string reason_for(std::optional<double> number, const std::string& reason) {
  if (number) return "the value is not a finite number";
  return reason.empty() ? "no reason was recorded" : reason;
}

Json json_of(const Figure& figure) {
  const Json value = number_or_null(figure.value);
  if (value.is_null()) {
    return {{"value", nullptr},
            {"source", nullptr},
            {"reason", reason_for(figure.value, figure.reason)},
            {"range", nullptr}};
  }
  return {{"value", value},
          {"source", name_of(figure.source)},
          {"reason", nullptr},
          {"range", bounds_or_null(figure.range)}};
}

Json json_of(const Summary& summary) {
  const Json median = number_or_null(summary.median);
  const Json mean = number_or_null(summary.mean);
  if (median.is_null() || mean.is_null() || summary.rounds == 0) {
    return {{"median", nullptr}, {"mean", nullptr},
            {"ci95", nullptr},   {"extent", nullptr},
            {"rounds", 0},       {"source", nullptr},
            {"range", nullptr},  {"reason", reason_for(summary.median, summary.reason)}};
  }
  return {{"median", median},
          {"mean", mean},
          {"ci95", bounds_or_null(summary.ci95)},
          {"extent", bounds_or_null(summary.extent)},
          {"rounds", summary.rounds},
          {"source", name_of(summary.source)},
          {"range", bounds_or_null(summary.range)},
          {"reason", nullptr}};
}

Json json_of(const Round& round) {
  Json figures = Json::object();
  for (const auto& [metric, figure] : round.figures) {
    figures[std::string(info(metric).name)] = json_of(figure);
  }
  return {{"number", round.number},
          {"instrumented", round.instrumented},
          {"seconds", finite_or_zero(round.seconds)},
          {"failed", text_or_null(round.failed)},
          {"figures", std::move(figures)}};
}

/// Every metric, also of a contender that was never summarised: the schema asks for all of them.
Json summary_of(const Contender& contender) {
  Summary none;
  none.reason = contender.unavailable.empty() ? "not summarised" : contender.unavailable;
  Json summary = Json::object();
  for (const MetricInfo& metric : metrics()) {
    const auto found = contender.summary.find(metric.metric);
    summary[std::string(metric.name)] =
        json_of(found == contender.summary.end() ? none : found->second);
  }
  return summary;
}

template <class Values>
Json array_of(const Values& values);

Json json_of(const std::string& text) {
  return text;
}

Json json_of(const Contender& contender) {
  return {{"name", contender.name},
          {"unavailable", text_or_null(contender.unavailable)},
          {"verified_bytes", contender.verified_bytes},
          {"rounds", array_of(contender.rounds)},
          {"summary", summary_of(contender)}};
}

Json json_of(const Row& row) {
  return {{"title", row.title},
          {"size_bytes", row.size_bytes},
          {"connections", row.connections},
          {"mode", row.mode},
          {"offered_gbit_per_s", number_or_null(row.offered_gbit_per_s)},
          {"baseline", text_or_null(row.baseline)},
          {"contenders", array_of(row.contenders)}};
}

Json json_of(const BreakEven& found) {
  const Json size = number_or_null(found.size_bytes);
  return {{"path", found.path},
          {"size_bytes", size},
          {"ci95", bounds_or_null(found.ci95)},
          {"reason", size.is_null() ? Json(reason_for(found.size_bytes, found.reason))
                                    : text_or_null(found.reason)}};
}

template <class Values>
Json array_of(const Values& values) {
  Json array = Json::array();
  for (const auto& value : values) array.push_back(json_of(value));
  return array;
}

Json json_of(const Environment& environment) {
  const Json machine = environment.virtual_machine ? Json(*environment.virtual_machine) : Json();
  return {{"date", text_or_null(environment.date)},
          {"pagewire_version", text_or_null(environment.pagewire_version)},
          {"command_line", array_of(environment.command_line)},
          {"kernel", text_or_null(environment.kernel)},
          {"cpu_model", text_or_null(environment.cpu_model)},
          {"cpus", environment.cpus == 0 ? Json() : Json(environment.cpus)},
          {"virtual_machine", machine},
          {"clock_source", text_or_null(environment.clock_source)},
          {"irq_time_accounting", text_or_null(environment.irq_time_accounting)},
          {"irq_time_meaning", text_or_null(environment.irq_time_meaning)},
          {"tick_cpu_accounting", text_or_null(environment.tick_cpu_accounting)},
          {"hz", text_or_null(environment.hz)},
          {"tsc_mhz", number_or_null(environment.tsc_mhz)},
          {"hardware_counters", text_or_null(environment.hardware_counters)},
          {"filesystem", text_or_null(environment.filesystem)},
          {"network", text_or_null(environment.network)},
          {"offloads", array_of(environment.offloads)},
          {"load_average", number_or_null(environment.load_average)},
          {"notes", array_of(environment.notes)}};
}

/// A setting that was given twice keeps both values.
Json settings_of(const Report& report) {
  Json settings = Json::object();
  for (const auto& [name, value] : report.settings) {
    Json& written = settings[name];
    written = written.is_null() ? value : written.get<std::string>() + ", " + value;
  }
  return settings;
}

Json json_of(const Report& report) {
  const std::string why = report.partial_reason.empty() ? "not told" : report.partial_reason;
  return {{"schema_version", schema_version},
          {"kind", report.kind},
          {"title", report.title},
          {"environment", json_of(report.environment)},
          {"settings", settings_of(report)},
          {"partial", report.partial},
          {"partial_reason", report.partial ? Json(why) : Json()},
          {"rows", array_of(report.rows)},
          {"break_evens", array_of(report.break_evens)},
          {"remarks", array_of(report.remarks)}};
}

std::string on_one_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// A figure, a summary, a list of flags: what has no object inside and is short.
bool is_short(const Json& json, std::size_t indent) {
  constexpr std::size_t columns = 240;
  for (const Json& element : json) {
    if (element.is_object()) return false;
  }
  return indent + on_one_line(json).size() <= columns;
}

void write(const Json& json, std::size_t indent, std::string& into) {
  if (!json.is_structured() || json.empty() || is_short(json, indent)) {
    into += on_one_line(json);
    return;
  }
  into += json.is_object() ? '{' : '[';
  const char* separator = "\n";
  for (const auto& [key, value] : json.items()) {
    into += separator;
    into.append(indent + 1, ' ');
    if (json.is_object()) into += on_one_line(key) + ": ";
    write(value, indent + 1, into);
    separator = ",\n";
  }
  into += '\n';
  into.append(indent, ' ');
  into += json.is_object() ? '}' : ']';
}

}  // namespace

std::string to_json(const Report& report) {
  std::string text;
  write(json_of(report), 0, text);
  return text + "\n";
}

}  // namespace pagewire::bench
