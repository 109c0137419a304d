// How a relay's streams are mirrored.
#include "cli/option_kinds.h"
#include "cli/relay_options.h"

namespace pagewire::cli {

namespace {

using Make = OptionKinds<relay::Route>;
using Kind = OptionFacts::Kind;

constexpr std::string_view group = "Mirror";

RouteOption target_option() {
  RouteOption option = Make::text(
      Kind::Text,
      {.name = "mirror",
       .group = group,
       .placeholder = "FILE|HOST:PORT",
       .help = "duplicate what is relayed to a file (read it with pagewire mirror) or to a "
               "recorder, which never slows the relay: what they do not take is dropped, counted "
               "and marked. A file that is there is never touched: FILE, FILE.1, FILE.2 ...",
       .default_text = "none"},
      "a file, or a host with a port", [](auto& r) -> auto& { return r.mirror.target; });
  option.show = [](const relay::Route& route) {
    std::vector<std::string> shown;
    if (!route.mirror.target.empty()) shown.push_back(route.mirror.target);
    return shown;
  };
  return option;
}

}  // namespace

void add_mirror_options(std::vector<RouteOption>& table) {
  table.push_back(target_option());
  table.push_back(Make::choice<relay::MirrorDirections>(
      {.name = "mirror-direction",
       .group = group,
       .placeholder = "up|down|both",
       .help = "up: what clients send; down: what upstreams send"},
      {{.name = "up", .value = relay::MirrorDirections::Up},
       {.name = "down", .value = relay::MirrorDirections::Down},
       {.name = "both", .value = relay::MirrorDirections::Both}},
      [](auto& r) -> auto& { return r.mirror.directions; }));
  table.push_back(Make::size(
      {.name = "mirror-rotate",
       .group = group,
       .placeholder = "SIZE",
       .help = "the next file before one would grow beyond this; 0: only on SIGHUP"},
      {.least = 0, .most = 1ULL << 50}, [](auto& r) -> auto& { return r.mirror.rotate; }));
  table.push_back(Make::size(
      {.name = "mirror-buffer",
       .group = group,
       .placeholder = "SIZE",
       .help = "of each worker's pipe to the mirror, in pages; without CAP_SYS_RESOURCE at most "
               "fs.pipe-max-size"},
      {.least = 4 * kib, .most = 256 * mib},
      [](auto& r) -> auto& { return r.mirror.lane_capacity; }));
}

}  // namespace pagewire::cli
