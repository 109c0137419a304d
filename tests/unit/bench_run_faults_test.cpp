// run() and sweep() when something cannot be, goes wrong, or is stopped: one clear line, what was
// complete is kept, and no process or descriptor is left (the fixture looks).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "unit/bench_run_fixture.h"

namespace pagewire::bench {
namespace {

// ---------------------------------------------------------------- what cannot be

TEST_F(BenchRun, RefusesFilesThatCannotBeSent) {
  settings_.file = (folder_ / "missing").string();
  EXPECT_EQ(refusal(), "--file " + settings_.file + ": No such file or directory");
  settings_.file = folder_.string();
  EXPECT_EQ(refusal(), "--file " + settings_.file + ": is a directory");
  settings_.file = make_file(0);
  EXPECT_EQ(refusal(), "--file " + settings_.file + ": is empty: there is nothing to send");
  settings_.file = (folder_ / "fifo").string();
  ASSERT_EQ(::mkfifo(settings_.file.c_str(), 0600), 0);
  EXPECT_EQ(refusal(), "--file " + settings_.file + ": is not a regular file");
  settings_.file.clear();
  settings_.folder = (folder_ / "nowhere").string();
  EXPECT_TRUE(has(refusal(), "nowhere cannot be made: open: No such file or directory"));
}

TEST_F(BenchRun, RefusesAFileThatMayNotBeRead) {
  settings_.file = make_file(4096);
  ASSERT_EQ(::chmod(settings_.file.c_str(), 0), 0);
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  const bool was_root = ::geteuid() == 0;
  ASSERT_EQ(::seteuid(was_root ? 65534 : ::geteuid()), 0);
  const string text = refusal();
  ASSERT_EQ(::seteuid(was_root ? 0 : ::geteuid()), 0);
  EXPECT_EQ(text, "--file " + settings_.file + ": Permission denied");
}

TEST_F(BenchRun, RefusesAFileThatDoesNotFit) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{.rlim_cur = 4096, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const string text = refusal();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_TRUE(has(text, "a file of 1 MiB in ")) << text;
  EXPECT_TRUE(has(text, "File too large")) << text;
}

TEST_F(BenchRun, RefusesSettingsThatMakeNoRun) {
  const RunSettings good = settings_;
  settings_.paths.clear();
  EXPECT_TRUE(has(refusal(), "--path"));
  settings_ = good;
  settings_.connections = 0;
  EXPECT_TRUE(has(refusal(), "-P"));
  settings_ = good;
  settings_.repeat = 0;
  EXPECT_TRUE(has(refusal(), "--repeat"));
  settings_ = good;
  settings_.seconds = 0;
  EXPECT_TRUE(has(refusal(), "-t"));
  settings_ = good;
  settings_.rate_gbit_per_s = -1;
  EXPECT_TRUE(has(refusal(), "--rate"));
  settings_ = good;
  settings_.pin.client = 100'000;
  EXPECT_TRUE(has(refusal(), "--pin: CPU 100000 is not one"));
}

// ---------------------------------------------------------------- what goes wrong

/// copy, but for what a test changes.
egress::Path broken_path(std::string_view name) {
  egress::Path path = *egress::find_path("copy");
  path.name = name;
  return path;
}

TEST_F(BenchRun, NeverMeasuresAPathThatSendsWrongBytes) {
  egress::Path wrong = broken_path("wrong");
  wrong.step = [](egress::Transfer& transfer, ByteCount quantum) {
    const content::Segment& segment = transfer.segments[transfer.index];
    if (segment.kind == content::Segment::Kind::Memory) {
      return egress::find_path("copy")->step(transfer, quantum);
    }
    const std::string zeros(64 * kib, '\0');
    const ByteCount left = segment.size() - transfer.sent_of_segment;
    const ssize_t n = ::write(transfer.transport.socket_fd, zeros.data(),
                              std::min<std::size_t>(zeros.size(), left.value));
    egress::StepResult result;
    result.status = egress::Status::WantWrite;
    if (n <= 0) return result;
    result.moved = ByteCount{static_cast<std::uint64_t>(n)};
    transfer.advance(result.moved);
    result.status = transfer.finished() ? egress::Status::Done : egress::Status::Moved;
    return result;
  };
  settings_.paths = {&wrong, egress::find_path("copy")};
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  const Contender& contender = contender_of(report->rows[0], "wrong");
  EXPECT_TRUE(contender.rounds.empty());
  EXPECT_EQ(contender.verified_bytes, 0U);
  EXPECT_TRUE(has(contender.unavailable, "byte 0 of the file arrived wrong"))
      << contender.unavailable;
  EXPECT_TRUE(any_has(watch_.notes, "wrong: ")) << "said loudly";
  EXPECT_EQ(complete_rounds(contender_of(report->rows[0], "copy")), 2U);
}

TEST_F(BenchRun, SaysWhichPathsAreNotThere) {
  egress::Path absent = broken_path("absent");
  absent.probe = [] { return egress::Availability{false, "this kernel has none"}; };
  settings_.paths = {&absent, egress::find_path("sendfile")};
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(contender_of(report->rows[0], "absent").unavailable, "this kernel has none");
  EXPECT_EQ(report->rows[0].baseline, "sendfile");
  settings_.paths = {&absent};
  EXPECT_EQ(refusal(), "no path can be measured: absent: this kernel has none");
}

TEST_F(BenchRun, KeepsCompleteRoundsWhenStopped) {
  settings_.repeat = 3;
  watch_.on_progress = [this](const string& what) {
    watch_.stop = watch_.stop || has(what, "round 2 of 3: copy");
  };
  settings_.paths = {egress::find_path("sendfile"), egress::find_path("copy")};
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_TRUE(report->partial);
  EXPECT_EQ(report->partial_reason, "interrupted in round 2 of 3");
  // In the second turn copy is the first.
  for (const Contender& contender : report->rows[0].contenders) {
    EXPECT_EQ(contender.rounds.size(), 1U) << contender.name;
    EXPECT_EQ(complete_rounds(contender), 1U) << contender.name;
    EXPECT_TRUE(contender.summary.at(Metric::CpuMsPerGbit).median.has_value());
  }
}

TEST_F(BenchRun, StopsWhileItComparesBytes) {
  watch_.on_progress = [this](const string& what) {
    watch_.stop = watch_.stop || has(what, "comparing every byte");
  };
  const auto report = run_unstarved();
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_TRUE(report->partial);
  EXPECT_EQ(report->partial_reason, "interrupted before the first round");
  for (const Contender& contender : report->rows[0].contenders) {
    EXPECT_TRUE(contender.rounds.empty());
    if (contender.name == "tee") continue;  // it does not fit, whoever stops
    EXPECT_EQ(contender.unavailable, "") << "a stop says nothing about " << contender.name;
  }
}

TEST_F(BenchRun, StopsWhileTheFileIsMade) {
  watch_.stop = true;
  EXPECT_TRUE(has(refusal(), "stopped while a file of 1 MiB"));
}

/// The rounds before the fault stand, the one with it is told, and none follows.
void expect_ended_by_file(const Report& report, const TestWatch& watch) {
  EXPECT_TRUE(report.partial);
  EXPECT_TRUE(has(report.partial_reason, "the file changed in round 2 of 3"))
      << report.partial_reason;
  std::size_t complete = 0;
  std::size_t failed = 0;
  for (const Contender& contender : report.rows.at(0).contenders) {
    complete += complete_rounds(contender);
    for (const Round& round : contender.rounds) {
      failed += round.failed.empty() ? 0 : 1;
      EXPECT_EQ(round.figures.empty(), !round.failed.empty());
    }
  }
  EXPECT_EQ(complete, report.rows[0].contenders.size() - 1) << "all but tee, which does not fit";
  EXPECT_EQ(failed, 1U);
  EXPECT_TRUE(any_has(watch.notes, "round 2 of 3"));
}

TEST_F(BenchRun, EndsWhenTheFileShrinks) {
  take_paths({"sendfile", "tee", "copy"});
  settings_.seconds = 0.2;
  settings_.repeat = 3;
  watch_.on_progress = [this](const string& what) {
    if (has(what, "round 2 of 3")) fs::resize_file(settings_.file, 4096);
  };
  const auto report = unstarved([this] {
    settings_.file = make_file(2 * mib);
    return run(settings_, watch_);
  });
  ASSERT_TRUE(report.has_value()) << report.error().text;
  expect_ended_by_file(*report, watch_);
}

TEST_F(BenchRun, EndsWhenTheFileIsOverwritten) {
  take_paths({"sendfile", "tee", "copy"});
  settings_.seconds = 0.2;
  settings_.repeat = 3;
  watch_.on_progress = [this](const string& what) {
    if (!has(what, "round 2 of 3")) return;
    std::fstream file(settings_.file, std::ios::binary | std::ios::in | std::ios::out);
    file << test::positions(0, 4096, 1);
  };
  const auto report = unstarved([this] {
    settings_.file = make_file(2 * mib);
    return run(settings_, watch_);
  });
  ASSERT_TRUE(report.has_value()) << report.error().text;
  expect_ended_by_file(*report, watch_);
}

/// The child of this process with that name (the kernel keeps 15 characters); -1: none.
pid_t child_called(const string& name) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    string pid;
    string called;
    string state;
    pid_t parent = 0;
    file >> pid >> called >> state >> parent;
    if (parent == ::getpid() && has("(" + name + ")", called.substr(0, called.size() - 1))) {
      return std::stoi(pid);
    }
  }
  return -1;
}

