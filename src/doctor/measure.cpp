// Each figure is by the thread's own CPU time, and the best of a few short passes: what other
// programs leave of the CPU must not count, and what they do to its caches only makes one slower.
#include "doctor/measure.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "sys/clock.h"
#include "sys/fd.h"

namespace pagewire::doctor {

namespace {

constexpr double bytes_per_gbit = 125e6;
constexpr std::size_t piece_bytes = 256 * kib;
constexpr std::size_t most_bytes = 48 * mib;
constexpr std::size_t small_bytes = 512 * kib;  // stays in the second-level cache
constexpr std::int64_t pass_ns = 30'000'000;
constexpr int usual_passes = 3;
constexpr int memory_passes = 7;  // the first ones over much memory are slower (TLB, host)

/// What this thread has had of the CPU: another program that takes it away makes nothing dearer.
std::int64_t thread_cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

/// Bytes (or calls) of `work`, which returns how many it did, per second of CPU: the best pass.
/// Where the kernel has no clock finer than its tick, the thread's time comes in steps of up to
/// 10 ms, and may not have moved at all: such a pass counts by the time that passed.
template <class Work>
double best_rate(Work work, int passes = usual_passes) {
  constexpr std::int64_t tick_ns = 10'000'000;
  double best = 0;
  double best_by_wall = 0;
  (void)work();  // the first time may make and load what the others find
  for (int pass = 0; pass < passes; ++pass) {
    const std::int64_t begin_ns = sys::monotonic_ns();
    const std::int64_t begin_cpu_ns = thread_cpu_ns();
    std::int64_t passed_ns = 0;
    std::int64_t used_ns = 0;
    double done = 0;
    do {
      done += work();
      passed_ns = sys::monotonic_ns() - begin_ns;
      if (passed_ns >= pass_ns) used_ns = thread_cpu_ns() - begin_cpu_ns;
      // Longer where others had the CPU most of the time.
    } while (passed_ns < pass_ns || (used_ns <= tick_ns && passed_ns < 2 * pass_ns));
    if (used_ns > tick_ns) best = std::max(best, done * 1e9 / static_cast<double>(used_ns));
    best_by_wall = std::max(best_by_wall, done * 1e9 / static_cast<double>(passed_ns));
  }
  return best > 0 ? best : best_by_wall;
}

/// A file that is page cache alone, all of it there.
sys::Fd cached_file(std::size_t bytes) {
  sys::Fd file(::memfd_create("pagewire-doctor", MFD_CLOEXEC));
  const std::vector<char> piece(piece_bytes, 'x');
  for (std::size_t at = 0; file.is_open() && at < bytes; at += piece_bytes) {
    // EFBIG: RLIMIT_FSIZE; ENOMEM, ENOSPC or short: there is no room for the file.
    const ssize_t n = ::pwrite(file.get(), piece.data(), piece_bytes, static_cast<off_t>(at));
    if (n != static_cast<ssize_t>(piece_bytes)) {
      const int why = n < 0 ? errno : ENOSPC;
      file.close();
      errno = why;
    }
  }
  return file;
}

struct Stretch {
  std::size_t begin = 0;
  std::size_t bytes = 0;
};

/// pread(2) over the stretch, again and again, into the same memory.
double copy_rate(const sys::Fd& file, Stretch stretch, int passes = usual_passes) {
  std::vector<char> into(piece_bytes);
  std::size_t at = 0;
  return best_rate(
      [&] {
        const auto offset = static_cast<off_t>(stretch.begin + at);
        const ssize_t n = ::pread(file.get(), into.data(), into.size(), offset);
        at = (at + piece_bytes) % stretch.bytes;
        return n > 0 ? static_cast<double>(n) : 0.0;
      },
      passes);
}

std::size_t allowed_cpus() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

/// Each core with a stretch of its own.
std::optional<double> copy_rate_of_all(const sys::Fd& file, std::size_t large_bytes,
                                       std::size_t cores) {
  const std::size_t share = std::max(large_bytes / cores / piece_bytes, std::size_t{1});
  std::vector<double> rates(cores);
  std::vector<std::thread> threads;
  bool complete = true;
  try {
    for (std::size_t i = 0; i < cores; ++i) {
      const std::size_t begin = i * share * piece_bytes % large_bytes;
      threads.emplace_back([&rates, &file, share, i, begin] {
        rates[i] = copy_rate(file, {.begin = begin, .bytes = share * piece_bytes});
      });
    }
  } catch (const std::system_error&) {
    complete = false;  // EAGAIN: no more threads for this user or container
  }
  double sum = 0;
  for (std::thread& thread : threads) thread.join();
  for (const double rate : rates) sum += rate;
  return complete ? std::optional(sum) : std::nullopt;
}

std::optional<double> gcm_rate(const EVP_CIPHER* cipher) {
  constexpr std::size_t record_bytes = 16 * kib;
  const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context(::EVP_CIPHER_CTX_new(),
                                                                           ::EVP_CIPHER_CTX_free);
  const std::array<unsigned char, 32> key{1};
  std::array<unsigned char, 12> iv{2};
  std::array<unsigned char, 16> tag{};
  std::vector<unsigned char> record(record_bytes);
  if (!context || ::EVP_EncryptInit_ex(context.get(), cipher, nullptr, key.data(), iv.data()) != 1)
    return std::nullopt;
  bool sound = true;
  const double rate = best_rate([&] {
    int count = 0;
    ++iv[11];
    sound &= ::EVP_EncryptInit_ex(context.get(), nullptr, nullptr, nullptr, iv.data()) == 1 &&
             ::EVP_EncryptUpdate(context.get(), record.data(), &count, record.data(),
                                 static_cast<int>(record.size())) == 1 &&
             ::EVP_EncryptFinal_ex(context.get(), record.data(), &count) == 1 &&
             ::EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, tag.data()) == 1;
    return static_cast<double>(record.size());
  });
  return sound ? std::optional(rate) : std::nullopt;
}

/// getppid(2) by number: libc keeps nothing of it, and the kernel does next to nothing for it.
double syscall_rate() {
  constexpr int batch = 1'000;
  return best_rate([] {
    for (int i = 0; i < batch; ++i) ::syscall(SYS_getppid);
    return static_cast<double>(batch);
  });
}

}  // namespace

