// TOML by toml++, which keeps the line of each node.
#include "cli/config_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "cli/relay_options.h"
#include "cli/serve_options.h"
#include "cli/text_file.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

struct Line {
  toml::source_index number = 0;
  std::string key;
  const toml::node* node = nullptr;
};

/// toml++ keeps a table by its keys' names; errors and lists want the order of the file.
std::vector<Line> lines_of(const toml::table& table) {
  std::vector<Line> lines;
  for (const auto& [key, node] : table) {
    lines.push_back(
        {.number = key.source().begin.line, .key = std::string(key.str()), .node = &node});
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.number < b.number; });
  return lines;
}

/// What is read, by which table.
struct Source {
  const CommandTable& table;
  const ConfigText& config;
};

UsageError unknown_key(const ConfigText& config, const Line& line,
                       const std::vector<std::string_view>& known) {
  const std::optional<std::string_view> near = near_match(line.key, known);
  return {fmt::format("{}:{}: unknown key '{}'{}", config.name, line.number, line.key,
                      near ? fmt::format(" (did you mean '{}'?)", *near) : "")};
}

/// The other command with a file that has this key; "".
std::string_view whose_key(std::string_view key, const CommandTable& table) {
  for (const CommandTable& other : {serve_command(), relay_command()}) {
    const OptionFacts* const option = other.find(key);
    if (option != nullptr && option->in_file && other.command != table.command) {
      return other.command;
    }
  }
  return {};
}

std::vector<std::string_view> keys_of(const CommandTable& table) {
  std::vector<std::string_view> keys;
  for (const OptionFacts* const option : table.options) {
    if (option->in_file) keys.push_back(option->name);
  }
  return keys;
}

/// A value as an error repeats it.
std::string shown(const toml::node& node) {
  if (const auto* const text = node.as_string()) return '"' + text->get() + '"';
  if (const auto* const number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* const number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* const truth = node.as_boolean()) return truth->get() ? "true" : "false";
  if (node.is_array()) return "an array";
  if (node.is_table()) return "a table";
  return "a date or time";
}

/// The value's text as the option's flag would be given it, or nullopt for a wrong type.
std::optional<std::string> text_for(Kind kind, const toml::node& node) {
  switch (kind) {
    case Kind::Switch:
      if (const auto* const truth = node.as_boolean()) return truth->get() ? "true" : "false";
      return std::nullopt;
    case Kind::OnOff:
      if (const auto* const truth = node.as_boolean()) return truth->get() ? "on" : "off";
      break;
    case Kind::Number:
    case Kind::Size:
      if (const auto* const number = node.as_integer()) return fmt::format("{}", number->get());
      if (kind == Kind::Number) return std::nullopt;
      break;
    case Kind::Text:
    case Kind::List:
    case Kind::Positional:
      break;
    case Kind::Tables:
      return std::nullopt;
  }
  if (const auto* const text = node.as_string()) return text->get();
  return std::nullopt;
}

OrUsageError<Value> value_of(const ConfigText& config, const OptionFacts& option,
                             const toml::node& node) {
  const std::string where =
      fmt::format("{}:{}: {}", config.name, node.source().begin.line, option.name);
  std::optional<std::string> text = text_for(option.kind, node);
  if (!text) {
    return tl::unexpected(
        UsageError{fmt::format("{} takes {}, not {}", where, option.takes, shown(node))});
  }
  return Value{.text = std::move(*text), .shown = shown(node), .where = where};
}

/// The text of a table's field; of a list the texts of its elements with list_separator between.
std::optional<std::string> field_text(const OptionFacts::Field& field, const toml::node& node) {
  const auto plain = [&](const toml::node& value) -> std::optional<std::string> {
    std::optional<std::string> text = text_for(field.kind, value);
    constexpr std::string_view separators("\0\x1f", 2);
    if (text && (text->empty() || text->find_first_of(separators) != std::string::npos)) return {};
    return text;
  };
  const toml::array* const array = field.kind == Kind::List ? node.as_array() : nullptr;
  if (array == nullptr) return plain(node);
  std::vector<std::string> texts;
  for (const toml::node& element : *array) {
    std::optional<std::string> text = plain(element);
    if (!text) return std::nullopt;
    texts.push_back(std::move(*text));
  }
  return fmt::format("{}", fmt::join(texts, std::string_view(&OptionFacts::list_separator, 1)));
}

/// A key that a table does not have; it may be one of the file's, which stands above all tables.
UsageError unknown_field(const Source& source, const OptionFacts& option, const Line& line,
                         const std::vector<std::string_view>& known) {
  const OptionFacts* const of_file = source.table.find(line.key);
  if (of_file == nullptr || !of_file->in_file) return unknown_key(source.config, line, known);
  return {fmt::format("{}:{}: '{}' is no key of {}: it stands once, above the first [[{}]]",
                      source.config.name, line.number, line.key, option.name, option.name)};
}

