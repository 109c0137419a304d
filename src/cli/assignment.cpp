#include "cli/assignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/values.h"

namespace pagewire::cli {

namespace {

/// The word of the option's that was meant by the first one that it does not know.
std::optional<std::string_view> meant(const OptionFacts& option, std::string_view text) {
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view word = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const bool known =
        std::find(option.words.begin(), option.words.end(), word) != option.words.end();
    if (!known) return near_match(word, option.words);
  }
  return std::nullopt;
}

}  // namespace

UsageError not_taken(const OptionFacts& option, const Value& value) {
  const std::optional<std::string_view> near = meant(option, value.text);
  return {fmt::format("{} takes {}, not {}{}", value.where, option.takes, value.shown,
                      near ? fmt::format(" (did you mean {}?)", *near) : "")};
}

}  // namespace pagewire::cli
