// The files that are served, and those that are kept open.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/serve_option_groups.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

ServeOption cache_control_option() {
  ServeOption option = Make::described(
      Kind::List,
      {.name = "cache-control",
       .group = "Files",
       .placeholder = "GLOB=VALUE",
       .help = "Cache-Control: VALUE for files that match GLOB (on the whole path when it has a /, "
               "else on the name); repeatable, the first match decides, before the built-in rules. "
               "An empty VALUE sends none",
       .default_text = "playlists short, segments long"},
      "a pattern and its value, such as '*.ts=max-age=3600'");
  option.set = [](std::string_view value, ServeSettings& settings) {
    const std::size_t equals = value.find('=');
    if (equals == 0 || equals == std::string_view::npos) return false;
    // The value goes into a response head as it is: a control byte could end the field.
    for (const char c : value) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    settings.server.site.cache_rules.push_back(
        {.glob = std::string(value.substr(0, equals)),
         .cache_control = std::string(value.substr(equals + 1))});
    return true;
  };
  option.clear = [](ServeSettings& settings) { settings.server.site.cache_rules.clear(); };
  option.show = [](const ServeSettings& settings) {
    std::vector<std::string> shown;
    for (const content::CacheRule& rule : settings.server.site.cache_rules) {
      shown.push_back(rule.glob + "=" + rule.cache_control);
    }
    return shown;
  };
  return option;
}

ServeOption readahead_option() {
  ServeOption option = Make::described(
      Kind::Text,
      {.name = "readahead",
       .group = "Files",
       .placeholder = "auto|off|SIZE",
       .help = "auto: a file of which 1M or more is sent in one piece is read ahead by twice the "
               "kernel's window. SIZE: and its first SIZE bytes are asked for at once. off: "
               "the kernel's window"},
      "auto, off, or a size from 4K to 16M");
  option.words = {"auto", "off"};
  option.set = [](std::string_view value, ServeSettings& settings) {
    content::ReadaheadSettings readahead{.sequential = value != "off", .ahead = {}};
    if (value != "auto" && value != "off") {
      const std::optional<std::uint64_t> size = parse_size(value);
      if (!size || *size < 4 * kib || *size > 16 * mib) return false;
      readahead.ahead = ByteCount{*size};
    }
    settings.server.site.readahead = readahead;
    return true;
  };
  option.show = [](const ServeSettings& settings) {
    const content::ReadaheadSettings& readahead = settings.server.site.readahead;
    if (readahead.ahead.value > 0) return std::vector{show_size(readahead.ahead.value)};
    return std::vector{std::string(readahead.sequential ? "auto" : "off")};
  };
  return option;
}

void add_open_files(std::vector<ServeOption>& table) {
  constexpr std::string_view group = "Files";
  table.push_back(Make::number(
      {.name = "open-files",
       .group = group,
       .placeholder = "N",
       .help = "files that each worker keeps open"},
      {.least = 1, .most = 1'000'000}, [](auto& s) -> auto& { return s.server.site.open_files; }));
  table.push_back(Make::duration(
      {.name = "open-file-validity",
       .group = group,
       .placeholder = "TIME",
       .help = "how long an open file is trusted before stat looks whether it "
               "was replaced"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.site.validity_ms; }));
  table.push_back(Make::size(
      {.name = "memory-body",
       .group = group,
       .placeholder = "SIZE",
       .help = "files up to this stay in memory while they are open"},
      {.least = 0, .most = mib}, [](auto& s) -> auto& { return s.server.site.small_body; }));
  table.push_back(Make::size(
      {.name = "memory-total",
       .group = group,
       .placeholder = "SIZE",
       .help = "memory for all of them, per worker"},
      {.least = 0, .most = 64 * gib},
      [](auto& s) -> auto& { return s.server.site.small_bodies_total; }));
}

}  // namespace

void add_files(std::vector<ServeOption>& table) {
  constexpr std::string_view group = "Files";
  table.push_back(Make::text(
      Kind::Positional,
      {.name = "root",
       .group = group,
       .placeholder = "ROOT",
       .help = "the folder to serve; nothing outside of it is reachable",
       .default_text = "the current folder"},
      "the name of a folder", [](auto& s) -> auto& { return s.server.site.root; }));
  table.push_back(Make::text(
      Kind::Text,
      {.name = "index",
       .group = group,
       .placeholder = "NAME",
       .help = "the file that stands for its folder"},
      "a file name", [](auto& s) -> auto& { return s.server.site.index; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "listing",
       .group = group,
       .placeholder = "",
       .help = "list folders that have no index, instead of 404"},
      [](auto& s) -> auto& { return s.server.site.listing; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "cors",
       .group = group,
       .placeholder = "",
       .help = "allow pages of any origin to fetch (players need it)"},
      [](auto& s) -> auto& { return s.server.site.cors; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "precompressed",
       .group = group,
       .placeholder = "",
       .help = "do not answer with FILE.br, FILE.zst or FILE.gz to clients "
               "that accept them",
       .default_text = "such files are used"},
      [](auto& s) -> auto& { return s.server.site.precompressed; }));
  table.push_back(Make::boolean(
      Kind::OnOff,
      {.name = "server-header",
       .group = group,
       .placeholder = "on|off",
       .help = "send the Server header"},
      [](auto& s) -> auto& { return s.server.site.server_header; }));
  table.push_back(cache_control_option());
  add_open_files(table);
  table.push_back(readahead_option());
}

}  // namespace pagewire::cli
