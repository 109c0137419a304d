// A report's way to the disk: whole, or the old file as it was, and never a leftover.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "bench/render.h"
#include "unit/bench_render_python.h"

namespace pagewire::bench {
namespace {

std::string content_of(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::size_t files_in(const sample::Folder& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++count;
  }
  return count;
}

/// Each line says its own number.
std::string text_of(std::size_t bytes) {
  std::string text;
  for (std::size_t line = 0; text.size() < bytes; ++line) text += std::to_string(line) + "\n";
  return text;
}

TEST(WriteFile, WritesAndReplaces) {
  const sample::Folder folder;
  const std::string name = folder.file("report.json");
  ASSERT_TRUE(write_file(name, "first"));
  EXPECT_EQ(content_of(name), "first");
  const std::string large = text_of(3 << 20);
  ASSERT_TRUE(write_file(name, large));
  EXPECT_EQ(content_of(name), large);
  ASSERT_TRUE(write_file(name, ""));
  EXPECT_EQ(content_of(name), "");
  EXPECT_EQ(files_in(folder), 1U);
}

/// Who has the old file open goes on reading it.
TEST(WriteFile, ReplacesByRename) {
  const sample::Folder folder;
  const std::string name = folder.file("report.json");
  ASSERT_TRUE(write_file(name, "old"));
  std::ifstream reader(name);
  ASSERT_TRUE(write_file(name, "new"));
  std::string seen;
  reader >> seen;
  EXPECT_EQ(seen, "old");
  EXPECT_EQ(content_of(name), "new");
}

TEST(WriteFile, KeepsASymbolicLink) {
  const sample::Folder folder;
  folder.write("real.json", "old");
  std::filesystem::create_symlink("real.json", folder.file("link.json"));
  ASSERT_TRUE(write_file(folder.file("link.json"), "new"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link.json")));
  EXPECT_EQ(content_of(folder.file("real.json")), "new");
  EXPECT_EQ(files_in(folder), 2U);
}

TEST(WriteFile, TellsWhyItCannot) {
  const sample::Folder folder;
  EXPECT_EQ(write_file(folder.file("no/such/folder.json"), "x").error(), (Error{"open", ENOENT}));
  std::filesystem::create_directory(folder.file("folder"));
  EXPECT_EQ(write_file(folder.file("folder"), "x").error(), (Error{"rename", EISDIR}));
  folder.write("file", "");
  EXPECT_EQ(write_file(folder.file("file/report.json"), "x").error(), (Error{"open", ENOTDIR}));
  EXPECT_EQ(write_file("", "x").error().errno_value, ENOENT);
  EXPECT_EQ(files_in(folder), 2U);
}

/// What is no file cannot be replaced; it is written as it is.
TEST(WriteFile, WritesIntoDevicesAndPipes) {
  EXPECT_TRUE(write_file("/dev/null", "x"));
  EXPECT_EQ(write_file("/dev/full", "x").error(), (Error{"write", ENOSPC}));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
  const sample::Folder folder;
  const std::string name = folder.file("fifo");
  ASSERT_EQ(::mkfifo(name.c_str(), 0600), 0);
  const int reader = ::open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  EXPECT_TRUE(write_file(name, "through"));
  char got[16] = {};
  EXPECT_EQ(::read(reader, got, sizeof got), 7);
  EXPECT_EQ(std::string(got), "through");
  ::close(reader);
}

/// A child does nothing but write reports; wherever a signal meets it, one whole file is there.
TEST(WriteFile, ASignalLeavesOneWholeFile) {
  const sample::Folder folder;
  const std::string name = folder.file("report.json");
  const std::string large = text_of(4 << 20);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGINT, SIGTERM, SIGHUP}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      (void)::signal(signal, SIG_DFL);  // nohup and background jobs ignore some
      while (write_file(name, large)) {
      }
      ::_exit(1);
    }
    for (int ms = 0; ms < 10'000 && !std::filesystem::exists(name); ++ms) ::usleep(1000);
    ::usleep(3000);
    ASSERT_EQ(::kill(child, signal), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_EQ(content_of(name), large);
    EXPECT_EQ(files_in(folder), 1U) << "the temporary file is still there";
    ASSERT_TRUE(std::filesystem::remove(name));
  }
}

/// RLIMIT_FSIZE makes write(2) fail in the middle of a file, as a full disk does; in a child,
/// because the limit is the process's.
TEST(WriteFile, ADiskThatBecomesFullLeavesTheOldFile) {
  const sample::Folder folder;
  const std::string name = folder.file("report.json");
  ASSERT_TRUE(write_file(name, "old"));
  const std::string large = text_of(256 << 10);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit{64 << 10, 64 << 10};
    (void)::signal(SIGXFSZ, SIG_IGN);
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(2);
    const Result<void> done = write_file(name, large);
    ::_exit(!done && done.error() == Error{"write", EFBIG} ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(content_of(name), "old");
  EXPECT_EQ(files_in(folder), 1U) << "the temporary file is still there";
}

}  // namespace
}  // namespace pagewire::bench
