// Checks on machines that the tests bring along: cards of many queues, NUMA nodes, control groups
// of both versions, as trees of files that stand for /proc and /sys.
#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>

#include "doctor/registry.h"

namespace pagewire::doctor {
namespace {

namespace fs = std::filesystem;

class Machine : public testing::Test {
 protected:
  Machine() {
    std::string name = fs::temp_directory_path() / "pagewire-machine-XXXXXX";
    root_ = ::mkdtemp(name.data());
    examination_.system_root = root_;
    examination_.measured.cores = 8;
    examination_.measured.copy_cached = 10e9;
    examination_.measured.copy_memory = 5e9;
  }
  ~Machine() override { fs::remove_all(root_); }

  void write(const std::string& file, std::string_view text) {
    fs::create_directories(fs::path(root_ + file).parent_path());
    std::ofstream(root_ + file) << text;
  }
  /// A card named eth0, which is what is looked at.
  void plug_in(std::size_t queues, std::string_view masks = "00000000") {
    write("/sys/class/net/eth0/device/vendor", "0x15b3");
    for (std::size_t i = 0; i < queues; ++i) {
      const std::string number = std::to_string(i);
      write("/sys/class/net/eth0/queues/rx-" + number + "/rps_cpus", masks);
      write("/sys/class/net/eth0/queues/tx-" + number + "/xps_cpus", "ff");
    }
    examination_.interface = "eth0";
    examination_.interfaces = {{.name = "eth0", .queueing = "mq"}};
  }
  void feature(std::string name, bool on, bool fixed = false) {
    examination_.card.features.push_back({.name = std::move(name), .on = on, .fixed = fixed});
  }
  Finding look(const Check& check) { return check.run(examination_); }