/// One table: the texts of its fields, in their order.
OrUsageError<Value> table_value(const Source& source, const OptionFacts& option,
                                const toml::table& table) {
  const ConfigText& config = source.config;
  std::vector<std::string_view> known;
  for (const OptionFacts::Field& field : option.fields) known.push_back(field.name);
  std::vector<std::string> texts(option.fields.size());
  for (const Line& line : lines_of(table)) {
    const auto place = std::find(known.begin(), known.end(), line.key);
    if (place == known.end()) {
      return tl::unexpected(unknown_field(source, option, line, known));
    }
    const auto index = static_cast<std::size_t>(place - known.begin());
    const OptionFacts::Field& field = option.fields[index];
    std::optional<std::string> text = field_text(field, *line.node);
    if (!text || (field.accepts && !field.accepts(*text))) {
      return tl::unexpected(
          UsageError{fmt::format("{}:{}: {} of {} takes {}, not {}", config.name, line.number,
                                 line.key, option.name, field.takes, shown(*line.node))});
    }
    texts[index] = std::move(*text);
  }
  const std::string where =
      fmt::format("{}:{}: {}", config.name, table.source().begin.line, option.name);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty() && option.fields[i].required) {
      return tl::unexpected(UsageError{fmt::format("{} has no '{}'", where, known[i])});
    }
  }
  return Value{.text = fmt::format("{}", fmt::join(texts, std::string_view("\0", 1))),
               .shown = shown(table),
               .where = where};
}

OrUsageError<Assignment> assignment_of(const Source& source, const Line& line) {
  const OptionFacts* const option = source.table.find(line.key);
  if (option == nullptr || !option->in_file) {
    const std::string_view other = whose_key(line.key, source.table);
    if (!other.empty()) {
      return tl::unexpected(
          UsageError{fmt::format("{}:{}: '{}' is a key of {}, not of {}", source.config.name,
                                 line.number, line.key, other, source.table.command)});
    }
    return tl::unexpected(unknown_key(source.config, line, keys_of(source.table)));
  }
  Assignment assignment{.option = option, .values = {}};
  std::vector<const toml::node*> nodes{line.node};
  if (const toml::array* const array = line.node->as_array();
      array != nullptr && (option->kind == Kind::List || option->kind == Kind::Tables)) {
    nodes.clear();
    for (const toml::node& element : *array) nodes.push_back(&element);
  }
  for (const toml::node* const node : nodes) {
    const bool is_table = option->kind == Kind::Tables && node->is_table();
    OrUsageError<Value> value = is_table ? table_value(source, *option, *node->as_table())
                                         : value_of(source.config, *option, *node);
    if (!value) return tl::unexpected(value.error());
    assignment.values.push_back(std::move(*value));
  }
  return assignment;
}

std::string quoted(const std::string& text) {
  std::string line = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      line += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      line += c;
    }
  }
  return line + '"';
}

std::string field_value(const OptionFacts::Field& field, std::string_view text) {
  if (field.kind == Kind::Number || field.kind == Kind::Switch) return std::string(text);
  if (field.kind == Kind::OnOff) return text == "on" ? "true" : "false";
  if (field.kind != Kind::List) return quoted(std::string(text));
  std::vector<std::string> elements;
  for (;;) {
    const std::size_t end = std::min(text.find(OptionFacts::list_separator), text.size());
    elements.push_back(quoted(std::string(text.substr(0, end))));
    if (end == text.size()) break;
    text.remove_prefix(end + 1);
  }
  return fmt::format("[{}]", fmt::join(elements, ", "));
}

/// `{ chain = "a.pem", key = "a.key" }`
std::string inline_table(const OptionFacts& option, std::string_view value) {
  std::vector<std::string> parts;
  for (const OptionFacts::Field& field : option.fields) {
    const std::size_t end = std::min(value.find('\0'), value.size());
    const std::string_view text = value.substr(0, end);
    if (!text.empty())
      parts.push_back(fmt::format("{} = {}", field.name, field_value(field, text)));
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return fmt::format("{{ {} }}", fmt::join(parts, ", "));
}

}  // namespace

OrUsageError<std::vector<Assignment>> parse_config(const CommandTable& table,
                                                   const ConfigText& config) {
  toml::table read;
  try {
    read = toml::parse(config.text, config.name);
  } catch (const toml::parse_error& error) {
    // What people write who know other servers' files: root = /srv, cors = on, memory-body = 16K.
    return tl::unexpected(UsageError{
        fmt::format("{}:{}: {} (text, sizes and times stand in quotes; switches are true or false)",
                    config.name, error.source().begin.line, error.description())});
  }
  std::vector<Assignment> assignments;
  for (const Line& line : lines_of(read)) {
    OrUsageError<Assignment> assignment = assignment_of({.table = table, .config = config}, line);
    if (!assignment) return tl::unexpected(assignment.error());
    assignments.push_back(std::move(*assignment));
  }
  return assignments;
}

OrUsageError<std::vector<Assignment>> read_config(const CommandTable& table,
                                                  std::span<const Assignment> flags) {
  for (const Assignment& flag : flags) {
    if (flag.option->name != "config") continue;
    const std::string& name = flag.values.back().text;
    Result<std::string> text = read_whole(name);
    if (!text) {
      return tl::unexpected(UsageError{
          fmt::format("{}: --config {}: {}", table.command, name, describe(text.error()))});
    }
    return parse_config(table, {.name = name, .text = std::move(*text)});
  }
  return {};
}

std::string config_line(const OptionFacts& option, std::vector<std::string> values) {
  switch (option.kind) {
    case Kind::Switch:
    case Kind::Number:
      return fmt::format("{} = {}", option.name, values.front());
    case Kind::OnOff:
      return fmt::format("{} = {}", option.name, values.front() == "on");
    case Kind::Size:
    case Kind::Text:
    case Kind::Positional:
      return fmt::format("{} = {}", option.name, quoted(values.front()));
    case Kind::List:
    case Kind::Tables:
      break;
  }
  for (std::string& value : values) {
    value = option.kind == Kind::Tables ? inline_table(option, value) : quoted(value);
  }
  return fmt::format("{} = [{}]", option.name, fmt::join(values, ", "));
}

}  // namespace pagewire::cli
