// cold-reads: how long the disk takes for a page that is not in memory, and how much it gives.
//
// On the temporary file alone: emptying the cache of files that others serve would hurt them.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "doctor/registry.h"
#include "sys/clock.h"
#include "sys/mount.h"
#include "sys/page_cache.h"

namespace pagewire::doctor {

namespace {

constexpr std::int64_t limit_ns = 600'000'000;  // of both parts together
constexpr std::size_t page_bytes = 4 * kib;
constexpr std::size_t most_pages = 24;

bool has_disk(const std::string& root) {
  const Result<sys::Mount> mount = sys::mount_of(root);
  return !mount || (mount->type != "tmpfs" && mount->type != "ramfs");
}

/// Milliseconds of single pages, far apart, without reading ahead.
std::vector<double> page_times(int fd, std::int64_t deadline_ns) {
  std::vector<double> times;
  char byte = 0;
  (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  for (std::size_t i = 0; i < most_pages; ++i) {
    const std::int64_t begin_ns = sys::monotonic_ns();
    if (begin_ns > deadline_ns) break;
    const std::size_t page = i * 37 % (sample_bytes / page_bytes);
    if (::pread(fd, &byte, 1, static_cast<off_t>(page * page_bytes)) != 1) break;  // EIO
    times.push_back(static_cast<double>(sys::monotonic_ns() - begin_ns) / 1e6);
  }
  return times;
}

/// Bytes per second of the whole file, as far as there is time; 0: nothing was read.
double stream_rate(int fd, std::int64_t deadline_ns) {
  std::vector<char> into(128 * kib);
  (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  const std::int64_t begin_ns = sys::monotonic_ns();
  std::size_t done = 0;
  while (done < sample_bytes && sys::monotonic_ns() < deadline_ns) {
    const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(done));
    if (n <= 0) break;  // EIO
    done += static_cast<std::size_t>(n);
  }
  return static_cast<double>(done) * 1e9 /
         static_cast<double>(std::max<std::int64_t>(sys::monotonic_ns() - begin_ns, 1));
}

Finding unknown(std::string why) {
  return {.looked_at = "single pages and a stream of a temporary file, dropped from memory before",
          .found = {},
          .status = Status::Unknown,
          .reason = std::move(why)};
}

Finding run(Examination& examination) {
  if (!examination.sample.is_open()) return unknown(examination.no_sample);
  const int fd = examination.sample.get();
  Finding finding = unknown({});
  finding.status = Status::Ok;
  if (!has_disk(examination.settings.root)) {
    finding.found = "no disk: the files are memory";
    return finding;
  }
  if (const Result<void> dropped = sys::drop_cached_pages(fd); !dropped) {
    return unknown(describe(dropped.error()));
  }
  if (sys::resident_bytes(fd).value_or(std::nullopt).value_or(ByteCount{}).value > 0) {
    return unknown("the kernel keeps the file's pages in memory");
  }
  const std::int64_t deadline_ns = sys::monotonic_ns() + limit_ns;
  std::vector<double> times = page_times(fd, deadline_ns);
  (void)sys::drop_cached_pages(fd);
  const double rate = stream_rate(fd, deadline_ns);
  if (times.empty()) return unknown("nothing could be read back");
  std::ranges::sort(times);
  examination.cold_read_ms = times[times.size() / 2];
  finding.found = fmt::format("{:.2f} ms for a page (the slowest of {}: {:.2f} ms)",
                              *examination.cold_read_ms, times.size(), times.back());
  // 0: the pages took all the time there is for this.
  finding.found += rate > 0 ? fmt::format(", {:.0f} MB/s in one stream", rate / 1e6)
                            : ", too slow to read a stream as well";
  return finding;
}

}  // namespace

const Check fs_cold_reads_check{.group = Group::Filesystem, .name = "cold-reads", .run = run};

}  // namespace pagewire::doctor
