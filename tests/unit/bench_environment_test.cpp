// The environment: what can be known for certain is compared, the rest must be plausible.
#include "bench/environment.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "sys/interface.h"
#include "sys/kernel_config.h"
#include "sys/mount.h"
#include "sys/text_file.h"

namespace pagewire::bench {
namespace {

TEST(Environment, SaysWhatTheMachineIs) {
  const std::time_t before = std::time(nullptr);
  const Environment environment = describe_environment("/proc/self/stat", NetKind::Loopback);
  std::tm utc{};
  ASSERT_NE(::strptime(environment.date.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc), nullptr);
  EXPECT_GE(::timegm(&utc), before - 1);  // the coarse clock may lag behind by a tick
  EXPECT_LE(::timegm(&utc), std::time(nullptr));
  utsname kernel{};
  ::uname(&kernel);
  EXPECT_EQ(environment.kernel, kernel.release);
  EXPECT_EQ(environment.cpus, static_cast<std::size_t>(::sysconf(_SC_NPROCESSORS_ONLN)));
  EXPECT_FALSE(environment.hardware_counters.empty());
  EXPECT_FALSE(environment.irq_time_meaning.empty());
  EXPECT_FALSE(environment.clock_source.empty());
  EXPECT_TRUE(environment.load_average);
  EXPECT_EQ(environment.filesystem, "proc");
  EXPECT_TRUE(environment.command_line.empty()) << "that is the caller's";
  EXPECT_TRUE(environment.pagewire_version.empty()) << "that is the caller's";
}

TEST(Environment, KnowsWhoPaysForSoftirqsOrThatItDoesNot) {
  const Environment environment = describe_environment(".", NetKind::Loopback);
  if (environment.irq_time_accounting.empty()) {
    EXPECT_TRUE(environment.irq_time_meaning.starts_with("unknown"));
  } else if (environment.irq_time_accounting == "y") {
    EXPECT_EQ(environment.irq_time_meaning,
              "softirq time is kept apart and is not in the server's CPU");
  } else {
    EXPECT_EQ(environment.irq_time_accounting, "n");
    EXPECT_EQ(environment.irq_time_meaning, "softirq time is charged to whoever was interrupted");
  }
}

TEST(Environment, SaysWhatTheNetworkDoesToTheFigures) {
  const Environment loopback = describe_environment(".", NetKind::Loopback);
  EXPECT_EQ(loopback.network, "loopback");
  ASSERT_EQ(loopback.notes.size(), 1u);
  EXPECT_EQ(loopback.notes[0],
            "loopback: MSG_ZEROCOPY is copied, about a third of the sender's CPU is the receiver's "
            "softirq; read ratios, not absolute figures");
  const Environment veth = describe_environment(".", NetKind::Veth);
  EXPECT_EQ(veth.network, "veth");
  ASSERT_EQ(veth.notes.size(), 1u);
  EXPECT_TRUE(veth.notes[0].starts_with("veth: MSG_ZEROCOPY is copied"));
}

TEST(Environment, LeavesEmptyWhatCannotBeKnown) {
  const Environment environment = describe_environment("/no/such/file/anywhere", NetKind::Loopback);
  EXPECT_EQ(environment.filesystem, "");
  EXPECT_FALSE(environment.kernel.empty());
}

TEST(Environment, DescribesAnInterface) {
  Environment environment;
  describe_interface("lo", environment);
  EXPECT_EQ(environment.network, "lo");
  EXPECT_NE(std::ranges::find(environment.offloads, "scatter-gather on"),
            environment.offloads.end());
  describe_interface("pw-none", environment);
  EXPECT_EQ(environment.network, "pw-none");
  EXPECT_TRUE(environment.offloads.empty());
  describe_interface("a name that is much too long", environment);
  EXPECT_TRUE(environment.offloads.empty());
}

constexpr std::string_view mountinfo =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - nfs4 host:/a\\040b rw\n"
    "127 1 0:5 / /x rw - tmpfs none rw";

TEST(Mount, IsFoundByItsNumber) {
  const Result<sys::Mount> root = sys::find_mount(mountinfo, 27);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->type, "ext4");
  EXPECT_EQ(root->source, "/dev/vda");
  EXPECT_EQ(sys::find_mount(mountinfo, 36)->type, "nfs4");
  EXPECT_EQ(sys::find_mount(mountinfo, 36)->source, "host:/a b");
  EXPECT_EQ(sys::find_mount(mountinfo, 127)->type, "tmpfs");
  EXPECT_EQ(sys::find_mount(mountinfo, 2).error().errno_value, ENODATA);
  EXPECT_EQ(sys::find_mount("", 0).error().errno_value, ENODATA);
  EXPECT_EQ(sys::find_mount("27 1 254:0 / / rw", 27).error().errno_value, ENODATA);
}

TEST(KernelConfig, HasWhatIsSetAndNForTheRest) {
  const sys::KernelConfig config(
      "#\n# Automatically generated file\n#\nCONFIG_HZ=250\n# CONFIG_IRQ_TIME_ACCOUNTING is not "
      "set\n"
      "CONFIG_HAVE_TLS=y\nCONFIG_TLS=m\nCONFIG_LOCALVERSION=\"-cloud amd64\"\nCONFIG_EMPTY=\"\"\n"
      "CONFIG_LAST=y");
  EXPECT_EQ(config.value_of("HZ"), "250");
  EXPECT_EQ(config.value_of("IRQ_TIME_ACCOUNTING"), "n");
  EXPECT_EQ(config.value_of("TLS"), "m");
  EXPECT_EQ(config.value_of("LOCALVERSION"), "-cloud amd64");
  EXPECT_EQ(config.value_of("EMPTY"), "");
  EXPECT_EQ(config.value_of("LAST"), "y");
  EXPECT_EQ(config.value_of("LAS"), "n");
}

TEST(KernelConfig, OfThisKernelHasATimer) {
  const std::optional<sys::KernelConfig> config = sys::KernelConfig::load();
  if (!config) GTEST_SKIP() << "neither /proc/config.gz nor /boot/config-RELEASE can be read";
  EXPECT_GE(std::stoi(config->value_of("HZ")), 100);
}

TEST(TextFile, IsReadWholeOrUpToItsLimit) {
  const Result<std::string> text = sys::read_text(std::string("/proc/self/status"));
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("voluntary_ctxt_switches"), std::string::npos);
  std::array<char, 5> buffer{};
  EXPECT_EQ(sys::read_text("/proc/self/status", buffer), "Name:");
  EXPECT_EQ(sys::read_text(std::string("/proc/self/status"), 10).error().errno_value, EFBIG);
  EXPECT_EQ(sys::read_text(std::string("/no/such")).error().errno_value, ENOENT);
  EXPECT_EQ(sys::first_line_of("/proc/self/comm"), "bench_environme");
  EXPECT_EQ(sys::first_line_of("/no/such"), "");
}

}  // namespace
}  // namespace pagewire::bench
