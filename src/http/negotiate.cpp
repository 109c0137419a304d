// negotiate: what a client would rather have, from Accept-Encoding and Accept.
//
// Invariant: an element that does not follow the grammar is as if it were not there.
// Relies on RFC 9110 sections 12.4.2 (weights), 12.5.1 and 12.5.3.
#include <algorithm>
#include <optional>

#include "http/http.h"
#include "http/text.h"

namespace pagewire::http {
namespace {

// "gzip;q=0.5": what stands before the first ';', and the weight in thousandths.
struct Weighted {
  std::string_view name;
  std::uint16_t weight = 1000;
};

// How closely a media range names a type; a closer one counts before a wider one (12.5.1).
enum class Closeness { None, Any, Type, Exact };

struct MediaPreference {
  Closeness closeness = Closeness::None;
  std::uint16_t weight = 0;
};

// Where identity stands when the client names it nowhere: acceptable, after all it does name.
constexpr std::uint16_t unnamed_identity_weight = 1;

std::optional<Weighted> parse_weighted(std::string_view element);
std::optional<std::uint16_t> parse_qvalue(std::string_view text);
std::uint16_t weight_of(const CodingWeights& weights, Coding coding);
MediaPreference preference_for(const FieldLines& accept, std::string_view type,
                               std::string_view type_and_subtype);

template <class Visit>
void for_each_weighted(const FieldLines& lines, Visit visit) {
  for (std::size_t i = 0; i < lines.count; ++i) {
    for_each_element(lines.lines[i], [&](std::string_view element) {
      if (const std::optional<Weighted> weighted = parse_weighted(element)) visit(*weighted);
    });
  }
}

}  // namespace

std::string_view file_suffix(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return "";
    case Coding::Brotli:
      return "br";
    case Coding::Zstd:
      return "zst";
    case Coding::Gzip:
      return "gz";
  }
  return "";
}

std::string_view coding_token(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return "identity";
    case Coding::Brotli:
      return "br";
    case Coding::Zstd:
      return "zstd";
    case Coding::Gzip:
      return "gzip";
  }
  return "identity";
}

CodingWeights parse_accept_encoding(const FieldLines& accept_encoding) {
  if (!accept_encoding.present()) return {};
  std::optional<std::uint16_t> brotli;
  std::optional<std::uint16_t> zstd;
  std::optional<std::uint16_t> gzip;
  std::optional<std::uint16_t> identity;
  std::optional<std::uint16_t> any;
  for_each_weighted(accept_encoding, [&](const Weighted& coding) {
    if (equals_ignoring_case(coding.name, "br")) brotli = coding.weight;
    if (equals_ignoring_case(coding.name, "zstd")) zstd = coding.weight;
    if (equals_ignoring_case(coding.name, "gzip")) gzip = coding.weight;
    // RFC 9110 8.4.1.3: a recipient takes x-gzip for gzip.
    if (equals_ignoring_case(coding.name, "x-gzip")) gzip = coding.weight;
    if (equals_ignoring_case(coding.name, "identity")) identity = coding.weight;
    if (coding.name == "*") any = coding.weight;
  });
  return {.brotli = brotli.value_or(any.value_or(0)),
          .zstd = zstd.value_or(any.value_or(0)),
          .gzip = gzip.value_or(any.value_or(0)),
          .identity = identity.value_or(any.value_or(unnamed_identity_weight))};
}

CodingOrder preferred_codings(const CodingWeights& weights) {
  CodingOrder order;
  for (const Coding coding : {Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity}) {
    const std::uint16_t weight = weight_of(weights, coding);
    if (weight == 0) continue;
    std::size_t place = order.count++;
    for (; place > 0 && weight_of(weights, order.codings[place - 1]) < weight; --place) {
      order.codings[place] = order.codings[place - 1];
    }
    order.codings[place] = coding;
  }
  return order;
}

bool prefers_json(const FieldLines& accept) {
  const MediaPreference json = preference_for(accept, "application/*", "application/json");
  const MediaPreference text = preference_for(accept, "text/*", "text/plain");
  if (json.weight != text.weight) return json.weight > text.weight;
  // "application/json, */*" weighs both alike, but names only one of them.
  return json.weight > 0 && json.closeness > text.closeness;
}

namespace {

std::optional<Weighted> parse_weighted(std::string_view element) {
  Weighted weighted;
  weighted.name = take_until(';', element);
  if (weighted.name.empty()) return std::nullopt;
  while (!element.empty()) {
    const std::string_view parameter = take_until(';', element);
    if (parameter.size() < 2 || to_lower(parameter[0]) != 'q' || parameter[1] != '=') continue;
    const std::optional<std::uint16_t> weight = parse_qvalue(parameter.substr(2));
    if (!weight) return std::nullopt;
    weighted.weight = *weight;
  }
  return weighted;
}

// "0", "0.5", "1.000": at most three digits after the point.
std::optional<std::uint16_t> parse_qvalue(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  unsigned thousandths = text[0] == '1' ? 1000 : 0;
  unsigned place_value = 100;
  for (const char c : text.substr(std::min<std::size_t>(text.size(), 2))) {
    if (!is_decimal(c)) return std::nullopt;
    thousandths += static_cast<unsigned>(c - '0') * place_value;
    place_value /= 10;
  }
  if (thousandths > 1000) return std::nullopt;
  return static_cast<std::uint16_t>(thousandths);
}

std::uint16_t weight_of(const CodingWeights& weights, Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return weights.identity;
    case Coding::Brotli:
      return weights.brotli;
    case Coding::Zstd:
      return weights.zstd;
    case Coding::Gzip:
      return weights.gzip;
  }
  return 0;
}

MediaPreference preference_for(const FieldLines& accept, std::string_view type,
                               std::string_view type_and_subtype) {
  MediaPreference best;
  for_each_weighted(accept, [&](const Weighted& range) {
    Closeness closeness = Closeness::None;
    if (range.name == "*/*") closeness = Closeness::Any;
    if (equals_ignoring_case(range.name, type)) closeness = Closeness::Type;
    if (equals_ignoring_case(range.name, type_and_subtype)) closeness = Closeness::Exact;
    if (closeness > best.closeness) best = {closeness, range.weight};
  });
  return best;
}

}  // namespace
}  // namespace pagewire::http
