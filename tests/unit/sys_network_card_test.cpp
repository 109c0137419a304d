// Asking all interfaces for a feature: those that are down as well, and what does not answer is an
// error. lo has the feature "loopback" on, always. What a thread does to itself ends with it.
#include "sys/network_card.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <thread>

namespace pagewire::sys {
namespace {

void in_thread(const std::function<void()>& body) {
  std::thread(body).join();
}

/// From here on each ioctl(2) of this thread fails so. 0, or an errno.
int refuse_ioctl(int errno_value) {
  std::array<sock_filter, 4> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(errno_value)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{.len = filter.size(), .filter = filter.data()};
  const bool set = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                   ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  return set ? 0 : errno;
}

TEST(NetworkCard, AFeatureOfAnyInterface) {
  const Result<bool> has = any_interface_has("loopback");
  ASSERT_TRUE(has) << describe(has.error());
  EXPECT_TRUE(*has);
  EXPECT_EQ(any_interface_has("no-such-feature"), Result<bool>(false));
}

TEST(NetworkCard, AFeatureOfOneThatIsDown) {
  Result<bool> has = false;
  int refused = 0;
  in_thread([&] {
    // Its lo is down, and there is nothing else.
    if (::unshare(CLONE_NEWNET) != 0) refused = errno;
    if (refused == 0) has = any_interface_has("loopback");
  });
  if (refused != 0) GTEST_SKIP() << "no network namespace: " << std::strerror(refused);
  EXPECT_EQ(has, Result<bool>(true));
}

TEST(NetworkCard, AQuestionThatFailsIsNoAnswer) {
  for (const int why : {EPERM, EBUSY, ENODEV, EOPNOTSUPP}) {
    Result<bool> has = true;
    int refused = 0;
    in_thread([&] {
      refused = refuse_ioctl(why);
      if (refused == 0) has = any_interface_has("loopback");
    });
    if (refused != 0) GTEST_SKIP() << "no seccomp filter: " << std::strerror(refused);
    if (why == ENODEV || why == EOPNOTSUPP) {
      EXPECT_EQ(has, Result<bool>(false)) << std::strerror(why);
    } else {
      ASSERT_FALSE(has) << std::strerror(why);
      EXPECT_EQ(has.error().errno_value, why);
    }
  }
}

TEST(NetworkCard, NoDescriptorIsNoAnswer) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<bool> has = any_interface_has("loopback");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(has);
  EXPECT_EQ(has.error().errno_value, EMFILE);
}

}  // namespace
}  // namespace pagewire::sys
