// What the tests of the bench's two processes share: files, waiting for a state, and the check that
// no process and no descriptor is left.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "bench/engine.h"
#include "egress/egress.h"

namespace pagewire::bench {

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

/// Asks again and again until it is so; false after 30 s.
inline bool wait_until(const std::function<bool()>& is_so) {
  for (int i = 0; i < 6'000; ++i) {
    if (is_so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override { descriptors_ = open_descriptors(); }
  void TearDown() override {
    EXPECT_EQ(open_descriptors(), descriptors_);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a process was left";
    EXPECT_EQ(errno, ECHILD);
  }

  /// Its mtime is long past, so that any later write shows in it.
  static sys::Fd make_file(std::uint64_t size) {
    const std::string folder = std::filesystem::temp_directory_path();
    Result<sys::Fd> fd = make_position_coded_file(folder, ByteCount{size});
    EXPECT_TRUE(fd.has_value()) << describe(fd.error());
    if (!fd) return sys::Fd();
    const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    EXPECT_EQ(::futimens(fd->get(), times), 0);
    return std::move(*fd);
  }

  /// Whether the path can send a whole file of that size.
  static bool fits(const egress::Path& by, std::uint64_t size) {
    sys::FileStatus status;
    status.size = ByteCount{size};
    const content::OpenFile file(sys::Fd(), status);
    const content::Segment whole = content::Segment::of_file(file, {{}, {size}});
    egress::SocketState state;  // as every connection of the bench has
    return by.fits(std::span(&whole, 1), {.state = &state});
  }

  static const egress::Path& path(std::string_view name) { return *egress::find_path(name); }

  static OrFault<ServerProcess> serve(const sys::Fd& file, const egress::Path& by) {
    return ServerProcess::start(
        {.file_fd = file.get(), .path = &by, .network = nullptr, .cpu = {}});
  }

  static ClientSettings ask(const ServerProcess& server, Mode mode, std::uint64_t file_bytes) {
    ClientSettings settings;
    settings.server = server.address();
    settings.mode = mode;
    settings.file_bytes = file_bytes;
    return settings;
  }

  /// The text of the fault that comes; "" when none does.
  template <class Process>
  static std::string fault_of(Process& process) {
    std::optional<Fault> fault;
    wait_until([&] { return (fault = process.fault()).has_value(); });
    return fault ? fault->text : "";
  }

 private:
  std::size_t descriptors_ = 0;
};

}  // namespace pagewire::bench
