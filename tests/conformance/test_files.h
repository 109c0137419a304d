// Files for the conformance tests: position-coded data, in a folder that goes away.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "content/content.h"
#include "support/position_code.h"
#include "sys/file.h"

namespace pagewire::test {

using content::FileRef;
using content::OpenFile;
using content::Segment;

inline void write_all(int fd, std::uint64_t offset, std::string_view bytes) {
  const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  ASSERT_EQ(n, static_cast<ssize_t>(bytes.size())) << std::strerror(errno);
}

/// A directory that is removed with everything in it.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "egress-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline sys::Fd create_file(const std::string& path) {
  sys::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  EXPECT_TRUE(fd.is_open()) << path << ": " << std::strerror(errno);
  return fd;
}

/// Opens for sending. The mtime goes into the past first, so that any later write shows in it, also
/// on a filesystem whose clock ticks slowly.
inline FileRef open_for_sending(const std::string& path) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(fd.is_open()) << path << ": " << std::strerror(errno);
  const Result<sys::FileStatus> status = sys::status_of(fd.get());
  EXPECT_TRUE(status.has_value());
  return FileRef(new OpenFile(std::move(fd), *status));
}

inline FileRef make_file(const std::string& path, std::size_t size) {
  write_all(create_file(path).get(), 0, positions(0, size));
  return open_for_sending(path);
}

inline Segment slice_of(const FileRef& file, ByteRange slice) {
  return Segment::of_file(*file.get(), slice);
}

}  // namespace pagewire::test
