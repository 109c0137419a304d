#include "top/exposition.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace pagewire::top {

namespace {

bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == ':';
}

std::string_view take_name(std::string_view& rest) {
  const auto end = std::find_if_not(rest.begin(), rest.end(), in_name);
  const std::string_view name = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
  rest.remove_prefix(name.size());
  return name;
}

bool take(std::string_view& rest, char wanted) {
  if (rest.empty() || rest.front() != wanted) return false;
  rest.remove_prefix(1);
  return true;
}

/// The text in quotes, whose first has been taken: \\, \" and \n stand for one character.
std::optional<std::string> take_quoted(std::string_view& rest) {
  std::string value;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == '"') return value;
    if (c != '\\') {
      value += c;
      continue;
    }
    if (rest.empty()) return std::nullopt;
    value += rest.front() == 'n' ? '\n' : rest.front();
    rest.remove_prefix(1);
  }
  return std::nullopt;
}

/// name="value", ... } ; the opening brace has been taken.
std::optional<Labels> take_labels(std::string_view& rest) {
  Labels labels;
  while (!take(rest, '}')) {
    const std::string_view name = take_name(rest);
    if (name.empty() || !take(rest, '=') || !take(rest, '"')) return std::nullopt;
    std::optional<std::string> value = take_quoted(rest);
    if (!value) return std::nullopt;
    labels.emplace_back(name, std::move(*value));
    take(rest, ',');
    if (rest.empty()) return std::nullopt;
  }
  return labels;
}

/// Also "NaN", "+Inf".
std::optional<double> take_value(std::string_view& rest) {
  while (take(rest, ' ')) {
  }
  take(rest, '+');
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc()) return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  if (!rest.empty() && rest.front() != ' ') return std::nullopt;
  return value;
}

std::optional<Sample> parse_line(std::string_view line) {
  Sample sample;
  sample.name = take_name(line);
  if (sample.name.empty()) return std::nullopt;
  if (take(line, '{')) {
    std::optional<Labels> labels = take_labels(line);
    if (!labels) return std::nullopt;
    sample.labels = std::move(*labels);
  }
  const std::optional<double> value = take_value(line);
  if (!value) return std::nullopt;
  sample.value = *value;
  return sample;
}

}  // namespace

std::string_view Sample::label(std::string_view wanted) const {
  for (const auto& [its, text] : labels) {
    if (its == wanted) return text;
  }
  return {};
}

tl::expected<Exposition, std::string> Exposition::parse(std::string_view text) {
  Exposition exposition;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty() || line.front() == '#') continue;
    std::optional<Sample> sample = parse_line(line);
    if (!sample) return tl::unexpected(fmt::format("line {} of it is no metric", number));
    exposition.samples_.push_back(std::move(*sample));
  }
  return exposition;
}

std::vector<const Sample*> Exposition::of(std::string_view name) const {
  std::vector<const Sample*> found;
  for (const Sample& sample : samples_) {
    if (sample.name == name) found.push_back(&sample);
  }
  return found;
}

std::optional<double> Exposition::total(std::string_view name) const {
  std::optional<double> total;
  for (const Sample* const sample : of(name)) total = total.value_or(0) + sample->value;
  return total;
}

std::optional<double> Exposition::with(std::string_view name, std::string_view label,
                                       std::string_view value) const {
  for (const Sample* const sample : of(name)) {
    if (sample->label(label) == value) return sample->value;
  }
  return std::nullopt;
}

std::optional<double> Exposition::same_as(const Sample& wanted) const {
  for (const Sample& sample : samples_) {
    if (sample.name == wanted.name && sample.labels == wanted.labels) return sample.value;
  }
  return std::nullopt;
}

}  // namespace pagewire::top
