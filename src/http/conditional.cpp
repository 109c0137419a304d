// conditional: whether a request's preconditions hold for the selected representation.
//
// Invariant: a field that cannot be understood never makes a response wrong, only less economical:
// If-Match fails, If-None-Match and If-Range do not match, a bad date is not there.
// Relies on RFC 9110 sections 8.8.3 (entity tags and their comparison), 13.1 and 13.2.2.
#include "http/http.h"
#include "http/text.h"

namespace pagewire::http {
namespace {

enum class Comparison { Strong, Weak };

bool any_tag_matches(const FieldLines& lines, std::string_view etag, Comparison comparison);
bool line_matches(std::string_view line, std::string_view etag, Comparison comparison);

// The modification time is as good a "now" as any to find the century of RFC 850's two digits.
std::optional<std::int64_t> parse_date(std::string_view text, const Validators& validators) {
  return parse_http_date(text, validators.last_modified_s);
}

}  // namespace

Precondition evaluate_preconditions(const Request& request, const Validators& validators) {
  if (request.method != Method::Get && request.method != Method::Head) {
    return Precondition::Proceed;
  }
  if (request.if_match.present()) {
    if (!any_tag_matches(request.if_match, validators.etag, Comparison::Strong)) {
      return Precondition::Failed;
    }
  } else if (const auto date = parse_date(request.if_unmodified_since, validators)) {
    if (validators.last_modified_s > *date) return Precondition::Failed;
  }
  if (request.if_none_match.present()) {
    return any_tag_matches(request.if_none_match, validators.etag, Comparison::Weak)
               ? Precondition::NotModified
               : Precondition::Proceed;
  }
  if (const auto date = parse_date(request.if_modified_since, validators)) {
    if (validators.last_modified_s <= *date) return Precondition::NotModified;
  }
  return Precondition::Proceed;
}

bool if_range_holds(const Request& request, const Validators& validators) {
  if (request.if_range.empty()) return true;
  // Ours is strong and has its quotes, so equal text is the strong comparison.
  if (request.if_range.find('"') != std::string_view::npos) {
    return request.if_range == validators.etag;
  }
  const auto date = parse_date(request.if_range, validators);
  return date && *date == validators.last_modified_s;
}

namespace {

bool any_tag_matches(const FieldLines& lines, std::string_view etag, Comparison comparison) {
  for (std::size_t i = 0; i < lines.count; ++i) {
    if (line_matches(lines.lines[i], etag, comparison)) return true;
  }
  return false;
}

// Walks a list of entity tags. A tag may hold commas, so this is no for_each_element(). What does
// not follow the grammar ends the walk: its tags cannot be told apart.
bool line_matches(std::string_view line, std::string_view etag, Comparison comparison) {
  if (trim_ows(line) == "*") return true;
  while (true) {
    while (!line.empty() && (is_ows(line.front()) || line.front() == ',')) line.remove_prefix(1);
    const bool is_weak = line.starts_with("W/");
    if (is_weak) line.remove_prefix(2);
    if (!line.starts_with('"')) return false;
    const std::size_t close = line.find('"', 1);
    if (close == std::string_view::npos) return false;
    const std::string_view tag = line.substr(0, close + 1);
    const bool may_match = !is_weak || comparison == Comparison::Weak;
    line = line.substr(close + 1);
    const std::size_t after = line.find_first_not_of(" \t");
    if (after != std::string_view::npos && line[after] != ',') return false;
    if (may_match && tag == etag) return true;
  }
}

}  // namespace
}  // namespace pagewire::http
