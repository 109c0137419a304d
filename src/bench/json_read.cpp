// JSON -> Report. Accepts what docs/bench.schema.json does and nothing else.
//
// A report is somebody's file: it may be cut off, edited by hand, of another version, or no report
// at all. The first thing that is wrong is told with its place ("rows[0].contenders[2] has no
// 'name'") and nothing is thrown. How deep a text is nested is looked at before it is parsed:
// nlohmann's ordered_json copies members when an object grows, and a copy descends by recursion.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "bench/render.h"

namespace pagewire::bench {

namespace {

using Json = nlohmann::ordered_json;

/// Limits are those of a struct's members: std::uint64_t holds more, off_t does not.
constexpr double beyond_count = 9223372036854775808.0;
constexpr std::uint64_t max_count = 0x7fff'ffff'ffff'ffffU;

/// A value and its place. After the first problem every question gets an empty answer, so that
/// readers need no branches for errors.
class Node {
 public:
  Node(const Json* json, std::string place, std::string& problem)
      : json_(json), place_(std::move(place)), problem_(problem) {}

  /// An object with exactly these members, in any order.
  void has_exactly(std::initializer_list<std::string_view> keys) const;
  Node operator[](const char* key) const;

  bool is_null() const { return json_ == nullptr || json_->is_null(); }
  void must_be_null(std::string_view why) const;
  bool boolean() const;
  double number() const;
  std::optional<double> number_or_null() const;
  std::uint64_t count(std::uint64_t least) const;
  std::string text() const;
  std::string text_not_empty() const;
  std::string text_or_null() const;
  std::optional<Bounds> bounds_or_null() const;

  /// Calls visit(element) for each one of an array.
  template <class Visit>
  void elements(Visit visit) const;
  /// Calls visit(name, value) for each member of an object, in the order of the text.
  template <class Visit>
  void members(Visit visit) const;

  /// Notes the first problem: its place, then `what`.
  void wrong(const std::string& what) const;
  bool fine() const { return problem_.empty(); }

 private:
  bool check(bool is_right, const char* wanted) const;

