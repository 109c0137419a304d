// The self-test: what the paths of this build say of themselves, what becomes of fake ones that
// send wrong bytes, stall or fail, and what the cache keeps.
#include "egress/selftest.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "egress/egress.h"
#include "egress/selftest_file.h"
#include "sys/file.h"

namespace pagewire::egress {
namespace {

using content::Segment;
namespace fs = std::filesystem;

// ---------------------------------------------------------------- paths that do as they are told

enum class Fault {
  None,
  WrongByte,
  OffByOne,    // a slice from one byte further on
  TwoSwapped,  // right bytes in the wrong order
  TooMany,
  TooFew,      // says Done before all has gone
  Stall,       // WantWrite for ever
  StallOnce,   // in the first transfer alone
  NoProgress,  // Moved with nothing moved, for ever
  Operation,   // Submitted for ever
  Pages,       // WantPages for ever
  PagesOnce,   // WantPages, then sends: right
  Truncated,
  Errno,
  Unfit,  // Unsupported
};

/// A path's step is a plain function, so what it does wrong stands here.
Fault fault = Fault::None;
bool asked_for_pages = false;
int cancelled = 0;

/// What is left of the segments, as bytes.
std::string rest_of(Transfer& transfer) {
  std::string bytes;
  for (const Segment& segment : transfer.segments) {
    if (segment.kind == Segment::Kind::Memory) {
      bytes += segment.memory;
      continue;
    }
    std::string slice(segment.slice.count.value, '\0');
    const std::uint64_t shift = fault == Fault::OffByOne ? 1 : 0;
    EXPECT_TRUE(sys::read_at(segment.file->fd(), segment.slice.offset + ByteCount{shift}, slice));
    bytes += slice;
  }
  return bytes.substr(transfer.sent.value);
}

StepResult of(Status status, Error error = {}) {
  return {.status = status, .moved = {}, .copied = {}, .error = error};
}

StepResult send_rest(Transfer& transfer) {
  const std::uint64_t before = transfer.sent.value;
  std::string bytes = rest_of(transfer);
  if (fault == Fault::WrongByte && before == 0) bytes[4000] ^= 1;
  if (fault == Fault::TwoSwapped && before == 0) std::swap(bytes[45], bytes[53]);
  if (fault == Fault::TooMany) bytes += "surplus";
  if (fault == Fault::TooFew) bytes.pop_back();
  const ssize_t n = ::send(transfer.transport.socket_fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (n < 0) return of(Status::WantWrite);
  transfer.advance(ByteCount{static_cast<std::uint64_t>(n)});
  StepResult result =
      of(static_cast<std::size_t>(n) == bytes.size() ? Status::Done : Status::Moved);
  result.moved = ByteCount{static_cast<std::uint64_t>(n)};
  return result;
}

StepResult fake_step(Transfer& transfer, ByteCount) {
  switch (fault) {
    case Fault::StallOnce:
      if (cancelled > 0) return send_rest(transfer);
      return of(Status::WantWrite);
    case Fault::Stall:
      return of(Status::WantWrite);
    case Fault::NoProgress:
      return of(Status::Moved);
    case Fault::Operation:
      return of(Status::Submitted);
    case Fault::Truncated:
      return of(Status::SourceTruncated);
    case Fault::Errno:
      return of(Status::Failed, {"sendfake", EIO});
    case Fault::Unfit:
      return of(Status::Unsupported);
    case Fault::Pages:
    case Fault::PagesOnce: {
      if (fault == Fault::PagesOnce && asked_for_pages) return send_rest(transfer);
      asked_for_pages = true;
      StepResult result = of(Status::WantPages);
      result.pages = {.file = transfer.segments[1].file, .range = transfer.segments[1].slice};
      return result;
    }
    case Fault::None:
    case Fault::WrongByte:
    case Fault::OffByOne:
    case Fault::TwoSwapped:
    case Fault::TooMany:
    case Fault::TooFew:
      return send_rest(transfer);
  }
  return of(Status::Failed);
}

const Path fake{.name = "fake",
                .probe = [] { return Availability{}; },
                .fits = [](std::span<const Segment>, const Transport&) { return true; },
                .step = fake_step,
                .cancel = [](Transfer&) { ++cancelled; }};
const Path absent{
    .name = "absent",
    .probe = [] { return Availability{.available = false, .reason = "no such call"}; },
    .fits = fake.fits,
    .step = nullptr,
    .cancel = nullptr};

class SelfTestOf : public ::testing::Test {
 protected:
  SelfTestOf() {
    ::signal(SIGPIPE, SIG_IGN);
    std::string name = (fs::temp_directory_path() / "selftest-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    fs::create_directory(folder_ + "/root");
    fault = Fault::None;
    asked_for_pages = false;
    cancelled = 0;
  }
  ~SelfTestOf() override { fs::remove_all(folder_); }

  std::string root() const { return folder_ + "/root"; }
  std::string cache() const { return folder_ + "/not/yet/there"; }
  std::string cache_file() const {
    std::string name;
    for (const auto& entry : fs::directory_iterator(cache())) name = entry.path().string();
    return name;
  }
  /// Every path has its turn, and time for its bytes to arrive, however busy the machine is.
  PathReports run(std::vector<const Path*> paths, SelfTestMode mode = SelfTestMode::Auto,
                  std::int64_t total_limit_ms = 60'000) const {
    return self_test({.root = root(),
                      .mode = mode,
                      .paths = paths,
                      .cache_folder = cache(),
                      .total_limit_ms = total_limit_ms,
                      .idle_waits = 30});
  }

  std::string folder_;
};

// ---------------------------------------------------------------- the paths

TEST_F(SelfTestOf, EveryPathOfThisBuildPassesHere) {
  // A kernel's polling thread may wait for its turn as everybody.
  const PathReports reports = self_test(
      {.root = root(), .paths = socket_paths(), .total_limit_ms = 60'000, .idle_waits = 500});
  EXPECT_EQ(reports.skipped, "");
  EXPECT_FALSE(reports.cached);
  EXPECT_GT(reports.took_us, 0);
  EXPECT_NE(reports.filesystem, "");
  ASSERT_EQ(reports.paths.size(), socket_paths().size());
  for (const PathReport& report : reports.paths) {
    const bool right = report.state == PathState::Usable || report.state == PathState::Unavailable;
    EXPECT_TRUE(right) << report.path->name << ": " << report.describe();
  }
  EXPECT_TRUE(reports.usable().contains(*find_path("copy")));
  EXPECT_FALSE(reports.quarantined().contains(*find_path("copy")));
  EXPECT_TRUE(fs::is_empty(root())) << "nothing may stay in ROOT";
}

TEST_F(SelfTestOf, WhatAFakePathDoesWrongIsSeen) {
  struct Case {
    Fault fault;
    std::string_view describes;
  };
  const std::vector<Case> cases = {
      {Fault::None, "usable"},
      {Fault::PagesOnce, "usable"},
      {Fault::StallOnce, "usable"},
      {Fault::WrongByte, "quarantined: byte 4000 of 8233 was wrong"},
      {Fault::OffByOne, "quarantined: byte 43 of 8233 was wrong"},
      {Fault::TwoSwapped, "quarantined: byte 45 of 8233 was wrong"},
      {Fault::TooMany, "quarantined: sent more bytes than it should"},
      {Fault::TooFew, "quarantined: stalled after 8232 of 8233 bytes"},
      {Fault::Stall, "quarantined: stalled after 0 of 8233 bytes"},
      {Fault::NoProgress, "quarantined: stalled after 0 of 8233 bytes"},
      {Fault::Operation, "quarantined: stalled after 0 of 8233 bytes"},
      {Fault::Pages, "quarantined: stalled after 0 of 8233 bytes"},
      {Fault::Truncated, "quarantined: took the file for shorter than it is after 0 of 8233 bytes"},
      {Fault::Errno, "quarantined: sendfake: Input/output error after 0 of 8233 bytes"},
      {Fault::Unfit, "unsupported: the filesystem has no files for it"},
  };
  for (const Case& c : cases) {
    fault = c.fault;
    asked_for_pages = false;
    cancelled = 0;
    const PathReports reports = run({&fake, &absent, find_path("copy")}, SelfTestMode::Always);
    ASSERT_EQ(reports.paths.size(), 3U);
    EXPECT_EQ(reports.paths[0].describe(), c.describes);
    EXPECT_EQ(reports.paths[1].describe(), "unavailable: no such call");
    EXPECT_EQ(reports.paths[2].describe(), "usable") << "the others go on";
    EXPECT_GT(cancelled, 0) << c.describes;
  }
}

TEST_F(SelfTestOf, EndsWithinItsTimeWhateverThePathsDo) {
  fault = Fault::Stall;
  const std::vector<Path> copies(40, fake);
  std::vector<const Path*> many;
  for (const Path& path : copies) many.push_back(&path);
  const PathReports reports = run(many, SelfTestMode::Always, 250);
  // 40 stalls of 300 ms would be 12 s. What counts is that the rest had no turn, not the clock.
  EXPECT_EQ(reports.paths.front().state, PathState::Quarantined);
  EXPECT_EQ(reports.paths.back().state, PathState::Usable);
  EXPECT_FALSE(fs::exists(cache())) << "an unfinished test is not kept";
}

TEST_F(SelfTestOf, OffProbesAlone) {
  fault = Fault::Errno;
  const PathReports reports = run({&fake, &absent}, SelfTestMode::Off);
  EXPECT_EQ(reports.skipped, "--self-test off");
  EXPECT_EQ(reports.paths[0].describe(), "usable");
  EXPECT_EQ(reports.paths[1].describe(), "unavailable: no such call");
  EXPECT_EQ(reports.took_us, 0);
}

// ---------------------------------------------------------------- the file

TEST_F(SelfTestOf, TakesAFileThatIsThereWhereItCannotMakeOne) {
  EXPECT_FALSE(existing_sample(root()).has_value());
  std::ofstream(root() + "/empty");
  ASSERT_EQ(::mkfifo((root() + "/fifo").c_str(), 0600), 0);
  fs::create_symlink("/etc/hostname", root() + "/link");
  const auto none = existing_sample(root());
  ASSERT_FALSE(none.has_value());
  EXPECT_NE(none.error().find("no readable file"), std::string::npos) << none.error();
  std::ofstream(root() + "/short") << "seven b";
  const auto sample = existing_sample(root());
  ASSERT_TRUE(sample.has_value());
  EXPECT_EQ(sample->bytes, "seven b");
}

/// /proc has no files to make, and its own cannot be spliced: the report says so, and nothing
/// hangs.
TEST_F(SelfTestOf, SaysWhyItWasSkipped) {
  const PathReports reports = self_test({.root = "/proc/self/task", .paths = socket_paths()});
  EXPECT_NE(reports.skipped.find("cannot be written"), std::string::npos) << reports.skipped;
  EXPECT_TRUE(reports.usable().contains(*find_path("sendfile"))) << "untested is not quarantined";
}

// ---------------------------------------------------------------- the cache

TEST_F(SelfTestOf, RemembersWhatPassed) {
  const std::vector<const Path*> both{&fake, find_path("copy")};
  EXPECT_FALSE(run(both).cached);
  fault = Fault::WrongByte;  // would be seen, were it tested
  const PathReports second = run(both);
  EXPECT_TRUE(second.cached);
  EXPECT_EQ(second.paths[0].describe(), "usable");
  EXPECT_EQ(run(both, SelfTestMode::Always).paths[0].state, PathState::Quarantined);
  fault = Fault::None;
  EXPECT_FALSE(run({find_path("copy"), &fake}).cached) << "other paths than it was made of";
}

TEST_F(SelfTestOf, RemembersWhatTheFilesystemCannot) {
  fault = Fault::Unfit;
  EXPECT_FALSE(run({&fake}).cached);
  fault = Fault::None;
  const PathReports second = run({&fake});
  EXPECT_TRUE(second.cached);
  EXPECT_EQ(second.paths[0].describe(), "unsupported: the filesystem has no files for it");
}

TEST_F(SelfTestOf, ForgetsAQuarantine) {
  fault = Fault::WrongByte;
  EXPECT_EQ(run({&fake}).paths[0].state, PathState::Quarantined);
  fault = Fault::None;
  const PathReports second = run({&fake});
  EXPECT_FALSE(second.cached);
  EXPECT_EQ(second.paths[0].state, PathState::Usable);
}

TEST_F(SelfTestOf, DoesNotBelieveADamagedCache) {
  ASSERT_FALSE(run({&fake}).cached);
  std::string whole;
  std::getline(std::ifstream(cache_file()), whole, '\0');
  ASSERT_TRUE(run({&fake}).cached);
  const std::string head = whole.substr(0, whole.find('\n') + 1);
  const std::vector<std::string> damaged = {
      "",
      "ok fake\nend\n",
      whole.substr(0, whole.size() - 2),
      whole + "more\n",
      head + "ok other\nend\n",
      head + "ok fakes\nend\n",
      head + "quarantined fake why\nend\n",
      head + "end\n",
      "pagewire 0.0.0" + whole.substr(whole.find(" self")),
      std::string(100'000, 'x'),
  };
  for (const std::string& text : damaged) {
    std::ofstream(cache_file(), std::ios::trunc) << text;
    EXPECT_FALSE(run({&fake}).cached) << text.substr(0, 200);
    EXPECT_TRUE(run({&fake}).cached) << "written anew";
  }
}

TEST_F(SelfTestOf, NeedsNoCache) {
  const std::vector<const Path*> one{&fake};
  std::ofstream(folder_ + "/file");
  for (const std::string& folder : {std::string(), folder_ + "/file/beneath"}) {
    const PathReports reports = self_test({.root = root(), .paths = one, .cache_folder = folder});
    EXPECT_FALSE(reports.cached);
    EXPECT_EQ(reports.paths[0].state, PathState::Usable);
  }
}

}  // namespace
}  // namespace pagewire::egress
