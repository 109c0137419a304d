// For tests of the mirror: pumps' pipes with position-coded bytes, and what came of it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "relay/mirror.h"
#include "relay/mirror_reader.h"
#include "support/position_code.h"
#include "sys/pipe.h"

namespace pagewire::relay {

/// A state is waited for, at most a minute.
inline ::testing::AssertionResult comes(const std::function<bool()>& state) {
  for (int i = 0; i < 60'000; ++i) {
    if (state()) return ::testing::AssertionSuccess();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return ::testing::AssertionFailure() << "did not come within a minute";
}

/// What is queued at its end has a minute, unless the test says otherwise.
inline std::unique_ptr<Mirror> open_mirror(Mirror::Settings settings) {
  if (settings.flush_limit_ms == Mirror::Settings{}.flush_limit_ms)
    settings.flush_limit_ms = 60'000;
  Result<std::unique_ptr<Mirror>> mirror = Mirror::open(settings);
  EXPECT_TRUE(mirror.has_value());
  return std::move(*mirror);
}

/// A folder that is removed with everything in it.
class MirrorFolder {
 public:
  MirrorFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "mirror-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  MirrorFolder(const MirrorFolder&) = delete;
  MirrorFolder& operator=(const MirrorFolder&) = delete;
  ~MirrorFolder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name = "mirror") const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// What a connection's source says, as a pump would move it. Its bytes are coded by position and
/// by connection.
class Talker {
 public:
  Talker(MirrorLane& lane, test::Generation generation) : lane_(lane), generation_(generation) {
    lane_.open(tap, "{\"client\":\"test\"}");
  }
  /// Through a pipe, as bulk; the pipe is emptied afterwards.
  void bulk(Direction direction, std::size_t count) {
    const std::string bytes = next(direction, count);
    ASSERT_EQ(::write(pipe_.write_end.get(), bytes.data(), count), static_cast<ssize_t>(count));
    lane_.tee(tap, direction, pipe_, ByteCount{count});
    std::string relayed(count, '\0');
    ASSERT_EQ(::read(pipe_.read_end.get(), relayed.data(), count), static_cast<ssize_t>(count));
    EXPECT_EQ(relayed, bytes);  // the mirror takes nothing away
  }
  void message(Direction direction, std::size_t count) {
    lane_.copy(tap, direction, next(direction, count));
  }
  void end(StreamEnd how) {
    lane_.end(tap, Direction::Up, how);
    lane_.end(tap, Direction::Down, how);
  }

  MirrorTap tap;
  std::size_t said[2] = {0, 0};

 private:
  std::string next(Direction direction, std::size_t count) {
    std::size_t& so_far = said[static_cast<std::size_t>(direction)];
    so_far += count;
    return test::positions(so_far - count, count, generation_);
  }
  MirrorLane& lane_;
  test::Generation generation_;
  sys::Pipe pipe_ = std::move(*sys::make_pipe(ByteCount{256 * kib}));
};

/// Everything that a mirror's files or connections held.
struct Mirrored {
  struct Stream {
    MirrorStream state;
    std::uint64_t gaps = 0;
    bool right = true;  ///< every byte belongs where its head puts it
  };
  std::map<std::uint64_t, std::array<Stream, 2>> connections;
  std::vector<MirrorHead> heads;
  std::vector<MirrorEnd> ends;

  /// `generation_of` says how the bytes of a connection are coded.
  void read(int fd, const std::function<test::Generation(std::uint64_t)>& generation_of) {
    const Result<MirrorWalk> walk =
        walk_mirror(fd, [&](const MirrorHead& head, std::uint64_t at, std::span<const char> bytes) {
          if (at == 0) heads.push_back(head);
          if (head.has(mirror_flag::start) || head.has(mirror_flag::open)) return;
          Stream& stream = connections[head.connection][static_cast<std::size_t>(head.direction)];
          if (at == 0 && head.has(mirror_flag::gap)) ++stream.gaps;
          if (head.has(mirror_flag::end)) stream.state.end = mirror_flag::end;
          if (head.has(mirror_flag::reset)) stream.state.end = mirror_flag::reset;
          stream.state.take(head.offset + at, bytes);
          const std::size_t wrong =
              test::first_wrong(head.offset + at, bytes, generation_of(head.connection));
          stream.right = stream.right && wrong == bytes.size();
        });
    ASSERT_TRUE(walk.has_value());
    ends.push_back(walk->end);
  }
  void read(const std::string& file,
            const std::function<test::Generation(std::uint64_t)>& generation_of) {
    sys::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.is_open()) << file;
    read(fd.get(), generation_of);
  }
};

}  // namespace pagewire::relay
