// An option: one entry of a command's table, which drives flags, TOML keys, help and errors.
//
// What it is called and takes is the same for every command (OptionFacts), so that flags, file and
// help are written once; what it sets is the command's own (BasicOption<Settings>). A command is a
// vector of options; its CommandTable is the same without the settings' type.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pagewire::cli {

struct OptionFacts {
  enum class Kind : std::uint8_t {
    Switch,      ///< --cors, --no-cors; cors = true
    OnOff,       ///< --server-header off; server-header = false (or "off")
    Number,      ///< --workers 4; workers = 4
    Size,        ///< --quantum 1M; quantum = "1M", or bytes as a number
    Text,        ///< --path copy; path = "copy"
    List,        ///< repeatable; listen = [":80", ":8080"], or a single string
    Positional,  ///< without a flag; a text in the file
    Tables,      ///< without a flag; [[certificate]] once or more in the file
  };
  /// A key of such a table.
  struct Field {
    std::string_view name;
    bool required = true;
    Kind kind = Kind::Text;
    std::string takes = "a text";
    std::function<bool(std::string_view value)> accepts = {};  ///< none: whatever is of its kind
  };
  static constexpr char list_separator = '\x1f';  ///< between the elements of a field of Kind::List
  Kind kind = Kind::Text;
  std::string_view name;  ///< the flag without its dashes, and the key
  char short_name = 0;    ///< 't' for -t; 0 is none
  std::string_view group;
  std::string_view placeholder;  ///< of its value in the help: "N", "SIZE"; none for a switch
  std::string_view help;
  std::string_view default_text;        ///< in the help, where show() would not say it well
  std::string takes;                    ///< "a number from 1 to 256"
  std::vector<std::string_view> words;  ///< what a wrong value may have been meant to be
  bool required = false;                ///< there is no default
  std::vector<Field> fields = {};       ///< of Tables
  bool in_file = true;
};

template <class Settings>
struct BasicOption : OptionFacts {
  /// Takes one value; a list's is added. False: it is not what the option takes. A table's are the
  /// texts of its fields in their order ("" for one that is not there) with '\0' between them.
  std::function<bool(std::string_view value, Settings& settings)> set;
  /// Lists and tables only: forgets what a weaker source (default, file) said.
  std::function<void(Settings& settings)> clear;
  /// The values as set() would take them; one unless it is a list or tables.
  std::function<std::vector<std::string>(const Settings& settings)> show;
};

/// A command as flags, file and help see it. Its options live as long as the program.
struct CommandTable {
  std::string_view command;  ///< "pagewire serve"
  std::vector<const OptionFacts*> options;

  /// nullptr when there is none of that name.
  const OptionFacts* find(std::string_view name) const {
    for (const OptionFacts* const option : options) {
      if (option->name == name) return option;
    }
    return nullptr;
  }
};

template <class Settings>
CommandTable command_table(std::string_view command,
                           const std::vector<BasicOption<Settings>>& options) {
  CommandTable table{.command = command, .options = {}};
  for (const BasicOption<Settings>& option : options) table.options.push_back(&option);
  return table;
}

}  // namespace pagewire::cli
