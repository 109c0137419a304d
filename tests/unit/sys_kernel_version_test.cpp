#include "sys/kernel_version.h"

#include <gtest/gtest.h>

namespace pagewire::sys {
namespace {

TEST(KernelVersion, IsTheFirstTwoNumbers) {
  EXPECT_EQ(parse_kernel_version("6.18.44-fc"), (KernelVersion{6, 18}));
  EXPECT_EQ(parse_kernel_version("5.6"), (KernelVersion{5, 6}));
  EXPECT_EQ(parse_kernel_version("6.1-rc3"), (KernelVersion{6, 1}));
  for (const std::string_view text : {"", "6", "six.one", "6.", ".6", "-1.2"}) {
    EXPECT_EQ(parse_kernel_version(text), KernelVersion{}) << text;
  }
  EXPECT_LT((KernelVersion{5, 19}), (KernelVersion{6, 0}));
  EXPECT_LT((KernelVersion{6, 9}), (KernelVersion{6, 14}));
}

}  // namespace
}  // namespace pagewire::sys
