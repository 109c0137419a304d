// A forked process that does one piece of work at a time and stands still in between, so that the
// test can look at it from outside before and after. It is ended and reaped with the object.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "base/check.h"

namespace pagewire::test {

class SteppingChild {
 public:
  /// `work` runs in the child once for every step; the process must have one thread.
  explicit SteppingChild(const std::function<void()>& work) {
    int ends[2];
    PW_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    pid_ = ::fork();
    PW_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(ends[0]);
      char byte = 0;
      while (::read(ends[1], &byte, 1) == 1) {
        work();
        if (::write(ends[1], &byte, 1) != 1) break;
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    control_ = ends[0];
  }
  SteppingChild(const SteppingChild&) = delete;
  ~SteppingChild() {
    ::close(control_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }

  /// Lets the child work and waits until it stands still; `meanwhile` is called every 10 ms.
  /// False when it did not come back within a minute, or died.
  bool step(const std::function<void()>& meanwhile = {}) {
    const char byte = 1;
    if (::write(control_, &byte, 1) != 1) return false;
    for (int waited_ms = 0; waited_ms < 60'000; waited_ms += 10) {
      pollfd ready{.fd = control_, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 10) > 0) {
        char answer = 0;
        return ::read(control_, &answer, 1) == 1 && is_asleep();
      }
      if (meanwhile) meanwhile();
    }
    return false;
  }

 private:
  // Having answered, it goes to sleep in read(2) of its own accord.
  bool is_asleep() const {
    for (int waited_ms = 0; waited_ms < 60'000; ++waited_ms) {
      char path[64];
      std::snprintf(path, sizeof path, "/proc/%d/stat", pid_);
      std::FILE* const file = std::fopen(path, "re");
      if (file == nullptr) return false;
      char state = 0;
      const int found = std::fscanf(file, "%*d (%*[^)]) %c", &state);
      std::fclose(file);
      if (found == 1 && state == 'S') return true;
      ::usleep(1000);
    }
    return false;
  }

  pid_t pid_ = -1;
  int control_ = -1;
};

/// A user of this process's own, as far as that can be had: what the kernel allows each user, as
/// fs.pipe-user-pages-soft, another test that runs as nobody would take up or give back meanwhile.
inline bool become_an_ordinary_user() {
  return ::getuid() != 0 || ::setuid(20'000 + static_cast<uid_t>(::getpid()) % 40'000) == 0;
}

/// Runs `work` in a forked process as the user nobody, without any capability; what it returns is
/// its exit status. -1 when this process may not change its user, or the child died.
inline int run_as_nobody(const std::function<int()>& work) {
  const pid_t pid = ::fork();
  PW_CHECK(pid >= 0);
  if (pid == 0) {
    constexpr uid_t nobody = 65534;
    const bool changed =
        ::setresgid(nobody, nobody, nobody) == 0 && ::setresuid(nobody, nobody, nobody) == 0;
    ::_exit(changed ? work() : 255);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) == 255) return -1;
  return WEXITSTATUS(status);
}

}  // namespace pagewire::test
