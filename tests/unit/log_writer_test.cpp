// The writer thread and its file: nothing lost, nothing torn, reopen, full disks, quiet when idle.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "log/log.h"
#include "log/log_file.h"

namespace pagewire::log {
namespace {

class LogWriter : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "pagewire_log_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const char* name = "access.log") const { return folder_ + "/" + name; }

  static std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream stream(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  static bool soon(const std::function<bool()>& holds) {
    for (int i = 0; i < 6'000; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  /// How often the writer's thread has gone to sleep so far.
  static long writer_wakes() {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      if (lines_of(task.path() / "comm") != std::vector<std::string>{"pw-log"}) continue;
      for (const std::string& line : lines_of(task.path() / "status")) {
        if (line.starts_with("voluntary_ctxt_switches:")) return std::stol(line.substr(24));
      }
    }
    return -1;
  }

  /// Logs one line whose target says who and which it is; false when the queue was full.
  static bool put(AccessLog& log, std::size_t worker, int number) {
    AccessRecord* const record = log.begin(worker);
    if (record == nullptr) return false;
    record->status = 200;
    record->path = "copy";
    record->reason = "small-body";
    record->method.assign("GET");
    record->target.assign("/" + std::to_string(worker) + "/" + std::to_string(number));
    log.commit(worker);
    return true;
  }

  std::string folder_;
};

TEST_F(LogWriter, WritesEveryLineOfEveryWorkerInItsOrder) {
  constexpr std::size_t workers = 3;
  constexpr int lines = 20'000;
  std::array<int, workers> put_count{};
  std::uint64_t dropped = 0;
  {
    auto log = AccessLog::open(
        {.file = file(), .format = Format::Combined, .queue_lines = 512, .workers = workers});
    ASSERT_TRUE(log.has_value());
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < workers; ++worker) {
      threads.emplace_back([&, worker] {
        for (int i = 0; i < lines; ++i) {
          if (put(**log, worker, i)) ++put_count[worker];
          if (i % 64 == 0) std::this_thread::yield();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    dropped = (*log)->dropped();
  }
  std::map<std::string, int> last;
  std::uint64_t seen = 0;
  for (const std::string& line : lines_of(file())) {
    const std::size_t slash = line.find("GET /") + 5;
    const std::string worker = line.substr(slash, 1);
    const int number = std::stoi(line.substr(slash + 2));
    const auto [entry, fresh] = last.emplace(worker, number);
    EXPECT_TRUE(fresh || number > entry->second) << line;
    entry->second = number;
    EXPECT_TRUE(line.ends_with("path=copy reason=small-body")) << line;
    ++seen;
  }
  EXPECT_EQ(seen, static_cast<std::uint64_t>(put_count[0] + put_count[1] + put_count[2]));
  EXPECT_EQ(seen + dropped, workers * lines);
}

TEST_F(LogWriter, ALineIsWrittenWithoutAnotherToPushIt) {
  auto log = AccessLog::open({.file = file()});
  ASSERT_TRUE(log.has_value());
  for (int i = 0; i < 5; ++i) {
    // Longer than a nap, so that each line finds the writer asleep for good.
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    ASSERT_TRUE(put(**log, 0, i));
    ASSERT_TRUE(soon([&] { return lines_of(file()).size() == static_cast<std::size_t>(i) + 1; }));
  }
}

TEST_F(LogWriter, ALineThatComesWhileTheWriterFallsAsleepWakesIt) {
  auto log = AccessLog::open({.file = file()});
  ASSERT_TRUE(log.has_value());
  std::uint64_t random = 1;
  std::uintmax_t size = 0;
  for (int i = 0; i < 5'000; ++i) {
    // reopen() sends the writer round once; the line comes at some moment of that.
    (*log)->reopen();
    random = random * 6364136223846793005U + 1442695040888963407U;
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::nanoseconds((random >> 33) % 40'000);
    while (std::chrono::steady_clock::now() < until) continue;
    ASSERT_TRUE(put(**log, 0, i));
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    std::uintmax_t grown = size;
    while (grown == size) {
      ASSERT_LT(std::chrono::steady_clock::now(), late) << "line " << i << " was slept through";
      grown = std::filesystem::file_size(file());
    }
    size = grown;
  }
}

TEST_F(LogWriter, AnIdleWriterUsesNoCpu) {
  auto log = AccessLog::open({.file = file()});
  ASSERT_TRUE(log.has_value());
  ASSERT_TRUE(put(**log, 0, 0));
  ASSERT_TRUE(soon([&] { return lines_of(file()).size() == 1; }));
  long before = 0;
  long after = -1;
  // It naps before it sleeps for good, and may stand still on the way.
  for (int second = 0; second < 60 && after != before; ++second) {
    before = writer_wakes();
    ASSERT_GT(before, 0);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    after = writer_wakes();
  }
  EXPECT_EQ(after, before);
}

TEST_F(LogWriter, ReopensAfterARename) {
  auto log = AccessLog::open({.file = file()});
  ASSERT_TRUE(log.has_value());
  ASSERT_TRUE(put(**log, 0, 1));
  ASSERT_TRUE(soon([&] { return lines_of(file()).size() == 1; }));
  std::filesystem::rename(file(), file("access.log.1"));
  ASSERT_TRUE(put(**log, 0, 2));
  (*log)->reopen();
  ASSERT_TRUE(soon([&] { return std::filesystem::exists(file()); }));
  ASSERT_TRUE(put(**log, 0, 3));
  ASSERT_TRUE(soon([&] { return lines_of(file()).size() == 1; }));
  EXPECT_NE(lines_of(file())[0].find("GET /0/3 "), std::string::npos);
  ASSERT_EQ(lines_of(file("access.log.1")).size(), 2U);
  EXPECT_EQ((*log)->dropped(), 0U);
}

TEST_F(LogWriter, ALineBeforeAReopenIsInTheOldFile) {
  auto log = AccessLog::open({.file = file(), .queue_lines = 4});
  ASSERT_TRUE(log.has_value());
  std::uint64_t random = 1;
  for (int i = 0; i < 5'000; ++i) {
    std::filesystem::rename(file(), file("old"));
    // Half of the queue wakes the writer. The last line and the request come at some moment of the
    // round that it makes.
    for (int line = 0; line < 2; ++line) ASSERT_TRUE(put(**log, 0, line));
    random = random * 6364136223846793005U + 1442695040888963407U;
    const auto now = [] { return std::chrono::steady_clock::now(); };
    const auto until = now() + std::chrono::nanoseconds((random >> 33) % 200'000);
    while (now() < until) continue;
    ASSERT_TRUE(put(**log, 0, 2));
    (*log)->reopen();
    const auto late = now() + std::chrono::seconds(60);
    while (!std::filesystem::exists(file())) ASSERT_LT(now(), late);
    ASSERT_EQ(lines_of(file("old")).size(), 3U) << "round " << i;
  }
}

TEST_F(LogWriter, KeepsTheOldFileWhenReopeningFails) {
  auto log = AccessLog::open({.file = file()});
  ASSERT_TRUE(log.has_value());
  ASSERT_TRUE(put(**log, 0, 1));
  ASSERT_TRUE(soon([&] { return lines_of(file()).size() == 1; }));
  std::filesystem::rename(file(), file("old"));
  std::filesystem::create_directory(file());  // open for writing gives EISDIR
  ::testing::internal::CaptureStderr();
  (*log)->reopen();
  ASSERT_TRUE(put(**log, 0, 2));
  ASSERT_TRUE(soon([&] { return lines_of(file("old")).size() == 2; }));
  ASSERT_TRUE(put(**log, 0, 3));
  ASSERT_TRUE(soon([&] { return lines_of(file("old")).size() == 3; }));
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("Is a directory; the old file stays in use"), std::string::npos) << said;
}

TEST_F(LogWriter, AFullDiskDropsAndCountsLines) {
  ::testing::internal::CaptureStderr();
  {
    auto log = AccessLog::open({.file = "/dev/full"});
    ASSERT_TRUE(log.has_value());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(put(**log, 0, i));
    EXPECT_TRUE(soon([&] { return (*log)->dropped() == 5; }));
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(put(**log, 0, i));
    EXPECT_TRUE(soon([&] { return (*log)->dropped() == 10; }));
  }
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("No space left on device"), std::string::npos) << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << "said once: " << said;
}

TEST_F(LogWriter, AFullQueueDropsAndCountsLines) {
  // A FIFO whose reader does not read stops the writer, so the ring fills up.
  ASSERT_EQ(::mkfifo(file("fifo").c_str(), 0600), 0);
  const int reader = ::open(file("fifo").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  ::testing::internal::CaptureStderr();
  {
    auto log = AccessLog::open({.file = file("fifo"), .queue_lines = 64});
    ASSERT_TRUE(log.has_value());
    int refused = 0;
    for (int i = 0; i < 5'000; ++i) refused += put(**log, 0, i) ? 0 : 1;
    EXPECT_GT(refused, 0);
    EXPECT_GE((*log)->dropped(), static_cast<std::uint64_t>(refused));
    ::close(reader);
  }
  ::testing::internal::GetCapturedStderr();
}

TEST_F(LogWriter, NamesWhatCannotBeOpened) {
  auto log = AccessLog::open({.file = folder_ + "/missing/access.log"});
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error(), (Error{"open", ENOENT}));
}

/// A file size limit cuts a write off in mid-line (then EFBIG), as a disk that fills up does.
/// Standard error is not captured meanwhile: the limit would hold for that file too.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() { lift(); }
  void lift() { ::setrlimit(RLIMIT_FSIZE, &old_); }

 private:
  rlimit old_{};
};

TEST_F(LogWriter, ATornLineIsFinishedBeforeAnythingElse) {
  auto log = LogFile::open(file());
  ASSERT_TRUE(log.has_value());
  {
    SizeLimit limit(25);
    // 10 + 10 bytes fit, the third line is torn after 5 bytes, the fourth is lost.
    EXPECT_EQ(log->append("line 0001\nline 0002\nline 0003\nline 0004\n"), 1U);
    EXPECT_EQ(log->append("line 0005\n"), 1U);
  }
  EXPECT_EQ(log->append("line 0006\n"), 0U);
  EXPECT_EQ(lines_of(file()),
            (std::vector<std::string>{"line 0001", "line 0002", "line 0003", "line 0006"}));
}

TEST_F(LogWriter, AFileFullAtALineEndLosesWholeLinesOnly) {
  auto log = LogFile::open(file());
  ASSERT_TRUE(log.has_value());
  {
    SizeLimit limit(20);
    EXPECT_EQ(log->append("line 0001\nline 0002\nline 0003\nline 0004\n"), 2U);
  }
  EXPECT_EQ(log->append("line 0005\n"), 0U);
  EXPECT_EQ(lines_of(file()), (std::vector<std::string>{"line 0001", "line 0002", "line 0005"}));
}

TEST_F(LogWriter, ReopenFinishesTheTornLineInTheOldFileOrCountsIt) {
  auto log = LogFile::open(file());
  ASSERT_TRUE(log.has_value());
  {
    SizeLimit limit(15);
    EXPECT_EQ(log->append("line 0001\nline 0002\n"), 0U);  // it may still be finished
    std::filesystem::rename(file(), file("old"));
    EXPECT_EQ(log->reopen(), 1U);
  }
  EXPECT_EQ(log->append("line 0003\n"), 0U);
  EXPECT_EQ(lines_of(file()), (std::vector<std::string>{"line 0003"}));
}

}  // namespace
}  // namespace pagewire::log
