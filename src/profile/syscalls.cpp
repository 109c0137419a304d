#include "profile/syscalls.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <map>

namespace pagewire::profile {

namespace {

struct Call {
  std::int64_t number;
  std::string_view name;
  bool moves_bytes;
};

// What servers call; others are shown by their number.
constexpr std::array calls {
  Call{SYS_read, "read", true}, Call{SYS_write, "write", true}, Call{SYS_pread64, "pread64", true},
      Call{SYS_pwrite64, "pwrite64", true}, Call{SYS_readv, "readv", true},
      Call{SYS_writev, "writev", true}, Call{SYS_preadv, "preadv", true},
      Call{SYS_pwritev, "pwritev", true}, Call{SYS_preadv2, "preadv2", true},
      Call{SYS_pwritev2, "pwritev2", true}, Call{SYS_sendto, "sendto", true},
      Call{SYS_recvfrom, "recvfrom", true}, Call{SYS_sendmsg, "sendmsg", true},
      Call{SYS_recvmsg, "recvmsg", true}, Call{SYS_sendfile, "sendfile", true},
      Call{SYS_splice, "splice", true}, Call{SYS_tee, "tee", true},
      Call{SYS_vmsplice, "vmsplice", true}, Call{SYS_copy_file_range, "copy_file_range", true},
      Call{SYS_io_uring_enter, "io_uring_enter", false},
      Call{SYS_epoll_pwait, "epoll_pwait", false}, Call{SYS_epoll_ctl, "epoll_ctl", false},
      Call{SYS_ppoll, "ppoll", false}, Call{SYS_pselect6, "pselect6", false},
      Call{SYS_accept, "accept", false}, Call{SYS_accept4, "accept4", false},
      Call{SYS_close, "close", false}, Call{SYS_openat, "openat", false},
      Call{SYS_openat2, "openat2", false}, Call{SYS_fstat, "fstat", false},
      Call{SYS_newfstatat, "newfstatat", false}, Call{SYS_statx, "statx", false},
      Call{SYS_lseek, "lseek", false}, Call{SYS_setsockopt, "setsockopt", false},
      Call{SYS_getsockopt, "getsockopt", false}, Call{SYS_shutdown, "shutdown", false},
      Call{SYS_ioctl, "ioctl", false}, Call{SYS_fcntl, "fcntl", false},
      Call{SYS_futex, "futex", false}, Call{SYS_mmap, "mmap", false},
      Call{SYS_munmap, "munmap", false}, Call{SYS_madvise, "madvise", false},
      Call{SYS_clone3, "clone3", false}, Call{SYS_clock_nanosleep, "clock_nanosleep", false},
      // Newer than Debian 12's headers.
      Call{451, "cachestat", false},
#if defined(SYS_epoll_wait)  // arm64 has none of the old ones
      Call{SYS_epoll_wait, "epoll_wait", false}, Call{SYS_poll, "poll", false},
      Call{SYS_select, "select", false}, Call{SYS_open, "open", false},
      Call{SYS_stat, "stat", false},
#endif
};

const Call* find(std::int64_t number) {
  const auto found = std::ranges::find(calls, number, &Call::number);
  return found == calls.end() ? nullptr : &*found;
}

struct Sum {
  double samples = 0;
  double successful = 0;
  double bytes = 0;
};

}  // namespace

std::string name_of_syscall(std::int64_t number) {
  const Call* const call = find(number);
  return call == nullptr ? fmt::format("call {}", number) : std::string(call->name);
}

std::vector<SyscallUse> uses_of(std::span<const sys::SyscallSample> samples,
                                const SyscallWindow& window) {
  std::map<std::int64_t, Sum> sums;
  for (const sys::SyscallSample& sample : samples) {
    Sum& sum = sums[sample.number];
    ++sum.samples;
    if (sample.result < 0) continue;  // an error, most often EAGAIN
    ++sum.successful;
    sum.bytes += static_cast<double>(sample.result);
  }
  std::vector<SyscallUse> uses;
  for (const auto& [number, sum] : sums) {
    const Call* const call = find(number);
    SyscallUse use{.name = name_of_syscall(number), .bytes_per_call = {}};
    use.calls_per_s = static_cast<double>(window.calls) / window.seconds * sum.samples /
                      static_cast<double>(samples.size());
    if (call != nullptr && call->moves_bytes && sum.successful > 0) {
      use.bytes_per_call = sum.bytes / sum.successful;
    }
    uses.push_back(std::move(use));
  }
  std::ranges::stable_sort(uses, std::ranges::greater(), &SyscallUse::calls_per_s);
  return uses;
}

}  // namespace pagewire::profile