TEST_F(BenchRun, GoesOnAfterARoundWhoseClientDied) {
  settings_.paths = {egress::find_path("sendfile"), egress::find_path("copy")};
  settings_.seconds = 0.5;
  bool killed = false;
  watch_.on_progress = [&killed](const string& what) {
    if (killed || !has(what, "round 1 of 2: copy")) return;
    const pid_t client = child_called("pw-bench-client");
    killed = client > 0 && ::kill(client, SIGKILL) == 0;
  };
  const auto report = unstarved([&] {
    killed = false;
    return run(settings_, watch_);
  });
  ASSERT_TRUE(report.has_value()) << report.error().text;
  ASSERT_TRUE(killed);
  EXPECT_FALSE(report->partial);
  const Contender& copy = contender_of(report->rows[0], "copy");
  ASSERT_EQ(copy.rounds.size(), 2U);
  EXPECT_NE(copy.rounds[0].failed, "");
  EXPECT_EQ(copy.rounds[1].failed, "");
  EXPECT_EQ(complete_rounds(contender_of(report->rows[0], "sendfile")), 2U);
  EXPECT_TRUE(any_has(watch_.notes, "round 1 of 2: copy: ")) << "said at once";
  EXPECT_TRUE(any_has(report->remarks, "Rounds failed of copy"));
}