  const Json* json_;  ///< null: there was a problem
  std::string place_;
  std::string& problem_;
};

void Node::wrong(const std::string& what) const {
  if (problem_.empty()) problem_ = place_.empty() ? what : place_ + " " + what;
}

bool Node::check(bool is_right, const char* wanted) const {
  if (!is_right) wrong(fmt::format("is {}, not {}", json_->type_name(), wanted));
  return is_right;
}

/// Names of keys in messages: of somebody's file, so perhaps endless.
std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 60;
  return fmt::format("'{}{}'", name.substr(0, longest), name.size() > longest ? "..." : "");
}

void Node::has_exactly(std::initializer_list<std::string_view> keys) const {
  if (json_ == nullptr || !check(json_->is_object(), "an object")) return;
  for (const std::string_view key : keys) {
    if (!json_->contains(key)) return wrong(fmt::format("has no {}", in_quotes(key)));
  }
  for (const auto& [key, value] : json_->items()) {
    if (std::ranges::find(keys, key) == keys.end()) {
      return wrong(fmt::format("has an unknown key {}", in_quotes(key)));
    }
  }
}

Node Node::operator[](const char* key) const {
  std::string place = place_.empty() ? key : place_ + "." + key;
  if (!fine() || json_ == nullptr) return {nullptr, std::move(place), problem_};
  const auto found = json_->find(key);  // end() for what is no object
  return {found == json_->end() ? nullptr : &*found, std::move(place), problem_};
}

void Node::must_be_null(std::string_view why) const {
  if (!is_null()) wrong(fmt::format("must be null {}", why));
}

bool Node::boolean() const {
  return json_ != nullptr && check(json_->is_boolean(), "true or false") && json_->get<bool>();
}

double Node::number() const {
  if (json_ == nullptr || !check(json_->is_number(), "a number")) return 0;
  return json_->get<double>();
}

std::optional<double> Node::number_or_null() const {
  if (is_null()) return std::nullopt;
  return number();
}

/// 4.0 is an integer too, as in JSON Schema.
std::uint64_t Node::count(std::uint64_t least) const {
  if (json_ == nullptr || !check(json_->is_number(), "a number")) return 0;
  std::optional<std::uint64_t> value;
  if (json_->is_number_unsigned()) {
    value = json_->get<std::uint64_t>();
  } else if (const double number = json_->get<double>();
             number >= 0 && number < beyond_count && std::floor(number) == number) {
    value = static_cast<std::uint64_t>(number);
  }
  if (!value || *value < least || *value > max_count) {
    wrong(fmt::format("is not a whole number from {} to 2^63 - 1", least));
    return 0;
  }
  return *value;
}

std::string Node::text() const {
  if (json_ == nullptr || !check(json_->is_string(), "a string")) return {};
  return json_->get_ref<const std::string&>();
}

std::string Node::text_not_empty() const {
  std::string found = text();
  if (found.empty()) wrong("is an empty string");
  return found;
}

std::string Node::text_or_null() const {
  return is_null() ? std::string() : text_not_empty();
}

std::optional<Bounds> Node::bounds_or_null() const {
  if (is_null()) return std::nullopt;
  std::vector<double> ends;
  elements([&ends](const Node& end) { ends.push_back(end.number()); });
  if (ends.size() == 2) return Bounds{.low = ends[0], .high = ends[1]};
  wrong("is not [low, high]");
  return std::nullopt;
}

template <class Visit>
void Node::elements(Visit visit) const {
  if (json_ == nullptr || !check(json_->is_array(), "an array")) return;
  for (std::size_t i = 0; i < json_->size() && fine(); ++i) {
    visit(Node(&(*json_)[i], fmt::format("{}[{}]", place_, i), problem_));
  }
}

template <class Visit>
void Node::members(Visit visit) const {
  if (json_ == nullptr || !check(json_->is_object(), "an object")) return;
  for (const auto& [key, value] : json_->items()) {
    if (!fine()) return;
    const std::string name = key.substr(0, 60);
    visit(key, Node(&value, place_.empty() ? name : place_ + "." + name, problem_));
  }
}

// ---------------------------------------------------------------- the parts of a report

std::vector<std::string> texts_of(const Node& node) {
  std::vector<std::string> texts;
  node.elements([&texts](const Node& text) { texts.push_back(text.text()); });
  return texts;
}

Source source_of(const Node& node) {
  const std::string name = node.text();
  for (const Source source : {Source::Measured, Source::Counted, Source::Modelled}) {
    if (name == name_of(source)) return source;
  }
  node.wrong("is not measured, counted or modelled");
  return Source::Measured;
}

constexpr std::string_view without_value = "where there is no value";
constexpr std::string_view with_value = "where there is a value";

Figure figure_of(const Node& node) {
  node.has_exactly({"value", "source", "reason", "range"});
  Figure figure;
  if (node["value"].is_null()) {
    node["source"].must_be_null(without_value);
    node["range"].must_be_null(without_value);
    figure.reason = node["reason"].text_not_empty();
  } else {
    figure.value = node["value"].number();
    figure.source = source_of(node["source"]);
    figure.range = node["range"].bounds_or_null();
    node["reason"].must_be_null(with_value);
  }
  return figure;
}

/// Looks only: summaries are made anew from the rounds.
void check_summary(const Node& node) {
  node.has_exactly({"median", "mean", "ci95", "extent", "rounds", "source", "range", "reason"});
  if (node["median"].is_null()) {
    for (const char* key : {"mean", "ci95", "extent", "source", "range"}) {
      node[key].must_be_null("where there is no median");
    }
    (void)node["reason"].text_not_empty();
    if (node["rounds"].number() != 0) node["rounds"].wrong("must be 0 where there is no median");
    return;
  }
  (void)node["median"].number();
  (void)node["mean"].number();
  for (const char* key : {"ci95", "extent", "range"}) (void)node[key].bounds_or_null();
  (void)node["rounds"].count(1);
  (void)source_of(node["source"]);
  node["reason"].must_be_null("where there is a median");
}

/// Calls visit(metric, value) for each member; they must all be metrics.
template <class Visit>
void by_metric(const Node& node, Visit visit) {
  node.members([&visit](const std::string& name, const Node& value) {
    const std::optional<Metric> metric = find_metric(name);
    if (!metric) return value.wrong("is no metric that this pagewire knows");
    visit(*metric, value);
  });
}

Round round_of(const Node& node) {
  node.has_exactly({"number", "instrumented", "seconds", "failed", "figures"});
  Round round;
  round.number = node["number"].count(1);
  round.instrumented = node["instrumented"].boolean();
  round.seconds = node["seconds"].number();
  if (round.seconds < 0) node["seconds"].wrong("is less than 0");
  round.failed = node["failed"].text_or_null();
  by_metric(node["figures"], [&round](Metric metric, const Node& figure) {
    round.figures[metric] = figure_of(figure);
  });
  return round;
}

Contender contender_of(const Node& node) {
  node.has_exactly({"name", "unavailable", "verified_bytes", "rounds", "summary"});
  Contender contender;
  contender.name = node["name"].text_not_empty();
  contender.unavailable = node["unavailable"].text_or_null();
  contender.verified_bytes = node["verified_bytes"].count(0);
  node["rounds"].elements(
      [&contender](const Node& round) { contender.rounds.push_back(round_of(round)); });
  if (!contender.unavailable.empty() && !contender.rounds.empty()) {
    node["rounds"].wrong("must be empty for a contender that was not available");
  }
  std::size_t seen = 0;
  by_metric(node["summary"], [&seen](Metric, const Node& summary) {
    check_summary(summary);
    ++seen;
  });
  if (seen < metric_count) node["summary"].wrong("does not have every metric");
  return contender;
}

Row row_of(const Node& node) {
  node.has_exactly({"title", "size_bytes", "connections", "mode", "offered_gbit_per_s", "baseline",
                    "contenders"});
  Row row;
  row.title = node["title"].text();
  row.size_bytes = node["size_bytes"].count(0);
  row.connections = node["connections"].count(1);
  row.mode = node["mode"].text();
  if (row.mode != "stream" && row.mode != "request") {
    node["mode"].wrong("is not stream or request");
  }
  row.offered_gbit_per_s = node["offered_gbit_per_s"].number_or_null();
  if (row.offered_gbit_per_s && *row.offered_gbit_per_s <= 0) {
    node["offered_gbit_per_s"].wrong("is not above 0");
  }
  row.baseline = node["baseline"].text_or_null();
  node["contenders"].elements(
      [&row](const Node& contender) { row.contenders.push_back(contender_of(contender)); });
  return row;
}

/// 2026-11-22T21:20:57Z
bool is_date(std::string_view text) {
  constexpr std::string_view pattern = "0000-00-00T00:00:00Z";
  return std::ranges::equal(text, pattern, [](char found, char wanted) {
    return wanted == '0' ? found >= '0' && found <= '9' : found == wanted;
  });
}

Environment environment_of(const Node& node) {
  node.has_exactly({"date", "pagewire_version", "command_line", "kernel", "cpu_model", "cpus",
                    "virtual_machine", "clock_source", "irq_time_accounting", "irq_time_meaning",
                    "tick_cpu_accounting", "hz", "tsc_mhz", "hardware_counters", "filesystem",
                    "network", "offloads", "load_average", "notes"});
  Environment environment;
  environment.date = node["date"].text_or_null();
  if (!node["date"].is_null() && !is_date(environment.date)) {
    node["date"].wrong("is not YYYY-MM-DDThh:mm:ssZ");
  }
  environment.pagewire_version = node["pagewire_version"].text_or_null();
  environment.command_line = texts_of(node["command_line"]);
  environment.kernel = node["kernel"].text_or_null();
  environment.cpu_model = node["cpu_model"].text_or_null();
  environment.cpus = node["cpus"].is_null() ? 0 : node["cpus"].count(1);
  if (const Node machine = node["virtual_machine"]; !machine.is_null()) {
    environment.virtual_machine = machine.boolean();
  }
  environment.clock_source = node["clock_source"].text_or_null();
  environment.irq_time_accounting = node["irq_time_accounting"].text_or_null();
  environment.irq_time_meaning = node["irq_time_meaning"].text_or_null();
  environment.tick_cpu_accounting = node["tick_cpu_accounting"].text_or_null();
  environment.hz = node["hz"].text_or_null();
  environment.tsc_mhz = node["tsc_mhz"].number_or_null();
  environment.hardware_counters = node["hardware_counters"].text_or_null();
  environment.filesystem = node["filesystem"].text_or_null();
  environment.network = node["network"].text_or_null();
  environment.offloads = texts_of(node["offloads"]);
  environment.load_average = node["load_average"].number_or_null();
  environment.notes = texts_of(node["notes"]);
  return environment;
}

BreakEven break_even_of(const Node& node) {
  node.has_exactly({"path", "size_bytes", "ci95", "reason"});
  const Node reason = node["reason"];
  BreakEven found;
  found.path = node["path"].text_not_empty();
  found.size_bytes = node["size_bytes"].number_or_null();
  found.ci95 = node["ci95"].bounds_or_null();
  found.reason = found.size_bytes ? reason.text_or_null() : reason.text_not_empty();
  if (!found.size_bytes && reason.is_null()) reason.wrong("is missing where there is no size");
  return found;
}

void check_version(const Node& node) {
  const Node version = node["schema_version"];
  const double number = version.number();
  if (version.is_null()) {
    node.wrong("there is no schema_version: not a report of pagewire bench");
  } else if (number != schema_version) {
    node.wrong(
        fmt::format("schema_version is {:g}, this pagewire reads {}", number, schema_version));
  }
}

Report report_of(const Node& node) {
  check_version(node);
  if (node["kind"].text_or_null() == "calibration") {
    node.wrong("is a calibration (for serve --calibration), not a report");
  }
  node.has_exactly({"schema_version", "kind", "title", "environment", "settings", "partial",
                    "partial_reason", "rows", "break_evens", "remarks"});
  Report report;
  report.kind = node["kind"].text();
  const auto kinds = {"run", "sweep", "serve", "peers", "seed"};
  if (std::ranges::find(kinds, report.kind) == kinds.end()) {
    node["kind"].wrong("is not run, sweep, serve, peers or seed");
  }
  report.title = node["title"].text();
  report.environment = environment_of(node["environment"]);
  node["settings"].members([&report](const std::string& name, const Node& value) {
    report.settings.emplace_back(name, value.text());
  });
  report.partial = node["partial"].boolean();
  const Node why = node["partial_reason"];
  if (report.partial && why.is_null()) why.wrong("is null in a partial report");
  if (!report.partial) why.must_be_null("in a report that is not partial");
  report.partial_reason = why.text_or_null();
  node["rows"].elements([&report](const Node& row) { report.rows.push_back(row_of(row)); });
  node["break_evens"].elements(
      [&report](const Node& found) { report.break_evens.push_back(break_even_of(found)); });
  report.remarks = texts_of(node["remarks"]);
  return report;
}

/// "line 3, column 17" of the byte that the parser stopped at.
std::string place_of(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(text.size(), byte == 0 ? 0 : byte - 1));
  const auto lines = std::ranges::count(before, '\n');
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0: the first line
  return fmt::format("line {}, column {}", lines + 1, before.size() - line_start + 1);
}

/// Counts brackets outside of strings. Exact for JSON; in other texts as far as they are JSON, and
/// no parser goes beyond that.
bool is_nested_too_deep(std::string_view text) {
  constexpr std::size_t limit = 32;  // a report has 10 levels
  std::size_t depth = 0;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      is_in_string = !is_in_string;
    } else if (is_in_string) {
      if (text[i] == '\\') ++i;
    } else if (text[i] == '[' || text[i] == '{') {
      if (++depth > limit) return true;
    } else if ((text[i] == ']' || text[i] == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

tl::expected<Report, std::string> from_json(std::string_view text) {
  if (is_nested_too_deep(text)) return tl::unexpected(std::string("nested deeper than a report"));
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    return tl::unexpected("not JSON: " + place_of(text, error.byte));
  } catch (const Json::exception&) {  // out_of_range: 1e999
    return tl::unexpected(std::string("a number is too large"));
  }
  if (!json.is_object()) return tl::unexpected(std::string("not a JSON object"));
  std::string problem;
  Report report = report_of(Node(&json, "", problem));
  if (!problem.empty()) return tl::unexpected(problem);
  summarise(report);
  return report;
}

}  // namespace pagewire::bench