  std::string root_;
  Settings settings_;
  Examination examination_{.settings = settings_};
};

TEST_F(Machine, QueuesAreAskedForAsTheCardHasThem) {
  plug_in(2);
  EXPECT_EQ(look(net_queues_check).found, "not told by this driver");
  examination_.card.channels = sys::Channels{.transmit = 2, .transmit_max = 16, .combined = true};
  Finding finding = look(net_queues_check);
  EXPECT_EQ(finding.status, Status::Warning);
  EXPECT_EQ(finding.mend, "ethtool -L eth0 combined 8") << "no more than CPUs";
  examination_.card.channels = sys::Channels{.transmit = 2, .transmit_max = 4, .combined = false};
  EXPECT_EQ(look(net_queues_check).mend, "ethtool -L eth0 tx 4") << "it has no combined ones";
  examination_.card.channels = sys::Channels{.transmit = 8, .transmit_max = 16, .combined = true};
  EXPECT_EQ(look(net_queues_check).status, Status::Ok);
  examination_.card.channels = sys::Channels{.transmit = 1, .transmit_max = 1, .combined = true};
  EXPECT_EQ(look(net_queues_check).status, Status::Ok) << "it has no more";
}

TEST_F(Machine, RingsThatCanGrow) {
  plug_in(1);
  examination_.card.rings =
      sys::RingSizes{.receive = 128, .receive_max = 128, .transmit = 128, .transmit_max = 1024};
  EXPECT_EQ(look(net_rings_check).mend, "ethtool -G eth0 tx 1024");
  examination_.card.rings->transmit = 256;
  EXPECT_EQ(look(net_rings_check).status, Status::Ok);
  examination_.card.rings = sys::RingSizes{};
  EXPECT_EQ(look(net_rings_check).found, "not told by this driver");
}

TEST_F(Machine, FewReceiveQueuesForManyCpus) {
  plug_in(1);
  const Finding finding = look(net_steering_check);
  EXPECT_EQ(finding.status, Status::Warning);
  EXPECT_EQ(finding.found, "1 receive queue, RPS off; 1 send queue, XPS on; qdisc mq");
  EXPECT_EQ(finding.mend,
            "for q in /sys/class/net/eth0/queues/rx-*; do echo ff > $q/rps_cpus; done");
  examination_.measured.cores = 2;
  EXPECT_EQ(look(net_steering_check).status, Status::Ok);
}

TEST_F(Machine, ReceivingThatIsSpread) {
  plug_in(8);
  EXPECT_EQ(look(net_steering_check).status, Status::Ok);
  EXPECT_EQ(look(net_steering_check).found,
            "8 receive queues, RPS off; 8 send queues, XPS on; qdisc mq");
}

TEST_F(Machine, ReceivingThatIsSteered) {
  plug_in(1, "00000000,000000ff");
  EXPECT_EQ(look(net_steering_check).status, Status::Ok);
}

TEST_F(Machine, SysOfAnotherNetworkNamespaceSaysNothing) {
  examination_.interface = "v0";
  EXPECT_EQ(look(net_steering_check).status, Status::Unknown);
  EXPECT_EQ(look(net_link_check).status, Status::Unknown);
}

TEST_F(Machine, AnInterfaceWithoutACarrierIsNotSwitchedOn) {
  plug_in(1);
  write("/sys/class/net/eth0/mtu", "1500\n");
  write("/sys/class/net/eth0/speed", "-1\n");
  write("/sys/class/net/eth0/operstate", "down\n");
  write("/sys/class/net/eth0/carrier", "0\n");
  EXPECT_EQ(look(net_link_check).found, "down, MTU 1500, speed not told");
  EXPECT_NE(look(net_link_check).mend.find("no carrier"), std::string::npos);
  // EINVAL of a real one: it is down.
  write("/sys/class/net/eth0/carrier", "");
  EXPECT_EQ(look(net_link_check).mend, "ip link set eth0 up");
  write("/sys/class/net/eth0/operstate", "up\n");
  write("/sys/class/net/eth0/speed", "25000\n");
  EXPECT_EQ(look(net_link_check).found, "up, MTU 1500, 25000 Mbit/s");
  EXPECT_EQ(look(net_link_check).status, Status::Ok);
  write("/sys/class/net/eth0/mtu", "576\n");
  EXPECT_EQ(look(net_link_check).mend, "ip link set eth0 mtu 1500");
}

TEST_F(Machine, SegmentationThatCannotBeHadIsNotAskedFor) {
  plug_in(1);
  feature("tx-tcp-segmentation", true);
  feature("tx-tcp6-segmentation", false, true);
  feature("tx-generic-segmentation", true);
  EXPECT_EQ(look(net_segmentation_check).status, Status::Ok);
  examination_.card.features[1].fixed = false;
  EXPECT_EQ(look(net_segmentation_check).mend, "ethtool -K eth0 tso on");
  examination_.card.features[0] = {.name = "tx-tcp-segmentation", .on = false, .fixed = true};
  examination_.card.features[1].fixed = true;
  examination_.card.features[2].on = false;
  EXPECT_EQ(look(net_segmentation_check).mend, "ethtool -K eth0 gso on");
}

TEST_F(Machine, ACardThatCannotGatherFailsAndATunnelIsAWarning) {
  plug_in(1);
  feature("tx-scatter-gather", false);
  feature("tx-checksum-ipv4", false, true);
  EXPECT_EQ(look(net_scatter_gather_check).status, Status::Failed);
  EXPECT_EQ(look(net_checksum_check).found, "not in this card or driver");
  EXPECT_EQ(examination_.bare_interfaces, std::vector<std::string>{"eth0"}) << "once";
  examination_.interface = "tun0";
  EXPECT_EQ(look(net_scatter_gather_check).status, Status::Warning);
  EXPECT_EQ(look(net_scatter_gather_check).mend, "ethtool -K tun0 sg on tx on");
}

TEST_F(Machine, BbrAsksForFqOnEachCardByItsName) {
  plug_in(2);
  write("/proc/sys/net/ipv4/tcp_congestion_control", "bbr\n");
  write("/proc/sys/net/core/default_qdisc", "pfifo_fast\n");
  examination_.interfaces = {{.name = "eth0", .queueing = "mq"},
                             {.name = "eth1", .queueing = "fq_codel"},
                             {.name = "eth2", .queueing = "fq"},
                             {.name = "lo", .queueing = "noqueue"}};
  Finding finding = look(congestion_check);
  EXPECT_EQ(finding.status, Status::Warning);
  EXPECT_EQ(finding.found, "bbr, pfifo_fast; eth0: mq of pfifo_fast, eth1: fq_codel");
  EXPECT_EQ(finding.mend,
            "sysctl -w net.core.default_qdisc=fq && tc qdisc replace dev eth0 root mq && tc qdisc "
            "replace dev eth1 root fq");
  examination_.interfaces.erase(examination_.interfaces.begin() + 1);
  write("/proc/sys/net/core/default_qdisc", "fq\n");
  EXPECT_EQ(look(congestion_check).status, Status::Ok);
  write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic\n");
  write("/proc/sys/net/core/default_qdisc", "pfifo_fast\n");
  EXPECT_EQ(look(congestion_check).status, Status::Ok) << "cubic does not pace";
}

TEST_F(Machine, EachCardIsHeldAgainstTheCpusOfItsNode) {
  EXPECT_EQ(look(numa_check).found, "one node") << "a kernel without NUMA";
  write("/sys/devices/system/node/online", "0-1\n");
  plug_in(1);
  EXPECT_EQ(look(numa_check).found, "2 nodes; that of no card is told");
  write("/sys/class/net/eth0/device/numa_node", "1\n");
  const int ours = ::sched_getcpu();
  write("/sys/devices/system/node/node0/cpulist", std::to_string(ours) + "\n");
  write("/sys/devices/system/node/node1/cpulist", "60000-60001\n");
  const Finding far = look(numa_check);
  EXPECT_EQ(far.status, Status::Warning);
  EXPECT_NE(far.mend.find("--cpunodebind=1 --membind=1"), std::string::npos);
  write("/sys/class/net/eth0/device/numa_node", "-1\n");
  EXPECT_EQ(look(numa_check).status, Status::Ok) << "the machine does not tell";
  write("/sys/class/net/eth0/device/numa_node", "0\n");
  EXPECT_EQ(look(numa_check).status, Status::Ok);
  // A virtio device has none of its own: the PCI device below it does.
  std::filesystem::remove(root_ + "/sys/class/net/eth0/device/numa_node");
  write("/sys/class/net/eth0/numa_node", "1\n");
  EXPECT_EQ(look(numa_check).status, Status::Warning);
  write("/sys/class/net/eth0/device/numa_node", "0\n");
  // The second card counts, too.
  examination_.interfaces.push_back({.name = "eth1"});
  write("/sys/class/net/eth1/device/numa_node", "1\n");
  EXPECT_EQ(look(numa_check).status, Status::Warning);
}

TEST_F(Machine, LimitsOfControlGroups2) {
  EXPECT_EQ(look(cgroup_cpu_check).found, "in no group that can be seen");
  write("/proc/self/cgroup", "0::/system.slice/web.service\n");
  write("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  write("/sys/fs/cgroup/system.slice/web.service/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/system.slice/cpu.max", "250000 100000\n");
  write("/sys/fs/cgroup/system.slice/web.service/cpu.stat", "usage_usec 5\nnr_throttled 7\n");
  const Finding cpu = look(cgroup_cpu_check);
  EXPECT_EQ(cpu.status, Status::Warning);
  EXPECT_EQ(cpu.found, "2.50 CPUs of 8; throttled 7 times so far");
  EXPECT_NE(cpu.mend.find("--workers 2"), std::string::npos) << cpu.mend;
  write("/sys/fs/cgroup/system.slice/web.service/memory.max", "max\n");
  write("/sys/fs/cgroup/system.slice/web.service/memory.high", "268435456\n");
  EXPECT_EQ(look(cgroup_memory_check).found, "256 MiB, page cache included");
  EXPECT_EQ(look(cgroup_memory_check).status, Status::Warning);
  write("/sys/fs/cgroup/system.slice/web.service/memory.high", "max\n");
  EXPECT_EQ(look(cgroup_memory_check).found, "no limit");
}

TEST_F(Machine, ThrottlingOfALimitThatIsGoneIsHistory) {
  write("/proc/self/cgroup", "0::/\n");
  write("/sys/fs/cgroup/cgroup.controllers", "cpu\n");
  write("/sys/fs/cgroup/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/cpu.stat", "nr_throttled 9\n");
  EXPECT_EQ(look(cgroup_cpu_check).status, Status::Ok);
}

TEST_F(Machine, LimitsOfControlGroups1) {
  write("/proc/self/cgroup", "4:cpu,cpuacct:/box\n3:memory:/docker/id\n0::/x\n");
  write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  const Finding cpu = look(cgroup_cpu_check);
  EXPECT_EQ(cpu.found, "0.50 CPUs of 8");
  EXPECT_NE(cpu.mend.find("--workers 1"), std::string::npos) << "at least one";
  write("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(look(cgroup_cpu_check).found, "no limit");
  // A container's own group, whose path is the host's.
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(look(cgroup_memory_check).found, "512 MiB, page cache included");
  EXPECT_EQ(look(cgroup_memory_check).status, Status::Ok);
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(look(cgroup_memory_check).found, "no limit");
}

TEST_F(Machine, ControlGroups2BesideThoseOfVersion1) {
  write("/proc/self/cgroup", "1:name=systemd:/\n0::/web\n");
  write("/sys/fs/cgroup/unified/web/cpu.max", "100000 100000\n");
  EXPECT_EQ(look(cgroup_cpu_check).found, "1.00 CPUs of 8");
}

TEST_F(Machine, SoftirqTimeIsKeptApartOnlyWithATrustedClock) {
  EXPECT_EQ(look(irq_accounting_check).status, Status::Unknown);
  examination_.config.emplace("CONFIG_IRQ_TIME_ACCOUNTING=y\n");
  EXPECT_TRUE(look(irq_accounting_check).found.starts_with("on"));
#if defined(__x86_64__)
  write("/proc/cmdline", "root=/dev/vda tsc=noirqtime\n");
  EXPECT_NE(look(irq_accounting_check).found.find("but off (tsc=noirqtime"), std::string::npos);
  write("/proc/cmdline", "root=/dev/vda\n");
  write("/sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet acpi_pm \n");
  EXPECT_NE(look(irq_accounting_check).found.find("but off (the TSC"), std::string::npos);
  write("/sys/devices/system/clocksource/clocksource0/available_clocksource", "kvm-clock tsc\n");
  EXPECT_TRUE(look(irq_accounting_check).found.starts_with("on"));
#endif
  examination_.config.emplace("# CONFIG_IRQ_TIME_ACCOUNTING is not set\n");
  EXPECT_TRUE(look(irq_accounting_check).found.starts_with("off"));
}

TEST_F(Machine, KeyUpdatesAreTriedBeforeTheVersionIsBelieved) {
  examination_.kernel = {.major = 6, .minor = 12};
  EXPECT_EQ(look(key_update_check).status, Status::Ok) << "without kernel TLS nothing to warn of";
  examination_.kernel_tls = true;
  examination_.kernel_rekeys = true;
  EXPECT_EQ(look(key_update_check).status, Status::Ok) << "a distribution has brought it";
  examination_.kernel_rekeys = false;
  EXPECT_EQ(look(key_update_check).status, Status::Warning);
}

TEST_F(Machine, OldKernelsLackTheLoopOrEverything) {
  const auto status_of = [this](unsigned major, unsigned minor) {
    examination_.kernel = {.major = major, .minor = minor};
    return look(kernel_version_check).status;
  };
  EXPECT_EQ(status_of(5, 4), Status::Failed);
  EXPECT_EQ(status_of(5, 10), Status::Warning);
  EXPECT_EQ(status_of(6, 1), Status::Ok);
}

TEST_F(Machine, TlsCountersOfAKernelThatHasThem) {
  write("/proc/net/tls_stat", "TlsCurrTxSw\t1\nTlsTxSw\t12\nTlsTxDevice\t3\nTlsDecryptError\t2\n");
  EXPECT_EQ(
      look(tls_counters_check).found,
      "12 connections encrypted by the CPU so far, 3 by a card (1 and 0 now); 2 records could "
      "not be decrypted");
}

}  // namespace
}  // namespace pagewire::doctor
