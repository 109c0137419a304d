#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "cli/options.h"

namespace pagewire::cli {

namespace {

constexpr std::size_t width = 80;
constexpr std::size_t help_column = 30;

constexpr std::string_view what_it_is =
    "pagewire serves files and HLS streams over HTTP/1.1; their bytes go from the page\n"
    "cache to the socket without passing through the program.\n";

constexpr std::string_view commands =
    "Commands:\n"
    "  serve [ROOT]   serve the folder ROOT (default: the current one)\n";

constexpr std::string_view first_example =
    "First steps:\n"
    "  pagewire serve /srv/www                        on http://127.0.0.1:8080/\n"
    "  pagewire serve /srv/hls --cors --listen :80    an HLS edge for players on any page\n";

/// Words in lines of at most `width`, each but the first indented to the help column.
std::string wrapped(const std::vector<std::string>& words) {
  std::string lines;
  std::size_t column = help_column;
  for (const std::string& word : words) {
    if (column > help_column && column + 1 + word.size() > width) {
      lines += '\n' + std::string(help_column, ' ');
      column = help_column;
    } else if (column > help_column) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
  }
  return lines;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, space));
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  return words;
}

std::string default_of(const Option& option, const ServeSettings& defaults) {
  if (!option.default_text.empty()) return std::string(option.default_text);
  const std::string shown = option.show(defaults).front();
  return option.kind == Option::Kind::Switch ? "off" : shown;
}

std::string option_text(const Option& option, const ServeSettings& defaults) {
  std::string left;
  if (option.kind == Option::Kind::Switch) {
    // The one that changes something.
    const bool is_on = option.show(defaults).front() == "true";
    left = fmt::format("  --{}{}", is_on ? "no-" : "", option.name);
  } else {
    const bool positional = option.kind == Option::Kind::Positional;
    left = positional ? fmt::format("  {}", option.placeholder)
                      : fmt::format("  --{} {}", option.name, option.placeholder);
  }
  std::vector<std::string> words = words_of(option.help);
  // One word: a default that is torn from its "default:" is hard to find.
  words.push_back(fmt::format("(default: {})", default_of(option, defaults)));
  const std::string gap = left.size() + 2 > help_column
                              ? '\n' + std::string(help_column, ' ')
                              : std::string(help_column - left.size(), ' ');
  return left + gap + wrapped(words) + '\n';
}

}  // namespace

std::string version_text() {
  return "pagewire " PAGEWIRE_VERSION "\n";
}

std::string overview_text() {
  return fmt::format("{}\n{}\n{}\nMore: pagewire --help, pagewire serve --help\n", what_it_is,
                     commands, first_example);
}

std::string help_text() {
  return fmt::format(
      "Usage: pagewire COMMAND [flags]\n\n{}\n{}\n"
      "Flags:\n"
      "  -h, --help     this text; after a command: its flags\n"
      "  --version      the version\n\n"
      "Exit status: 0 done, 1 it could not be done (port in use, ROOT missing ...), 2 the\n"
      "flags or the configuration are wrong.\n\n{}",
      what_it_is, commands, first_example);
}

std::string serve_help_text() {
  std::string text = fmt::format(
      "Usage: pagewire serve [ROOT] [flags]\n\n"
      "Serves the files beneath ROOT over HTTP/1.1.\n"
      "SIZE is bytes, or K, M, G, T of 1024 (16K); TIME has a unit: ms, s, m, h (500ms).\n"
      "A switch such as --cors is undone by --no-cors.\n");
  const ServeSettings defaults = default_settings();
  std::string_view group;
  for (const Option& option : serve_options()) {
    if (option.group != group) text += fmt::format("\n{}:\n", option.group);
    group = option.group;
    text += option_text(option, defaults);
  }
  text += fmt::format(
      "  {:<{}}this text\n\n"
      "Signals:\n"
      "  SIGTERM, SIGINT (Ctrl-C): accept nothing new, finish what is being sent within\n"
      "  --drain-timeout, exit 0; a second one exits at once with status 1.\n"
      "  SIGHUP: open the access log anew (after a rename).\n\n"
      "Exit status: 0 ended by a signal, 1 it could not start (port in use, ROOT missing\n"
      "or unreadable ...), 2 flags or file are wrong.\n\n"
      "Examples:\n"
      "  pagewire serve /srv/hls --cors --listen :80\n"
      "  pagewire serve --config edge.toml --check-config\n"
      "  pagewire serve . --cache-control '*.m3u8=no-cache' --access-log access.log\n",
      "-h, --help", help_column - 2);
  return text;
}

}  // namespace pagewire::cli
