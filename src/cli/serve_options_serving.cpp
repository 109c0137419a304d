// Where the server listens, with which workers, and how it sends.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include <fmt/format.h>

#include "cli/serve_option_groups.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

ServeOption listen_option() {
  ServeOption option = Make::described(
      Kind::List,
      {.name = "listen",
       .group = "Listening",
       .placeholder = "ADDR:PORT",
       .help = "listen here; repeatable. IPv6 stands in brackets ([::1]:8080); without an address "
               "(:8080) it is every interface; port 0 lets the kernel choose; off: nowhere, where "
               "--listen-tls is all",
       .default_text = ":8080"},
      "an address with a port, such as 127.0.0.1:8080, [::1]:8080 or :8080, or off");
  option.set = [](std::string_view value, ServeSettings& settings) {
    if (value == "off") return true;
    const Result<sys::Address> address = sys::Address::parse(value);
    if (address) settings.server.listen.push_back(*address);
    return address.has_value();
  };
  option.clear = [](ServeSettings& settings) { settings.server.listen.clear(); };
  option.show = [](const ServeSettings& settings) {
    std::vector<std::string> shown;
    for (const sys::Address& address : settings.server.listen) shown.push_back(address.to_string());
    return shown;
  };
  return option;
}

ServeOption engine_option() {
  std::vector<Choice<loop::Engine>> choices;
  for (const loop::Engine engine : {loop::Engine::Auto, loop::Engine::Epoll, loop::Engine::Uring}) {
    choices.push_back({.name = loop::name(engine), .value = engine});
  }
  return Make::choice<loop::Engine>(
      {.name = "engine",
       .group = "Workers",
       .placeholder = "NAME",
       .help =
           "the workers' event loop: epoll, or uring (io_uring, Linux 6.1), which takes requests "
           "in and sends small responses in batches, one system call for many connections. auto is "
           "uring where the kernel lets it, else epoll"},
      std::move(choices), [](auto& s) -> auto& { return s.server.engine; });
}

ServeOption path_option() {
  std::vector<Choice<const egress::Path*>> choices{{.name = "auto", .value = nullptr}};
  static const std::string help = [] {
    std::string text =
        "how file bytes go to the socket. auto: small bodies are copied together with their head, "
        "larger ones go by sendfile, or by what a calibration measured to be cheaper; a name pins "
        "that path where it fits:";
    for (const egress::Path* const path : egress::socket_paths())
      text += fmt::format(" {}", path->name);
    return text;
  }();
  for (const egress::Path* const path : egress::socket_paths()) {
    choices.push_back({.name = path->name, .value = path});
  }
  return Make::choice<const egress::Path*>(
      {.name = "path", .group = "Sending", .placeholder = "NAME", .help = help}, std::move(choices),
      [](auto& s) -> auto& { return s.server.chooser.pinned; });
}

ServeOption small_body_option() {
  ServeOption option = Make::size(
      {.name = "small-body",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "auto: bodies up to this go in one send with their head"},
      {.least = 0, .most = largest_small_body},
      [](auto& s) -> auto& { return s.server.chooser.small_body; });
  option.set = [set = option.set](std::string_view value, ServeSettings& settings) {
    settings.small_body_given = true;
    return set(value, settings);
  };
  return option;
}

ServeOption calibration_option() {
  ServeOption option =
      Make::described(Kind::Text,
                      {.name = "calibration",
                       .group = "Sending",
                       .placeholder = "FILE|off",
                       .help = "take --small-body, where it is not given, and paths that are "
                               "cheaper at some sizes from what pagewire bench sweep --save FILE "
                               "found on this machine"},
                      "the name of a file, or off");
  option.set = [](std::string_view value, ServeSettings& settings) {
    if (value.empty() || value.find('\0') != std::string_view::npos) return false;
    settings.calibration_file = value == "off" ? "" : value;
    return true;
  };
  option.show = [](const ServeSettings& settings) {
    const std::string& file = settings.calibration_file;
    return std::vector<std::string>{file.empty() ? "off" : file};
  };
  return option;
}

ServeOption self_test_option() {
  using Mode = egress::SelfTestMode;
  return Make::choice<Mode>(
      {.name = "self-test",
       .group = "Sending",
       .placeholder = "auto|always|off",
       .help = "at start, send a small file of ROOT's filesystem through every path and do without "
               "those that fail. auto: unless an earlier start has found nothing wrong there"},
      {{.name = "auto", .value = Mode::Auto},
       {.name = "always", .value = Mode::Always},
       {.name = "off", .value = Mode::Off}},
      [](auto& s) -> auto& { return s.self_test; });
}

}  // namespace

void add_listening(std::vector<ServeOption>& table) {
  table.push_back(listen_option());
}

void add_workers(std::vector<ServeOption>& table) {
  table.push_back(Shared::workers(
      "threads that serve, each with its own listeners, loop and caches",
      [](auto& s) -> auto& { return s.workers; }));
  table.push_back(Shared::pin(
      [](auto& s) -> auto& { return s.pin_mode; }, [](auto& s) -> auto& { return s.pin_list; }));
  table.push_back(engine_option());
  table.push_back(Make::number(
      {.name = "disk-threads",
       .group = "Workers",
       .placeholder = "N",
       .help = "helpers of all workers that open and read what is not in memory, so that no worker "
               "waits for the disk, and one more for short jobs; 0: the workers do it, and wait"},
      {.least = 0, .most = 256}, [](auto& s) -> auto& { return s.server.disk_threads; }));
}

void add_sending(std::vector<ServeOption>& table) {
  table.push_back(path_option());
  table.push_back(small_body_option());
  table.push_back(calibration_option());
  table.push_back(self_test_option());
  table.push_back(Make::size(
      {.name = "quantum",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "about what one connection sends before others get their turn"},
      {.least = 4 * kib, .most = gib}, [](auto& s) -> auto& { return s.server.limits.quantum; }));
  table.push_back(Make::size(
      {.name = "unsent-limit",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "unsent bytes that the kernel queues for one reader "
               "(TCP_NOTSENT_LOWAT); 0 leaves it to the kernel"},
      {.least = 0, .most = gib}, [](auto& s) -> auto& { return s.server.limits.unsent; }));
  table.push_back(Make::size(
      {.name = "pipe-size",
       .group = "Sending",
       .placeholder = "SIZE",
       .help = "splice: asked of the kernel for each pipe"},
      {.least = 4 * kib, .most = 16 * mib},
      [](auto& s) -> auto& { return s.server.pipes.capacity; }));
  table.push_back(Make::number(
      {.name = "idle-pipes",
       .group = "Sending",
       .placeholder = "N",
       .help = "splice: empty pipes that each worker keeps"},
      {.least = 0, .most = 65'536}, [](auto& s) -> auto& { return s.server.pipes.idle; }));
  table.push_back(Make::size(
      {.name = "zerocopy-in-flight",
       .group = "Sending",
       .placeholder = "SIZE",
       .help =
           "zerocopy: bytes of each worker that the kernel may hold; above it sends are copied"},
      {.least = 0, .most = 64 * gib},
      [](auto& s) -> auto& { return s.server.zero_copy.in_flight; }));
  table.push_back(Make::number(
      {.name = "zerocopy-copied-streak",
       .group = "Sending",
       .placeholder = "N",
       .help = "zerocopy: after so many sends in a row that the kernel copied after all, the "
               "connection gives the path up; 0 is never"},
      {.least = 0, .most = 1'000'000'000},
      [](auto& s) -> auto& { return s.server.zero_copy.copied_streak; }));
}

}  // namespace pagewire::cli
