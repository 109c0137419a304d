// The self-test as a whole: probe, cache, the file, path after path; and the words for a path that
// cannot be used, which everybody shares.
#include "egress/selftest.h"

#include <fmt/format.h>

#include <algorithm>

#include "egress/egress.h"
#include "egress/selftest_cache.h"
#include "egress/selftest_file.h"
#include "egress/selftest_send.h"
#include "sys/clock.h"
#include "sys/mount.h"

namespace pagewire::egress {

namespace {

/// Those that the probe found available; the self-test and its cache are about them.
std::vector<const Path*> available(const PathReports& reports) {
  std::vector<const Path*> paths;
  for (const PathReport& report : reports.paths) {
    if (report.state == PathState::Usable) paths.push_back(report.path);
  }
  return paths;
}

void take_over(PathReports& reports, std::span<const PathReport> found) {
  for (PathReport& report : reports.paths) {
    for (const PathReport& other : found) {
      if (other.path == report.path) report = other;
    }
  }
}

std::string filesystem_of(const std::string& root) {
  const Result<sys::Mount> mount = sys::mount_of(root);
  return mount ? fmt::format("{} on {}", mount->type, mount->source) : "an unknown filesystem";
}

struct Findings {
  std::vector<PathReport> reports;
  bool conclusive = true;  ///< fit for the cache
};

Findings findings_of(std::span<const Path* const> paths, std::span<const Verdict> verdicts) {
  Findings findings;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const Verdict& verdict = verdicts[i];
    const bool usable = verdict.state == PathState::Usable;
    findings.conclusive &= verdict.conclusive && verdict.state != PathState::Quarantined;
    findings.reports.push_back(
        {.path = paths[i], .state = verdict.state, .why = usable ? "" : verdict.why});
  }
  return findings;
}

Findings examine_all(const SelfTest& test, const SampleFile& sample,
                     std::span<const Path* const> paths) {
  const std::int64_t deadline_ms = sys::monotonic_ns() / 1'000'000 + test.total_limit_ms;
  const auto left_ms = [deadline_ms] { return deadline_ms - sys::monotonic_ns() / 1'000'000; };
  std::vector<Verdict> verdicts;
  for (const Path* const path : paths) {
    Verdict verdict{.state = PathState::Usable, .why = {}, .conclusive = false};
    if (left_ms() > 0) verdict = examine(*path, sample, test.idle_waits);
    verdicts.push_back(std::move(verdict));
  }
  // A busy machine may have had no time for its softirqs, or for io_uring's threads: what seemed to
  // stall has another turn when the others have had theirs, and the patience that is left. (Not
  // without end: what MSG_MORE holds back comes after 200 ms.)
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (!verdicts[i].stalled || left_ms() <= 0) continue;
    const int waits = std::min(3 * test.idle_waits, static_cast<int>(left_ms() / idle_wait_ms));
    verdicts[i] = examine(*paths[i], sample, std::max(test.idle_waits, waits));
  }
  return findings_of(paths, verdicts);
}

void test_or_recall(const SelfTest& test, PathReports& reports) {
  const std::vector<const Path*> paths = available(reports);
  const std::optional<CacheKey> key = cache_key(test.cache_folder, test.root);
  if (key && test.mode == SelfTestMode::Auto) {
    if (const auto cached = read_cache(*key, paths)) {
      reports.cached = true;
      return take_over(reports, *cached);
    }
  }
  const tl::expected<SampleFile, std::string> sample = sample_file(test.root);
  if (!sample) {
    reports.skipped = sample.error();
    return;
  }
  const Findings findings = examine_all(test, *sample, paths);
  take_over(reports, findings.reports);
  if (key && findings.conclusive) write_cache(*key, findings.reports);
}

}  // namespace

PathReports self_test(const SelfTest& test) {
  PathReports reports = probe_paths(test.paths);
  reports.filesystem = filesystem_of(test.root);
  if (test.mode == SelfTestMode::Off) {
    reports.skipped = "--self-test off";
    return reports;
  }
  const std::int64_t begin_ns = sys::monotonic_ns();
  test_or_recall(test, reports);
  reports.took_us = (sys::monotonic_ns() - begin_ns) / 1'000;
  return reports;
}

PathReport probe_path(const Path& path) {
  const Availability availability = path.probe();
  if (availability.available) return {.path = &path, .state = PathState::Usable, .why = {}};
  return {.path = &path, .state = PathState::Unavailable, .why = availability.reason};
}

PathReports probe_paths(std::span<const Path* const> paths) {
  PathReports reports;
  for (const Path* const path : paths) reports.paths.push_back(probe_path(*path));
  return reports;
}

std::string PathReport::describe() const {
  if (state == PathState::Usable) return "usable";
  return fmt::format("{}: {}", token(state), why);
}

const PathReport* PathReports::find(const Path& path) const {
  const auto found = std::find_if(paths.begin(), paths.end(),
                                  [&](const PathReport& report) { return report.path == &path; });
  return found == paths.end() ? nullptr : &*found;
}

PathSet PathReports::usable() const {
  PathSet set;
  for (const PathReport& report : paths) {
    if (report.state == PathState::Usable) set.insert(*report.path);
  }
  return set;
}

PathSet PathReports::quarantined() const {
  PathSet set;
  for (const PathReport& report : paths) {
    if (report.state == PathState::Quarantined) set.insert(*report.path);
  }
  return set;
}

std::string_view token(PathState state) {
  switch (state) {
    case PathState::Usable:
      return "ok";
    case PathState::Unavailable:
      return "unavailable";
    case PathState::Unsupported:
      return "unsupported";
    case PathState::Quarantined:
      return "quarantined";
  }
  return "";
}

}  // namespace pagewire::egress
