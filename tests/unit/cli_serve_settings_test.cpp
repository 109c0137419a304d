// Flags and file to settings: every option, who wins, and the one line that a mistake gets.
#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config_file.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "cli/serve_settings.h"

namespace pagewire::cli {
namespace {

using Arguments = std::vector<std::string>;

const Machine four_cpus{.cpus = {0, 1, 2, 5}};

OrUsageError<ServeSettings> settings_of(const Arguments& arguments, const std::string& toml = "") {
  const auto flags = parse_flags(serve_command(), arguments);
  if (!flags) return tl::unexpected(flags.error());
  const auto file = parse_config(serve_command(), {.name = "edge.toml", .text = toml});
  if (!file) return tl::unexpected(file.error());
  return build_settings({.file = *file, .flags = flags->assignments}, four_cpus);
}

ServeSettings good(const Arguments& arguments, const std::string& toml = "") {
  const auto settings = settings_of(arguments, toml);
  EXPECT_TRUE(settings.has_value()) << settings.error().text;
  return settings.value_or(default_settings());
}

std::string error_of(const Arguments& arguments, const std::string& toml = "") {
  const auto settings = settings_of(arguments, toml);
  EXPECT_FALSE(settings.has_value());
  if (settings) return "";
  EXPECT_EQ(settings.error().text.find('\n'), std::string::npos) << "more than one line";
  return settings.error().text;
}

std::vector<std::string> listens(const ServeSettings& settings) {
  std::vector<std::string> texts;
  for (const sys::Address& address : settings.server.listen) texts.push_back(address.to_string());
  return texts;
}

TEST(ServeSettings, DefaultsHoldWithoutFlags) {
  const ServeSettings settings = good({});
  EXPECT_EQ(settings.server.site.root, ".");
  EXPECT_EQ(listens(settings), (std::vector<std::string>{"[::]:8080"}));
  EXPECT_EQ(settings.server.workers, 4U);
  EXPECT_EQ(settings.server.access_log.workers, 4U);
  EXPECT_TRUE(settings.server.pin.empty());
  EXPECT_EQ(settings.server.chooser.pinned, nullptr);
  EXPECT_TRUE(settings.server.admin_enabled);
  EXPECT_EQ(settings.server.admin.to_string(), "127.0.0.1:9180");
  EXPECT_TRUE(settings.server.access_log.file.empty());
  EXPECT_TRUE(settings.server.site.precompressed);
  EXPECT_FALSE(settings.server.site.cors);
  EXPECT_EQ(settings.status, StatusMode::Auto);
}

constexpr std::string_view every_flag =
    "--listen 127.0.0.1:80 /srv --listen=[::1]:81 --workers 2 --pin 5,0 --path "
    "splice --small-body 1K --quantum 2M --index home.html --listing --cors "
    "--no-precompressed --server-header off --cache-control *.ts=max-age=9 "
    "--cache-control a/*= --open-files 7 --open-file-validity 3s --memory-body 5 "
    "--memory-total 6 --readahead 64K --max-connections 8 --max-requests 9 --max-body 10 "
    "--head-timeout 1s --idle-timeout 2s --min-rate 3K --rate-window 4s "
    "--linger-timeout 5s --drain-timeout 6s --disk-timeout 7s --disk-threads 3 --max-head 1024 "
    "--max-target 512 --max-fields 11 --max-ranges 12 --zerocopy-in-flight 13M "
    "--zerocopy-copied-streak 14 --release-timeout 7s --access-log - --log-format json --admin off "
    "--status off --check-config";

std::vector<std::string> words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(ServeSettings, FlagsReachTheirMembers) {
  const ServeSettings settings = good(words(every_flag));
  const server::Settings& server = settings.server;
  EXPECT_EQ(server.site.root, "/srv");
  EXPECT_EQ(listens(settings), (std::vector<std::string>{"127.0.0.1:80", "[::1]:81"}));
  EXPECT_EQ(server.workers, 2U);
  EXPECT_EQ(server.pin, (std::vector<int>{5, 0}));
  ASSERT_NE(server.chooser.pinned, nullptr);
  EXPECT_EQ(server.chooser.pinned->name, "splice");
  EXPECT_EQ(server.chooser.small_body.value, 1024U);
  EXPECT_EQ(server.limits.quantum.value, 2 * mib);
  EXPECT_EQ(server.site.index, "home.html");
  EXPECT_TRUE(server.site.listing);
  EXPECT_TRUE(server.site.cors);
  EXPECT_FALSE(server.site.precompressed);
  EXPECT_FALSE(server.site.server_header);
  ASSERT_EQ(server.site.cache_rules.size(), 2U);
  EXPECT_EQ(server.site.cache_rules[0].glob, "*.ts");
  EXPECT_EQ(server.site.cache_rules[0].cache_control, "max-age=9");
  EXPECT_EQ(server.site.cache_rules[1].cache_control, "");
  EXPECT_EQ(server.access_log.file, "-");
  EXPECT_EQ(server.access_log.format, log::Format::Json);
  EXPECT_FALSE(server.admin_enabled);
  EXPECT_EQ(settings.status, StatusMode::Off);
  EXPECT_TRUE(settings.check_config);
}

TEST(ServeSettings, NumbersReachTheirMembers) {
  const ServeSettings settings = good(words(every_flag));
  const server::Settings& server = settings.server;
  EXPECT_EQ(server.site.open_files, 7U);
  EXPECT_EQ(server.site.validity_ms, 3'000);
  EXPECT_EQ(server.site.small_body.value, 5U);
  EXPECT_EQ(server.site.small_bodies_total.value, 6U);
  EXPECT_EQ(server.site.readahead.ahead.value, 64 * kib);
  EXPECT_EQ(server.limits.connections, 8U);
  EXPECT_EQ(server.limits.requests, 9U);
  EXPECT_EQ(server.limits.body.value, 10U);
  EXPECT_EQ(server.timeouts.head_ms, 1'000);
  EXPECT_EQ(server.timeouts.idle_ms, 2'000);
  EXPECT_EQ(server.limits.min_rate, 3072U);
  EXPECT_EQ(server.timeouts.rate_window_ms, 4'000);
  EXPECT_EQ(server.timeouts.linger_ms, 5'000);
  EXPECT_EQ(server.drain_timeout_ms, 6'000);
  EXPECT_EQ(server.timeouts.disk_ms, 7'000);
  EXPECT_EQ(server.disk_threads, 3U);
  EXPECT_EQ(server.limits.head.head_bytes, 1024U);
  EXPECT_EQ(server.limits.head.target_bytes, 512U);
  EXPECT_EQ(server.limits.head.fields, 11U);
  EXPECT_EQ(server.site.ranges.parts, 12U);
  EXPECT_EQ(server.zero_copy.in_flight.value, 13 * mib);
  EXPECT_EQ(server.zero_copy.copied_streak, 14U);
  EXPECT_EQ(server.timeouts.release_ms, 7'000);
}

TEST(ServeSettings, FlagsWinOverTheFile) {
  const std::string toml =
      "root = \"/file\"\nlisten = [\":1\", \":2\"]\ncors = true\nserver-header = false\n"
      "workers = 3\nmin-rate = 700\ncache-control = \"*.a=x\"\n";
  const ServeSettings from_file = good({}, toml);
  EXPECT_EQ(from_file.server.site.root, "/file");
  EXPECT_EQ(listens(from_file), (std::vector<std::string>{"[::]:1", "[::]:2"}));
  EXPECT_TRUE(from_file.server.site.cors);
  EXPECT_FALSE(from_file.server.site.server_header);
  EXPECT_EQ(from_file.server.workers, 3U);
  EXPECT_EQ(from_file.server.limits.min_rate, 700U);

  const ServeSettings both = good({"/flag", "--listen", ":3", "--no-cors", "--workers", "1"}, toml);
  EXPECT_EQ(both.server.site.root, "/flag");
  EXPECT_EQ(listens(both), (std::vector<std::string>{"[::]:3"}));
  EXPECT_FALSE(both.server.site.cors);
  EXPECT_EQ(both.server.workers, 1U);
  EXPECT_EQ(both.server.limits.min_rate, 700U) << "no flag: the file holds";
  EXPECT_EQ(both.server.site.cache_rules.size(), 1U);
}

TEST(ServeSettings, TheLastOfARepeatedFlagCounts) {
  EXPECT_EQ(good({"--workers", "1", "--workers", "2"}).server.workers, 2U);
  EXPECT_TRUE(good({"--no-cors", "--cors"}).server.site.cors);
  EXPECT_FALSE(good({"--cors", "--no-cors"}).server.site.cors);
}

TEST(ServeSettings, PinFollowsTheMachineAndTheWorkers) {
  EXPECT_EQ(good({"--pin", "auto"}).server.pin, (std::vector<int>{0, 1, 2, 5}));
  EXPECT_EQ(good({"--pin", "auto", "--workers", "6"}).server.pin,
            (std::vector<int>{0, 1, 2, 5, 0, 1}));
  EXPECT_EQ(good({"--pin", "1-2"}).server.workers, 2U) << "a list alone says how many";
  EXPECT_EQ(error_of({"--pin", "0,1", "--workers", "3"}),
            "pagewire serve: pin takes one CPU a worker, not 2 for 3");
  EXPECT_EQ(error_of({"--pin", "3"}),
            "pagewire serve: pin names CPU 3, on which this process may not run");
}

struct Wrong {
  Arguments arguments;
  const char* line;
};

TEST(ServeSettings, AWrongFlagIsOneLineThatNamesItAndWhatItTakes) {
  const std::vector<Wrong> table = {
      {{"--workers", "x"}, "--workers takes a number from 1 to 256, not \"x\""},
      {{"--workers", "0"}, "--workers takes a number from 1 to 256, not \"0\""},
      {{"--workers=257"}, "--workers takes a number from 1 to 256, not \"257\""},
      {{"--workers="}, "--workers takes a number from 1 to 256, but nothing follows it"},
      {{"--workers"}, "--workers takes a number from 1 to 256, but nothing follows it"},
      {{"--workers", "--cors"}, "--workers takes a number from 1 to 256, not \"--cors\""},
      {{"--listen", ":80", "--listen", "nowhere"},
       "--listen takes an address with a port, such as 127.0.0.1:8080, [::1]:8080 or :8080, or "
       "off, not \"nowhere\""},
      {{"--path", "fast"}, "--path takes auto, "},
      {{"--log-format", "jsn"},
       "--log-format takes combined or json, not \"jsn\" (did you mean json?)"},
      {{"--cors=perhaps"}, "--cors takes true or false, not \"perhaps\""},
      {{"--server-header", "true"}, "--server-header takes on or off, not \"true\""},
      {{"--quantum", "1KB"},
       "--quantum takes a size from 4K to 1G (K, M, G are of 1024), not \"1KB\""},
      {{"--head-timeout", "10"},
       "--head-timeout takes a time from 100ms to 24h, with its unit (ms, s, m, h), not \"10\""},
      {{"--cache-control", "no-cache"},
       "--cache-control takes a pattern and its value, such as '*.ts=max-age=3600', not "
       "\"no-cache\""},
      {{"--log-format", "xml"}, "--log-format takes combined or json, not \"xml\""},
      {{"--worker", "2"}, "there is no flag --worker (did you mean --workers?)"},
      {{"--no-lsting"}, "there is no flag --no-lsting (did you mean --no-listing?)"},
      {{"--zzzzzzzzzz=1"}, "there is no flag --zzzzzzzzzz; see pagewire serve --help"},
      {{"-x"}, "there is no flag -x; see"},
      {{"a", "b"}, "takes one ROOT; \"b\" is one too many"},
      {{""}, "ROOT takes the name of a folder, not \"\""},
  };
  for (const Wrong& wrong : table) {
    const std::string expected = std::string("pagewire serve: ") + wrong.line;
    const std::string said = error_of(wrong.arguments);
    EXPECT_TRUE(said.starts_with(expected)) << said;
  }
}

TEST(ServeSettings, AWrongLineOfTheFileIsNamed) {
  struct WrongFile {
    const char* toml;
    const char* line;
  };
  const std::vector<WrongFile> table = {
      {"# c\nroot = \".\"\nworker = 2\n",
       "edge.toml:3: unknown key 'worker' (did you mean 'workers'?)"},
      {"zzzzzzzzzz = 1\n", "edge.toml:1: unknown key 'zzzzzzzzzz'"},
      {"config = \"x\"\n", "edge.toml:1: unknown key 'config'"},
      {"\n\nworkers = \"4\"\n", "edge.toml:3: workers takes a number from 1 to 256, not \"4\""},
      {"workers = 1000\n", "edge.toml:1: workers takes a number from 1 to 256, not 1000"},
      {"workers = -1\n", "edge.toml:1: workers takes a number from 1 to 256, not -1"},
      {"workers = 1.5\n", "edge.toml:1: workers takes a number from 1 to 256, not 1.5"},
      {"workers = [1]\n", "edge.toml:1: workers takes a number from 1 to 256, not an array"},
      {"[workers]\nn = 1\n", "edge.toml:1: workers takes a number from 1 to 256, not a table"},
      {"workers = 2020-01-01\n",
       "edge.toml:1: workers takes a number from 1 to 256, not a date or time"},
      {"cors = \"yes\"\n", "edge.toml:1: cors takes true or false, not \"yes\""},
      {"server-header = 1\n", "edge.toml:1: server-header takes on or off, not 1"},
      {"head-timeout = 10\n",
       "edge.toml:1: head-timeout takes a time from 100ms to 24h, with its "
       "unit (ms, s, m, h), not 10"},
      {"quantum = \"big\"\n",
       "edge.toml:1: quantum takes a size from 4K to 1G (K, M, G are of 1024), not \"big\""},
      {"listen = [\":80\",\n \"x\"]\n",
       "edge.toml:2: listen takes an address with a port, such as 127.0.0.1:8080, [::1]:8080 or "
       ":8080, or off, not \"x\""},
      {"listen = []\n", "pagewire serve: listen names no address, and there is no listen-tls"},
      {"listen = \"off\"\n", "pagewire serve: listen names no address, and there is no listen-tls"},
      {"a = 1\nzz = 2\n", "edge.toml:1: unknown key 'a'"},
      {"zz = 2\na = 1\n", "edge.toml:1: unknown key 'zz'"},  // by line, not by name
  };
  for (const WrongFile& wrong : table) EXPECT_EQ(error_of({}, wrong.toml), wrong.line);
  // What toml++ says of bad syntax is its own; the place is ours.
  EXPECT_TRUE(error_of({}, "cors = true\nworkers = \n").starts_with("edge.toml:2: "));
  EXPECT_TRUE(error_of({}, "cors = true\ncors = false\n").starts_with("edge.toml:2: "));
  EXPECT_TRUE(error_of({}, "index = \"\xff\"\n").starts_with("edge.toml:1: "));
}

TEST(ServeSettings, ShownSettingsAreAFileThatMeansTheSame) {
  const ServeSettings settings =
      good({"/a \"b\"\\c",    "--listen", "127.0.0.1:80",    "--listen",
            "[::1]:81",       "--cors",   "--pin",           "auto",
            "--path",         "copy",     "--cache-control", "*.ts=max-age=1",
            "--admin",        "off",      "--server-header", "off",
            "--head-timeout", "1500ms",   "--quantum",       "5000"});
  const std::string shown = show_settings(settings);
  EXPECT_EQ(show_settings(good({}, shown)), shown);
  const std::string defaults = show_settings(good({}));
  EXPECT_EQ(show_settings(good({}, defaults)), defaults);
  EXPECT_NE(shown.find("root = \"/a \\\"b\\\"\\\\c\"\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("listen = [\"127.0.0.1:80\", \"[::1]:81\"]\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("quantum = \"5000\"\n"), std::string::npos) << shown;
}

TEST(Options, NamesAreUniqueGroupsStandTogetherAndDefaultsAreAccepted) {
  std::set<std::string_view> names;
  std::set<std::string_view> groups;
  std::string_view group;
  const ServeSettings defaults = default_settings();
  for (const ServeOption& option : serve_options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    if (option.group != group) {
      EXPECT_TRUE(groups.insert(option.group).second) << option.group << " stands twice";
    }
    group = option.group;
    const bool many =
        option.kind == OptionFacts::Kind::List || option.kind == OptionFacts::Kind::Tables;
    EXPECT_EQ(many, static_cast<bool>(option.clear)) << option.name;
    // workers is 0 and config empty only until they are resolved.
    if (option.name == "workers" || option.name == "config") continue;
    for (const std::string& value : option.show(defaults)) {
      ServeSettings settings = defaults;
      EXPECT_TRUE(option.set(value, settings)) << option.name << " " << value;
    }
  }
}

TEST(Help, NamesEveryOptionWithinTheWidth) {
  const std::string help = serve_help_text();
  for (const ServeOption& option : serve_options()) {
    if (option.kind == OptionFacts::Kind::Positional) continue;
    EXPECT_TRUE(help.find("  --" + std::string(option.name)) != std::string::npos ||
                help.find("  --no-" + std::string(option.name)) != std::string::npos ||
                help.find("  [[" + std::string(option.name) + "]]") != std::string::npos)
        << option.name;
  }
  for (const std::string& text : {help, help_text(), overview_text()}) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 84U) << line;
  }
}

TEST(Flags, HelpWinsOverMistakes) {
  const auto flags = parse_flags(serve_command(), Arguments{"--zzz", "--help"});
  ASSERT_TRUE(flags.has_value());
  EXPECT_TRUE(flags->help);
}

}  // namespace
}  // namespace pagewire::cli