Measured measure(ByteCount room) {
  Measured measured;
  measured.syscall_ns = 1e9 / syscall_rate();
  measured.aes128 = gcm_rate(::EVP_aes_128_gcm());
  measured.aes256 = gcm_rate(::EVP_aes_256_gcm());
  measured.cores = std::min<std::size_t>(allowed_cpus(), 64);
  // A container's memory is the limit of its page cache, too: above it somebody is killed.
  const std::size_t large_bytes = std::clamp(room.value / 8 / piece_bytes * piece_bytes,
                                             std::uint64_t{small_bytes}, std::uint64_t{most_bytes});
  measured.is_small = large_bytes < most_bytes;
  const sys::Fd file = cached_file(large_bytes);
  if (!file.is_open()) {
    measured.no_copies =
        fmt::format("no file of {} MiB in memory: {}", large_bytes / mib, std::strerror(errno));
    return measured;
  }
  measured.copy_cached = copy_rate(file, {.begin = 0, .bytes = small_bytes});
  measured.copy_memory = copy_rate(file, {.begin = 0, .bytes = large_bytes}, memory_passes);
  measured.copy_all_cores = copy_rate_of_all(file, large_bytes, measured.cores);
  return measured;
}

std::optional<Cost> Measured::copies(CopyCount count) const {
  if (!copy_cached || !copy_memory || *copy_cached <= 0 || *copy_memory <= 0) return std::nullopt;
  const double one_quick_ms = bytes_per_gbit / *copy_cached * 1e3;
  const double one_slow_ms = bytes_per_gbit / *copy_memory * 1e3;
  return Cost{.low = count.least * std::min(one_quick_ms, one_slow_ms),
              .high = count.most * std::max(one_quick_ms, one_slow_ms)};
}

std::optional<Cost> Measured::calls(double count, ByteCount body) const {
  if (!syscall_ns || body.value == 0) return std::nullopt;
  const double bodies = bytes_per_gbit / static_cast<double>(body.value);
  const double bare_ms = bodies * count * *syscall_ns / 1e6;
  return Cost{.low = bare_ms, .high = 3 * bare_ms};
}

}  // namespace pagewire::doctor
