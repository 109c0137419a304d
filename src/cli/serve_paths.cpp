#include "cli/serve_paths.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace pagewire::cli {

std::string cache_folder() {
  const char* const xdg = std::getenv("XDG_CACHE_HOME");
  // The XDG base directory specification: a relative one is to be ignored.
  if (xdg != nullptr && *xdg == '/') return std::string(xdg) + "/pagewire";
  if (::geteuid() == 0) return "/var/cache/pagewire";
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::string(home) + "/.cache/pagewire";
  return {};
}

void test_paths(ServeSettings& settings) {
  settings.server.paths = egress::self_test({.root = settings.server.site.root,
                                             .mode = settings.self_test,
                                             .paths = egress::socket_paths(),
                                             .cache_folder = cache_folder()});
}

std::string why_pin_is_refused(const ServeSettings& settings) {
  const egress::Path* const pinned = settings.server.chooser.pinned;
  if (pinned == nullptr) return {};
  const egress::PathReport* const report = settings.server.paths.find(*pinned);
  if (report == nullptr || report->state == egress::PathState::Usable) return {};
  const bool by_probe = report->state == egress::PathState::Unavailable;
  return fmt::format("--path {} is {}{}", pinned->name, report->describe(),
                     by_probe ? ""
                              : fmt::format(" (on {}; --self-test off uses it all the same)",
                                            settings.server.paths.filesystem));
}

std::vector<std::string> quarantine_lines(const egress::PathReports& reports) {
  std::vector<std::string> lines;
  for (const egress::PathReport& report : reports.paths) {
    if (report.state != egress::PathState::Quarantined) continue;
    const bool last = report.path == egress::paths().back();
    lines.push_back(fmt::format("path {} is quarantined on {}: {}{}", report.path->name,
                                reports.filesystem, report.why,
                                last ? "; it is used all the same, because none is left" : ""));
  }
  return lines;
}

}  // namespace pagewire::cli