/// Whoever looks at the window so rarely was stopped by somebody.
TEST_F(BenchRun, BillsNoWindowThatWasStretched) {
  settings_.paths = {egress::find_path("sendfile")};
  settings_.seconds = 0.05;
  watch_.on_progress = [](const string& what) {
    if (has(what, "round 1 of 2")) ::usleep(1'200'000);
  };
  const auto report = unstarved(
      [this] { return run(settings_, watch_); },
      [](const Report& each) { return !each.rows[0].contenders[0].rounds.back().failed.empty(); });
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_FALSE(report->partial);
  const Contender& contender = contender_of(report->rows[0], "sendfile");
  ASSERT_EQ(contender.rounds.size(), 2U);
  const Round& stretched = contender.rounds[0];
  EXPECT_TRUE(has(stretched.failed, " s instead of 0.05: this process was stopped or starved"))
      << stretched.failed;
  EXPECT_TRUE(stretched.failed.starts_with("the window took ")) << stretched.failed;
  EXPECT_TRUE(stretched.figures.empty());
  EXPECT_EQ(contender.rounds[1].failed, "");
  EXPECT_TRUE(any_has(watch_.notes, "round 1 of 2: sendfile: the window took "));
}

TEST_F(BenchRun, KeepsTheSizesThatAreDoneWhenASweepIsStopped) {
  take_paths({"sendfile", "copy"});
  const SweepSettings sweep_settings{.sizes = {{1024}, {16 * kib}}, .run = settings_};
  watch_.on_progress = [this](const string& what) {
    watch_.stop = watch_.stop || has(what, "round 1 of 2 at 16 KiB");
  };
  const auto report = sweep(sweep_settings, watch_);
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_TRUE(report->partial);
  EXPECT_EQ(report->partial_reason, "interrupted in round 1 of 2 at 16 KiB");
  ASSERT_EQ(report->rows.size(), 1U);
  EXPECT_EQ(report->rows[0].size_bytes, 1024U);
}

TEST_F(BenchRun, RefusesSizesThatMakeNoSweep) {
  const auto refused = [this](std::vector<ByteCount> sizes) {
    const auto report = sweep({.sizes = std::move(sizes), .run = settings_}, watch_);
    return report ? string("none") : report.error().text;
  };
  EXPECT_EQ(refused({}), "--sizes: there is no size to measure");
  EXPECT_EQ(refused({{0}, {1024}}), "--sizes: a file needs at least one byte");
  EXPECT_EQ(refused({{2048}, {1024}}), "--sizes: they must ascend, each once");
  EXPECT_EQ(refused({{1024}, {1024}}), "--sizes: they must ascend, each once");
}

}  // namespace
}  // namespace pagewire::bench
