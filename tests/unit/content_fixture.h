// A Site over a temporary tree, asked with real request heads, its answers gathered whole.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "content/content.h"
#include "support/position_code.h"

namespace pagewire::content::testing {

/// A file's bytes from its start, each telling its offset.
inline std::string position_coded(std::size_t size, test::Generation generation = 0) {
  return test::positions(0, size, generation);
}

/// A directory that is removed with everything in it.
class TempTree {
 public:
  TempTree() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pagewire-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempTree() { std::filesystem::remove_all(path_); }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  std::string path(const std::string& name = {}) const { return path_ + "/" + name; }

  /// Writes the file, in place if it is there, and gives it a modification time that has long
  /// passed.
  void write(const std::string& name, const std::string& bytes, std::int64_t mtime_s = 1700000000) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << bytes;
    set_mtime(name, mtime_s);
  }
  void set_mtime(const std::string& name, std::int64_t mtime_s) {
    const timespec times[2] = {{mtime_s, 0}, {mtime_s, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path(name).c_str(), times, 0), 0);
  }
  void link(const std::string& target, const std::string& name) {
    std::filesystem::create_symlink(target, path(name));
  }

 private:
  std::string path_;
};

/// An answer, taken apart.
struct Answer {
  int status = 0;
  std::string head;
  std::string body;

  /// The value of a field, nullopt when absent; a repeated one is a failure.
  std::optional<std::string> field(const std::string& name) const {
    std::optional<std::string> value;
    for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
      const std::size_t end = head.find("\r\n", at);
      const std::string line = head.substr(at, end - at);
      if (line.starts_with(name + ": ")) {
        EXPECT_FALSE(value.has_value()) << name << " is repeated in\n" << head;
        value = line.substr(name.size() + 2);
      }
      at = end + 2;
    }
    return value;
  }
};

inline std::string bytes_of(const Segment& segment) {
  if (segment.kind == Segment::Kind::Memory) return std::string(segment.memory);
  std::string bytes(segment.slice.count.value, '\0');
  const ssize_t read = ::pread(segment.file->fd(), bytes.data(), bytes.size(),
                               static_cast<off_t>(segment.slice.offset.value));
  EXPECT_EQ(read, static_cast<ssize_t>(bytes.size()));
  return bytes;
}

class SiteTest : public ::testing::Test {
 protected:
  SiteTest() { settings.root = tree.path(); }

  /// Opens the site at its first use, so that a test can change `settings` before.
  Site& site() {
    if (!site_) {
      Result<std::unique_ptr<Site>> opened = Site::open(settings);
      if (!opened) std::abort();
      site_ = std::move(*opened);
    }
    return *site_;
  }

  /// "GET /x" and further fields, each without its CRLF.
  Answer ask(const std::string& method_and_target, const std::vector<std::string>& fields = {},
             const std::string& version = "HTTP/1.1", bool close = false) {
    parse(method_and_target, fields, version);
    site().respond(request, now, close, response);
    return gather();
  }
  Answer get(const std::string& target, const std::vector<std::string>& fields = {}) {
    return ask("GET " + target, fields);
  }

  void parse(const std::string& method_and_target, const std::vector<std::string>& fields,
             const std::string& version = "HTTP/1.1") {
    request_text = method_and_target + " " + version + "\r\nHost: example.org\r\n";
    for (const std::string& field : fields) request_text += field + "\r\n";
    request_text += "\r\n";
    request = http::Request{};
    const http::HeadFault fault = http::parse_head(request_text, http::HeadLimits{}, request);
    ASSERT_EQ(fault.status, 0) << fault.why << " in " << request_text;
  }

  /// Checks what holds for every answer, too.
  Answer gather() {
    const std::span<const Segment> segments = response.segments();
    Answer answer;
    answer.status = response.status;
    if (segments.empty()) {
      ADD_FAILURE() << "no head";
      return answer;
    }
    answer.head = std::string(segments[0].memory);
    for (const Segment& segment : segments.subspan(1)) {
      EXPECT_GT(segment.size().value, 0U);
      answer.body += bytes_of(segment);
    }
    const std::string start = "HTTP/1.1 " + std::to_string(answer.status) + " ";
    EXPECT_TRUE(answer.head.starts_with(start)) << answer.head;
    EXPECT_TRUE(answer.head.ends_with("\r\n\r\n"));
    EXPECT_EQ(answer.head.find("\r\n\r\n"), answer.head.size() - 4);
    EXPECT_EQ(answer.body.size(), response.body_bytes.value);
    EXPECT_TRUE(answer.field("Date").has_value());
    const auto length = answer.field("Content-Length");
    const bool lengthless = answer.status == 204 || answer.status == 304;
    EXPECT_EQ(length.has_value(), !lengthless) << answer.head;
    if (length && request.method != http::Method::Head) {
      EXPECT_EQ(*length, std::to_string(answer.body.size()));
    }
    return answer;
  }

  void pass_validity() { now.monotonic_ms += settings.validity_ms; }

  TempTree tree;
  SiteSettings settings;
  Now now{.monotonic_ms = 1'000'000, .realtime_s = 1'800'000'000};
  http::Request request;
  std::string request_text;
  Response response;

 private:
  std::unique_ptr<Site> site_;
};

}  // namespace pagewire::content::testing
