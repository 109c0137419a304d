// io-uring: whether serve's loop and the uring_* paths can have it, and what forbids it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <array>

#include "doctor/registry.h"
#include "loop/loop.h"
#include "sys/ring.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

struct Operation {
  int number;
  std::string_view name;
};
constexpr std::array operations{
    Operation{IORING_OP_ACCEPT, "accept"},   Operation{IORING_OP_RECV, "recv"},
    Operation{IORING_OP_SEND, "send"},       Operation{IORING_OP_SPLICE, "splice"},
    Operation{IORING_OP_SEND_ZC, "send_zc"}, Operation{IORING_OP_SENDMSG_ZC, "sendmsg_zc"},
};

/// "accept, recv, send ..." that the kernel knows, and those that it does not.
std::string operations_text() {
  Result<sys::Ring> ring = sys::Ring::create({});
  if (!ring) return {};
  std::string known;
  std::string unknown;
  for (const Operation& operation : operations) {
    std::string& list = ring->knows(std::array{operation.number}) ? known : unknown;
    list += fmt::format("{}{}", list.empty() ? "" : ", ", operation.name);
  }
  return fmt::format("{}{}{}", known, unknown.empty() ? "" : "; not ", unknown);
}

std::string memlock_text() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return "memlock unlimited";
  }
  return fmt::format("memlock {} KiB", limit.rlim_cur / kib);
}

bool is_filtered() {
  return value_of(sys::read_text("/proc/self/status").value_or(""), "Seccomp:") == 2U;
}

std::string mend_for(const Error& error, const std::string& disabled) {
  if (error.errno_value == EINVAL) return "install a kernel of 6.1 or newer";
  // Before 5.12 a ring's memory counted against RLIMIT_MEMLOCK; now it is the control group's.
  if (error.errno_value == ENOMEM) return "raise the control group's memory limit";
  if (disabled != "0" && !disabled.empty()) return "sysctl -w kernel.io_uring_disabled=0";
  return is_filtered() ? "allow io_uring_setup, io_uring_enter and io_uring_register in the "
                         "container's seccomp profile"
                       : "use a kernel with CONFIG_IO_URING=y";
}

Finding run(Examination& examination) {
  const std::string disabled = sys::first_line_of("/proc/sys/kernel/io_uring_disabled");
  const Result<void> probed = loop::probe_uring();
  const loop::EngineChoice choice =
      loop::choose_engine(loop::Engine::Auto, loop::preferred_engine, [&] { return probed; });
  examination.engine = loop::name(choice.engine);
  Finding finding{.looked_at =
                      "a ring of the loop's own kind, made and entered; the kernel's "
                      "probe of operations; sysctl; memlock"};
  if (probed) {
    finding.found = fmt::format("works: {}; {}", operations_text(), memlock_text());
    return finding;
  }
  finding.status = Status::Warning;
  finding.found =
      fmt::format("{}: {}{}{}", probed.error().operation, errno_text(probed.error().errno_value),
                  is_filtered() ? ", under a seccomp filter" : "",
                  disabled.empty() ? "" : ", kernel.io_uring_disabled=" + disabled);
  finding.costs = "serve takes epoll: 5 to 8% more CPU for small answers; no uring_* paths";
  finding.estimate = examination.measured.calls(2, ByteCount{4 * kib});
  finding.mend = mend_for(probed.error(), disabled);
  return finding;
}

}  // namespace

const Check io_uring_check{.group = Group::Kernel, .name = "io-uring", .run = run};

}  // namespace pagewire::doctor
