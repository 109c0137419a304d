// From stacks to shares, system calls and a verdict.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "profile/categories.h"
#include "profile/jit_symbols.h"
#include "profile/stacks.h"
#include "profile/syscalls.h"
#include "profile/target.h"
#include "profile/verdict.h"

namespace pagewire::profile {
namespace {

Frame kernel(std::string function) {
  return {.function = std::move(function), .module = "kernel", .in_kernel = true};
}
Frame user(std::string function, std::string module = "nginx") {
  return {.function = std::move(function), .module = std::move(module), .in_kernel = false};
}

Category category_of(const std::vector<Frame>& innermost_first) {
  std::vector<const Frame*> frames;
  for (const Frame& frame : innermost_first) frames.push_back(&frame);
  return categorize(frames);
}

TEST(Categories, AreTheInnermostFunctionsThatTell) {
  struct Case {
    std::vector<Frame> stack;
    Category category;
  };
  const Frame entry = kernel("entry_SYSCALL_64_after_hwframe");
  const std::vector<Case> cases{
      {{kernel("_copy_to_iter"), kernel("filemap_read"), entry}, Category::Copy},
      {{kernel("rep_movs_alternative"), kernel("tcp_sendmsg_locked"), entry}, Category::Copy},
      {{kernel("clear_page_erms"), kernel("tcp_sendmsg_locked"), entry}, Category::Memory},
      {{kernel("filemap_get_read_batch"), kernel("filemap_splice_read")}, Category::PageCache},
      {{kernel("xas_load"), kernel("filemap_get_read_batch")}, Category::PageCache},
      {{kernel("splice_to_socket"), kernel("do_sendfile"), entry}, Category::Splice},
      {{kernel("tcp_write_xmit"), kernel("tcp_sendmsg"), entry}, Category::TcpSend},
      {{kernel("tcp_v4_rcv"), kernel("process_backlog"), kernel("tcp_sendmsg")},
       Category::ReceiveSoftirq},
      {{kernel("skb_copy_datagram_iter"), kernel("tcp_recvmsg_locked")}, Category::TcpReceive},
      {{kernel("sock_def_readable"), kernel("tcp_data_queue"), kernel("process_backlog")},
       Category::Scheduling},
      {{kernel("do_csum"), kernel("skb_checksum_help")}, Category::Checksum},
      {{kernel("aes_gcm_enc_update"), kernel("tls_push_record")}, Category::Tls},
      {{kernel("kmem_cache_alloc_node"), kernel("__alloc_skb")}, Category::Memory},
      {{kernel("ep_poll"), kernel("do_epoll_wait")}, Category::Scheduling},
      {{kernel("do_syscall_64"), entry}, Category::SyscallEntry},
      {{kernel("_raw_spin_lock"), kernel("tcp_sendmsg"), entry}, Category::TcpSend},
      {{kernel("sg_next"), kernel("virtqueue_add_outbuf"), kernel("start_xmit")},
       Category::TcpSend},
      {{kernel("sg_next"), kernel("tls_push_record"), entry}, Category::Tls},
      {{kernel("kernel_fpu_begin"), kernel("aesni_encrypt"), kernel("tls_push_record")},
       Category::Tls},
      {{kernel("handle_softirqs"), kernel("__irq_exit_rcu"), kernel("sysvec_apic_timer_interrupt"),
        kernel("asm_sysvec_apic_timer_interrupt"), user("main")},
       Category::Scheduling},
      {{kernel("handle_softirqs"), kernel("__local_bh_enable_ip"), kernel("__dev_queue_xmit")},
       Category::TcpSend},
      {{kernel("copy_iovec_from_user"), kernel("__import_iovec"), kernel("vfs_readv")},
       Category::SyscallEntry},
      {{kernel("no_such_function")}, Category::OtherKernel},
      {{kernel("_copy_to_iter.part.0")}, Category::Copy},
      {{user("ngx_http_parse")}, Category::Program},
      {{user("aesni_ctr32", "libcrypto.so.3")}, Category::Tls},
      {{user("crypto/internal/fips140/aes/gcm.gcmAesEnc", "go-server")}, Category::Tls},
      {{user("aesni_gcm_encrypt", "static-server")}, Category::Tls},
      {{user("nettle_gcm_encrypt", "libnettle.so.8")}, Category::Tls},
      {{user("_nss_files_gethostbyname", "libnss_files.so.2")}, Category::Program},
      {{user("_int_malloc", "libc.so.6")}, Category::Memory},
      {{kernel("no_such_function"), user("_int_malloc", "libc.so.6")}, Category::OtherKernel},
      {{}, Category::OtherKernel},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(name(category_of(each.stack)), name(each.category))
        << (each.stack.empty() ? "" : each.stack.front().function);
  }
}

std::string syscall_in(const std::vector<Frame>& innermost_first) {
  std::vector<const Frame*> frames;
  for (const Frame& frame : innermost_first) frames.push_back(&frame);
  return syscall_of(frames);
}

TEST(Syscalls, AreFoundOnTheStack) {
  EXPECT_EQ(syscall_in({kernel("_copy_to_iter"), kernel("__x64_sys_pread64")}), "pread64");
  EXPECT_EQ(syscall_in({kernel("splice"), kernel("__x64_sys_sendfile64")}), "sendfile");
  EXPECT_EQ(syscall_in({kernel("a"), kernel("do_writev"), kernel("do_syscall_64")}), "writev");
  EXPECT_EQ(syscall_in({kernel("a"), user("__x64_sys_read")}), "") << "no kernel function";
  EXPECT_EQ(syscall_in({}), "");
}

TEST(Syscalls, ShareTheCountAndAverageTheirBytes) {
  const std::vector<sys::SyscallSample> samples{{.number = SYS_sendfile, .result = 1000},
                                                {.number = SYS_sendfile, .result = 3000},
                                                {.number = SYS_sendfile, .result = -11},
                                                {.number = SYS_close, .result = 0}};
  const std::vector<SyscallUse> uses = uses_of(samples, {.calls = 4000, .seconds = 2});
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[0].name, "sendfile");
  EXPECT_DOUBLE_EQ(uses[0].calls_per_s, 1500);
  EXPECT_DOUBLE_EQ(*uses[0].bytes_per_call, 2000) << "what failed moved nothing";
  EXPECT_EQ(uses[1].name, "close");
  EXPECT_FALSE(uses[1].bytes_per_call);
  EXPECT_EQ(name_of_syscall(99999), "call 99999");
}

Report report_of(std::uint64_t copying, std::uint64_t others) {
  Stacks stacks;
  for (std::uint64_t i = 0; i < copying; ++i) {
    stacks.add({kernel("_copy_to_iter"), kernel("__x64_sys_read"), user("main")});
  }
  for (std::uint64_t i = 0; i < others; ++i) stacks.add({kernel("tcp_write_xmit"), user("main")});
  Report report;
  report.processes = {{.pid = 1, .name = "a;b"}};
  stacks.write_to(report);
  report.verdict = judge(report);
  return report;
}

TEST(Verdict, FollowsTheRuleOfThumb) {
  const Report much = report_of(300, 700);
  EXPECT_EQ(much.verdict.advice, Advice::ZeroCopyWouldPay);
  EXPECT_NE(much.verdict.text.find("read 30.0%"), std::string::npos) << much.verdict.text;
  EXPECT_EQ(report_of(5, 995).verdict.advice, Advice::LittleToGain);
  EXPECT_EQ(report_of(0, 1000).verdict.advice, Advice::LittleToGain);
  EXPECT_EQ(report_of(50, 950).verdict.advice, Advice::Borderline);
  EXPECT_EQ(report_of(10, 20).verdict.advice, Advice::Unknown) << "too few";
  EXPECT_EQ(report_of(0, 0).verdict.advice, Advice::Unknown);
}

TEST(Verdict, IsUnknownWithoutTheKernel) {
  Report report = report_of(300, 700);
  report.kernel_named = false;
  EXPECT_EQ(judge(report).advice, Advice::Unknown);
  report.kernel_named = true;
  report.kernel_seen = false;
  EXPECT_EQ(judge(report).advice, Advice::Unknown);
}

TEST(Verdict, NeverClaimsMoreThanTheSamplesDo) {
  EXPECT_GT(margin_percent(0, 100), 2.9);
  EXPECT_LT(margin_percent(50, 10'000), 1);
  EXPECT_GT(margin_percent(50, 100), 9);
  EXPECT_EQ(margin_percent(10, 0), 100);
}

TEST(Stacks, KeepEverySample) {
  const Report report = report_of(300, 700);
  EXPECT_EQ(report.samples, 1000U);
  EXPECT_EQ(report.stacks.size(), 2U);
  EXPECT_EQ(report.frames.size(), 4U);
  EXPECT_DOUBLE_EQ(report.percent(Category::Copy), 30);
  std::uint64_t sum = 0;
  for (const std::uint64_t count : report.by_category) sum += count;
  EXPECT_EQ(sum, 1000U);
}

TEST(Folded, HasALineAStackThatToolsCanRead) {
  const std::string folded = to_folded(report_of(2, 1));
  EXPECT_TRUE(folded.starts_with("a_b;")) << "the process is one frame, whatever its name";
  EXPECT_NE(folded.find(";main;__x64_sys_read_[k];_copy_to_iter_[k] 2\n"), std::string::npos);
}

TEST(FlameGraph, EscapesNamesAndRefersToNothing) {
  Stacks stacks;
  stacks.add({user("operator<<(std::ostream&, \"x\")"), user("main")});
  Report report;
  report.processes = {{.pid = 1, .name = "<b>"}};
  stacks.write_to(report);
  const std::string svg = to_svg(report);
  EXPECT_NE(svg.find("operator&lt;&lt;(std::ostream&amp;"), std::string::npos);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_EQ(svg.find("href"), std::string::npos);
  EXPECT_EQ(svg.find("http"), svg.find("http://www.w3.org/2000/svg")) << "the namespace alone";
  EXPECT_EQ(svg.rfind("http"), svg.find("http"));
  EXPECT_NE(to_svg(Report{}).find("</svg>"), std::string::npos) << "without any sample";
}

TEST(Target, GoesByNameOrFile) {
  EXPECT_TRUE(goes_by({.comm = "nginx", .program = "nginx"}, "nginx"));
  EXPECT_TRUE(goes_by({.comm = "worker", .program = "nginx"}, "nginx"));
  EXPECT_TRUE(goes_by({.comm = "a-very-long-nam", .program = ""}, "a-very-long-name-indeed"));
  EXPECT_FALSE(goes_by({.comm = "nginx", .program = "nginx"}, "ngin"));
  EXPECT_FALSE(goes_by({.comm = "nginx", .program = ""}, "nginx2"));
  EXPECT_FALSE(goes_by({.comm = "", .program = ""}, "x"));
}

TEST(Target, ReadsNumbersOfItsStatus) {
  constexpr std::string_view status = "Name:\tTgid: 7\nTgid:\t123\nNSpid:\t123\t1\nEmpty:\n";
  EXPECT_EQ(last_number_of(status, "Tgid:"), 123);
  EXPECT_EQ(last_number_of(status, "NSpid:"), 1) << "as the process itself has it";
  EXPECT_EQ(last_number_of(status, "Empty:"), 0);
  EXPECT_EQ(last_number_of(status, "None:"), 0);
  EXPECT_EQ(last_number_of("", "Tgid:"), 0);
}

TEST(Target, LivesWhileItIsNoZombie) {
  EXPECT_TRUE(is_alive(::getpid()));
  EXPECT_FALSE(is_alive(999'999'999));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(is_alive(child)) << "it has ended, and is still in /proc";
  ::waitpid(child, nullptr, 0);
}

TEST(JitSymbols, AreThoseOfTheListTheLaterOnesFirst) {
  JitSymbols symbols(0);
  symbols.parse(
      "1000 10 JS:~first /tmp/a b.js:1\n0x2000 20 second\n1000 8 JS:*first\nnonsense\n"
      "3000\n3000 10\n3000 10 \n4000 zz bad\n");
  EXPECT_EQ(symbols.find(0x1000), "JS:*first");
  EXPECT_EQ(symbols.find(0x1007), "JS:*first");
  EXPECT_FALSE(symbols.find(0x1008)) << "behind its end";
  EXPECT_EQ(symbols.find(0x201f), "second");
  EXPECT_FALSE(symbols.find(0x2020));
  EXPECT_FALSE(symbols.find(0x3000)) << "a name that is none";
  EXPECT_FALSE(symbols.find(0xfff));
}

TEST(Target, ReadsTheCpuTimeBehindAnyName) {
  const CpuUse use =
      parse_cpu_use("7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 1 0 5", 100);
  EXPECT_DOUBLE_EQ(use.user_s, 2.5);
  EXPECT_DOUBLE_EQ(use.system_s, 1.5);
  EXPECT_DOUBLE_EQ(parse_cpu_use("", 100).user_s, 0);
  EXPECT_DOUBLE_EQ(parse_cpu_use("7 (x) S 1", 100).system_s, 0);
}

}  // namespace
}  // namespace pagewire::profile
