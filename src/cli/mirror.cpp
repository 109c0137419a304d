#include "cli/mirror.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <vector>

#include "cli/values.h"
#include "relay/relay.h"
#include "sys/fd.h"

namespace pagewire::cli {

namespace {

constexpr std::string_view usage_text =
    "Usage: pagewire mirror FILE... [--extract ID --direction up|down] [--json]\n\n"
    "Lists the connections that a mirror of pagewire relay holds, or writes what one side of one\n"
    "of them said to standard output. Several files in their order: FILE, FILE.1, FILE.2 ...;\n"
    "- is standard input, so that a recorder can be `nc -lk 9100 | pagewire mirror -`.\n\n"
    "  --extract ID         this connection's bytes\n"
    "  --direction up|down  what its client (up) or its upstream (down) said\n"
    "  --json               the list as one line of JSON a connection\n\n"
    "Exit status: 0 everything is there, 1 bytes are missing (it says where), a file is torn or\n"
    "cannot be read, 2 the flags are wrong.\n\n"
    "Examples:\n"
    "  pagewire mirror traffic\n"
    "  pagewire mirror traffic traffic.1 --extract 29624372921925633 --direction down > answer\n";

struct Wanted {
  std::vector<std::string> files;
  std::optional<std::uint64_t> connection;
  std::optional<relay::Direction> direction;
  bool json = false;
};

int wrong(std::string_view what) {
  (void)std::fputs(fmt::format("pagewire mirror: {}; see --help\n", what).c_str(), stderr);
  return 2;
}

void warn(const std::string& what) {
  (void)std::fputs(fmt::format("pagewire mirror: {}\n", what).c_str(), stderr);
}

/// Every record of every file, in order. False when one could not be read to its end.
bool walk_all(const std::vector<std::string>& files, const relay::MirrorVisitor& visit) {
  bool whole = true;
  for (const std::string& file : files) {
    sys::Fd opened;
    if (file != "-") opened = sys::Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (file != "-" && !opened.is_open()) {
      warn(fmt::format("{}: {}", file, describe(Error{"open", errno})));
      whole = false;
      continue;
    }
    const Result<relay::MirrorWalk> walk =
        relay::walk_mirror(file == "-" ? STDIN_FILENO : opened.get(), visit);
    if (!walk) {
      warn(fmt::format("{}: {}", file, describe(walk.error())));
    } else if (walk->end == relay::MirrorEnd::Torn) {
      warn(fmt::format("{}: ends within a record, which begins at {}", file, walk->bytes));
    } else if (walk->end == relay::MirrorEnd::Lost) {
      warn(fmt::format("{}: no record at {}: is this a mirror?", file, walk->bytes));
    }
    whole = whole && walk && walk->end == relay::MirrorEnd::Whole;
  }
  return whole;
}

std::string_view end_of(const relay::MirrorStream& stream) {
  if (stream.end == relay::mirror_flag::end) return "fin";
  return stream.end == relay::mirror_flag::reset ? "reset" : "open";
}

std::string line_of(std::uint64_t number, const relay::MirrorConnection& one, bool json) {
  const relay::MirrorStream& up = one.streams[0];
  const relay::MirrorStream& down = one.streams[1];
  const std::string text = one.text.empty() ? "null" : one.text;
  if (json) {
    // The number as text: it is above 2^53, which readers of JSON round.
    return fmt::format(
        "{{\"connection\":\"{}\",\"first_ns\":{},\"last_ns\":{},\"up_bytes\":{},\"up_missing\":{},"
        "\"up_end\":\"{}\",\"down_bytes\":{},\"down_missing\":{},\"down_end\":\"{}\","
        "\"opened\":{}}}\n",
        number, one.first_ns, one.last_ns, up.bytes(), up.missing_bytes, end_of(up), down.bytes(),
        down.missing_bytes, end_of(down), text);
  }
  return fmt::format("{:>18} {:>15} {:>5} {:>15} {:>5} {:>15}  {}\n", number, up.bytes(),
                     end_of(up), down.bytes(), end_of(down), up.missing_bytes + down.missing_bytes,
                     one.text);
}

int list(const Wanted& wanted) {
  relay::MirrorList found;
  const bool whole = walk_all(wanted.files, [&](const auto& head, std::uint64_t at, auto bytes) {
    found.add(head, at, bytes);
  });
  // What could not be read has been said; without a line there is nothing to head.
  if (!wanted.json && (whole || !found.connections().empty())) {
    (void)std::fputs(fmt::format("{:>18} {:>15} {:>5} {:>15} {:>5} {:>15}\n", "connection", "up",
                                 "", "down", "", "missing")
                         .c_str(),
                     stdout);
  }
  bool complete = whole;
  for (const auto& [number, one] : found.connections()) {
    (void)std::fputs(line_of(number, one, wanted.json).c_str(), stdout);
    complete = complete && one.streams[0].missing_bytes + one.streams[1].missing_bytes == 0;
  }
  return complete ? 0 : 1;
}

int extract(const Wanted& wanted) {
  relay::MirrorStream stream;
  bool seen = false;
  bool written = true;
  const bool whole = walk_all(wanted.files, [&](const auto& head, std::uint64_t at, auto bytes) {
    if (head.connection != *wanted.connection || head.direction != *wanted.direction ||
        head.has(relay::mirror_flag::start) || head.has(relay::mirror_flag::open)) {
      return;
    }
    seen = true;
    const std::uint64_t before = stream.next_offset;
    const relay::MirrorStream::Fresh fresh = stream.take(head.offset + at, bytes);
    if (fresh.missing > 0) warn(fmt::format("{} bytes at {} are missing", fresh.missing, before));
    written = written &&
              std::fwrite(fresh.bytes.data(), 1, fresh.bytes.size(), stdout) == fresh.bytes.size();
  });
  written = std::fflush(stdout) == 0 && written;
  if (!seen) warn(fmt::format("nothing is there of connection {}", *wanted.connection));
  if (!written) warn("cannot write to standard output");
  return seen && written && whole && stream.missing_bytes == 0 ? 0 : 1;
}

/// nullopt after having said what is wrong.
std::optional<Wanted> parse(std::span<const std::string> arguments) {
  Wanted wanted;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::string value = i + 1 < arguments.size() ? arguments[i + 1] : "";
    if (word == "--json") {
      wanted.json = true;
    } else if (word == "--extract") {
      wanted.connection = parse_number(value);
      if (!wanted.connection) return wrong("--extract takes a connection's number"), std::nullopt;
      ++i;
    } else if (word == "--direction") {
      if (value != "up" && value != "down") {
        return wrong("--direction takes up or down"), std::nullopt;
      }
      wanted.direction = value == "up" ? relay::Direction::Up : relay::Direction::Down;
      ++i;
    } else if (word.size() > 1 && word.front() == '-') {
      return wrong(fmt::format("there is no flag {}", word)), std::nullopt;
    } else {
      wanted.files.push_back(word);
    }
  }
  if (wanted.files.empty()) return wrong("no FILE is named, nor -"), std::nullopt;
  if (wanted.connection.has_value() != wanted.direction.has_value()) {
    return wrong("--extract and --direction go together"), std::nullopt;
  }
  return wanted;
}

}  // namespace

int mirror(std::span<const std::string> arguments) {
  const auto asks_for_help = [](const std::string& word) {
    return word == "--help" || word == "-h";
  };
  if (std::any_of(arguments.begin(), arguments.end(), asks_for_help)) {
    (void)std::fputs(std::string(usage_text).c_str(), stdout);
    return 0;
  }
  const std::optional<Wanted> wanted = parse(arguments);
  if (!wanted) return 2;
  return wanted->connection ? extract(*wanted) : list(*wanted);
}

}  // namespace pagewire::cli
