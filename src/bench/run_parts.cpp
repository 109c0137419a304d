// Refusing early, and putting a report together.
#include "bench/run_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/format_number.h"
#include "bench/remarks.h"
#include "bench/source_file.h"

namespace pagewire::bench {

namespace {

std::string cpu_text(const std::optional<int>& cpu) {
  return cpu ? std::to_string(*cpu) : std::string("any");
}

std::string wrong_cpu(const std::optional<int>& cpu) {
  if (!cpu) return {};
  const std::vector<int> allowed = allowed_cpus();
  if (std::find(allowed.begin(), allowed.end(), *cpu) != allowed.end()) return {};
  return fmt::format("--pin: CPU {} is not one that this process may use ({})", *cpu,
                     fmt::join(allowed, ", "));
}

std::string file_text(const RunSettings& settings) {
  if (settings.zeros.value > 0) return zero_device;
  return settings.file.empty() ? "made, position-coded" : settings.file;
}

std::string names_of(const std::vector<const egress::Path*>& paths) {
  std::string names;
  for (const egress::Path* path : paths) {
    names += names.empty() ? "" : ",";
    names += path->name;
  }
  return names;
}

}  // namespace

std::string what_is_wrong(const RunSettings& settings) {
  if (settings.paths.empty()) return "--path: there is no path to measure";
  if (settings.connections == 0) return "-P: at least one connection is needed";
  if (settings.repeat == 0) return "--repeat: at least one round is needed";
  if (!(settings.seconds > 0)) return "-t: a round needs some time";
  if (settings.rate_gbit_per_s && !(*settings.rate_gbit_per_s > 0)) {
    return "--rate: a load needs to be above 0";
  }
  if (settings.cold && settings.zeros.value > 0) {
    return "--cold: --zero has nothing in the page cache that could be dropped";
  }
  std::string wrong = wrong_cpu(settings.pin.server);
  return wrong.empty() ? wrong_cpu(settings.pin.client) : wrong;
}

std::string place_of(const RunSettings& settings) {
  if (settings.zeros.value > 0) return zero_device;
  if (!settings.file.empty()) return settings.file;
  return settings.folder.empty() ? "." : settings.folder;
}

std::vector<std::pair<std::string, std::string>> settings_of(const RunSettings& settings) {
  return {
      {"--file", file_text(settings)},
      {"--path", names_of(settings.paths)},
      {"-t", fmt::format("{}", settings.seconds)},
      {"--warmup", settings.cold ? "0, for --cold" : fmt::format("{}", settings.warmup_seconds)},
      {"-P", fmt::format("{}", settings.connections)},
      {"--repeat", fmt::format("{}", settings.repeat)},
      {"--net", settings.net == NetKind::Veth ? "veth" : "loopback"},
      {"--cold", settings.cold ? "yes" : "no"},
      {"--rate", settings.rate_gbit_per_s ? fmt::format("{}", *settings.rate_gbit_per_s)
                                          : std::string("saturation")},
      {"--pin", cpu_text(settings.pin.server) + "," + cpu_text(settings.pin.client)},
      {"instrumented round", settings.instrument ? "yes" : "no"},
  };
}

void finish_report(const Contest& contest, Report& report) {
  report.partial = !contest.ended().empty();
  report.partial_reason = contest.ended();
  summarise(report);
  report.remarks = remarks_of(report.rows);
  for (std::string& remark : contest.remarks()) report.remarks.push_back(std::move(remark));
}

}  // namespace pagewire::bench
