// The kinds of entries that a table of options is made of: numbers, sizes, times, choices, texts.
//
// Each knows what it takes, how it is read and how it is shown, so that an entry says only its
// name, its bounds and its member: a generic lambda from the (const) settings to the (const)
// member. A table's file says `using Make = OptionKinds<ItsSettings>;` once.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"
#include "cli/option.h"
#include "cli/values.h"

namespace pagewire::cli {

/// What every kind of entry has.
struct About {
  std::string_view name;
  char short_name = 0;
  std::string_view group;
  std::string_view placeholder;
  std::string_view help;
  std::string_view default_text = {};
};

struct Bounds {
  std::uint64_t least = 0;
  std::uint64_t most = 0;
};

struct DurationBounds {
  std::int64_t least_ms = 0;
  std::int64_t most_ms = 24 * 3'600'000;
};

template <class Value>
struct Choice {
  std::string_view name;
  Value value;
};

/// "auto, on or off"
inline std::string one_of(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

inline std::uint64_t& plain(ByteCount& count) {
  return count.value;
}
inline std::uint64_t plain(const ByteCount& count) {
  return count.value;
}
inline std::uint64_t& plain(std::uint64_t& count) {
  return count;
}
inline std::uint64_t plain(const std::uint64_t& count) {
  return count;
}

template <class Settings>
struct OptionKinds {
  using Option = BasicOption<Settings>;
  using Kind = OptionFacts::Kind;

  static Option described(Kind kind, const About& about, std::string takes) {
    Option option;
    option.kind = kind;
    option.name = about.name;
    option.short_name = about.short_name;
    option.group = about.group;
    option.placeholder = about.placeholder;
    option.help = about.help;
    option.default_text = about.default_text;
    option.takes = std::move(takes);
    return option;
  }

  template <class Member>
  static Option number(const About& about, Bounds bounds, Member member) {
    Option option = described(Kind::Number, about,
                              fmt::format("a number from {} to {}", bounds.least, bounds.most));
    option.set = [bounds, member](std::string_view value, Settings& settings) {
      const std::optional<std::uint64_t> parsed = parse_number(value);
      if (!parsed || *parsed < bounds.least || *parsed > bounds.most) return false;
      member(settings) = static_cast<std::remove_reference_t<decltype(member(settings))>>(*parsed);
      return true;
    };
    option.show = [member](const Settings& settings) {
      return std::vector{fmt::format("{}", member(settings))};
    };
    return option;
  }

  template <class Member>
  static Option size(const About& about, Bounds bounds, Member member) {
    Option option = described(Kind::Size, about,
                              fmt::format("a size from {} to {} (K, M, G are of 1024)",
                                          show_size(bounds.least), show_size(bounds.most)));
    option.set = [bounds, member](std::string_view value, Settings& settings) {
      const std::optional<std::uint64_t> parsed = parse_size(value);
      if (!parsed || *parsed < bounds.least || *parsed > bounds.most) return false;
      plain(member(settings)) = *parsed;
      return true;
    };
    option.show = [member](const Settings& settings) {
      return std::vector{show_size(plain(member(settings)))};
    };
    return option;
  }

  template <class Member>
  static Option duration(const About& about, DurationBounds bounds, Member member) {
    Option option =
        described(Kind::Text, about,
                  fmt::format("a time from {} to {}, with its unit (ms, s, m, h)",
                              bounds.least_ms == 0 ? "0" : show_duration(bounds.least_ms),
                              show_duration(bounds.most_ms)));
    option.set = [bounds, member](std::string_view value, Settings& settings) {
      const std::optional<std::int64_t> parsed = parse_duration_ms(value);
      if (!parsed || *parsed < bounds.least_ms || *parsed > bounds.most_ms) return false;
      member(settings) = *parsed;
      return true;
    };
    option.show = [member](const Settings& settings) {
      return std::vector{show_duration(member(settings))};
    };
    return option;
  }

  /// A time in seconds, for a member that is a double or an optional one ("off" is none).
  template <class Member>
  static Option seconds(const About& about, DurationBounds bounds, Member member) {
    Option option = described(Kind::Text, about,
                              fmt::format("seconds from {} to {}, such as 3, 0.5 or 500ms",
                                          show_decimal(static_cast<double>(bounds.least_ms) / 1e3),
                                          bounds.most_ms / 1'000));
    option.set = [bounds, member](std::string_view value, Settings& settings) {
      const std::optional<double> parsed = parse_seconds(value);
      if (!parsed || *parsed * 1e3 < static_cast<double>(bounds.least_ms) ||
          *parsed * 1e3 > static_cast<double>(bounds.most_ms)) {
        return false;
      }
      member(settings) = *parsed;
      return true;
    };
    option.show = [member](const Settings& settings) {
      const std::optional<double> shown = member(settings);
      return std::vector{shown ? show_decimal(*shown) : std::string("off")};
    };
    return option;
  }

  template <class Member>
  static Option boolean(Kind kind, const About& about, Member member) {
    const bool is_switch = kind == Kind::Switch;
    Option option = described(kind, about, is_switch ? "true or false" : "on or off");
    const std::string_view yes = is_switch ? "true" : "on";
    const std::string_view no = is_switch ? "false" : "off";
    option.set = [=](std::string_view value, Settings& settings) {
      if (value != yes && value != no) return false;
      member(settings) = value == yes;
      return true;
    };
    option.show = [=](const Settings& settings) {
      return std::vector{std::string(member(settings) ? yes : no)};
    };
    return option;
  }

  template <class Value, class Member>
  static Option choice(const About& about, std::vector<Choice<Value>> choices, Member member) {
    std::vector<std::string_view> names;
    for (const Choice<Value>& each : choices) names.push_back(each.name);
    Option option = described(Kind::Text, about, one_of(names));
    option.words = std::move(names);
    option.set = [choices, member](std::string_view value, Settings& settings) {
      for (const Choice<Value>& each : choices) {
        if (each.name != value) continue;
        member(settings) = each.value;
        return true;
      }
      return false;
    };
    option.show = [choices, member](const Settings& settings) {
      for (const Choice<Value>& each : choices) {
        if (each.value == member(settings)) return std::vector{std::string(each.name)};
      }
      return std::vector<std::string>{};
    };
    return option;
  }

  template <class Member>
  static Option text(Kind kind, const About& about, std::string takes, Member member) {
    Option option = described(kind, about, std::move(takes));
    option.set = [member](std::string_view value, Settings& settings) {
      if (value.empty() || value.find('\0') != std::string_view::npos) return false;
      member(settings) = value;
      return true;
    };
    option.show = [member](const Settings& settings) {
      return std::vector<std::string>{member(settings)};
    };
    return option;
  }
};

}  // namespace pagewire::cli
