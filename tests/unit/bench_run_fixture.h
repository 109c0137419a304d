// What the tests of run() and sweep() share: a folder, settings for short rounds, and the look
// whether any process or descriptor was left behind.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "bench/run.h"
#include "support/position_code.h"

namespace pagewire::bench {

using std::string;
namespace fs = std::filesystem;

/// Remembers what it was told, and lets a test act while a round is under way.
struct TestWatch : Watch {
  std::function<void(const string& what)> on_progress = [](const string&) {};
  bool stop = false;
  std::vector<string> notes;
  double last_done = 0;
  double last_total = 0;
  bool went_back = false;

  void progress(double done, double total, std::string_view what) override {
    went_back = went_back || done < last_done || done > total + 1e-9;
    last_done = done;
    last_total = total;
    on_progress(string(what));
  }
  void note(const string& line) override { notes.push_back(line); }
  void start_anew() {
    stop = went_back = false;
    notes.clear();
    last_done = last_total = 0;
  }
  bool stop_asked() override { return stop; }
};

inline bool has(const string& text, const string& part) {
  return text.find(part) != string::npos;
}

inline bool any_has(const std::vector<string>& lines, const string& part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&part](const string& line) { return has(line, part); });
}

/// Whether others left so little of the machine that a round failed, or that nothing came in it.
inline bool was_starved(const Report& report) {
  const auto is_zero = [](const Round& round, Metric metric) {
    const auto found = round.figures.find(metric);
    return found != round.figures.end() && found->second.value == 0.0;
  };
  for (const Row& row : report.rows) {
    for (const Contender& contender : row.contenders) {
      for (const Round& round : contender.rounds) {
        if (has(round.failed, "this process was stopped or starved")) return true;
        if (is_zero(round, Metric::ThroughputGbitPerS)) return true;
        if (is_zero(round, Metric::RequestsPerS)) return true;
      }
    }
  }
  return false;
}

inline std::set<string> open_descriptors() {
  std::set<string> names;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own
    const fs::path target = fs::read_symlink(entry.path(), gone);
    if (!gone && !has(target.string(), "/fd")) {
      names.insert(entry.path().filename().string() + " " + target.string());
    }
  }
  return names;
}

class BenchRun : public ::testing::Test {
 protected:
  void SetUp() override {
    string name = (fs::temp_directory_path() / "pagewire-bench-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    settings_.folder = folder_.string();
    settings_.size = ByteCount{1 * mib};
    settings_.paths.assign(egress::socket_paths().begin(), egress::socket_paths().end());
    settings_.seconds = 0.1;
    settings_.warmup_seconds = 0.02;
    settings_.connections = 2;
    settings_.repeat = 2;
    settings_.instrument = false;
    settings_.pin = default_pinning();
    before_ = open_descriptors();
  }

  void TearDown() override {
    EXPECT_EQ(open_descriptors(), before_);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(errno, ECHILD);
    fs::remove_all(folder_);
  }

  /// For what does not depend on the path: as few as show it.
  void take_paths(std::initializer_list<std::string_view> names) {
    settings_.paths.clear();
    for (const std::string_view name : names) settings_.paths.push_back(egress::find_path(name));
  }

  string make_file(std::uint64_t size) {
    const fs::path path = folder_ / "file";
    std::ofstream(path, std::ios::binary) << test::positions(0, size);
    return path.string();
  }

  using Measured = tl::expected<Report, CannotRun>;

  /// All of it again while a round was starved, as whoever measures would. What never has a whole
  /// round fails all the same.
  Measured unstarved(const std::function<Measured()>& measure,
                     const std::function<bool(const Report&)>& starved = was_starved) {
    constexpr int tries = 10;
    for (int attempt = 1;; ++attempt) {
      watch_.start_anew();
      Measured report = measure();
      if (!report || !starved(*report) || attempt == tries) return report;
    }
  }
  Measured run_unstarved() {
    return unstarved([this] { return run(settings_, watch_); });
  }

  string refusal() {
    const auto report = run(settings_, watch_);
    return report ? string("none") : report.error().text;
  }

  fs::path folder_;
  RunSettings settings_;
  TestWatch watch_;
  std::set<string> before_;
};

inline std::size_t complete_rounds(const Contender& contender) {
  return static_cast<std::size_t>(
      std::count_if(contender.rounds.begin(), contender.rounds.end(),
                    [](const Round& round) { return round.failed.empty(); }));
}

inline const Contender& contender_of(const Row& row, std::string_view name) {
  const auto found = std::find_if(row.contenders.begin(), row.contenders.end(),
                                  [name](const Contender& each) { return each.name == name; });
  EXPECT_NE(found, row.contenders.end()) << name;
  return *found;
}

}  // namespace pagewire::bench
