#include "sys/stack_sampler.h"

#include <asm/perf_regs.h>
#include <dirent.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>

#include "sys/tracepoint.h"

namespace pagewire::sys {

namespace {

// User registers in the order of DWARF (System V ABI of x86-64, figure 3.36; AArch64 DWARF, 4.1),
// by the kernel's numbers. The kernel writes those of a mask in the order of its numbers.
#if defined(__x86_64__)
constexpr auto dwarf_registers = std::to_array<unsigned>(
    {PERF_REG_X86_AX, PERF_REG_X86_DX, PERF_REG_X86_CX, PERF_REG_X86_BX, PERF_REG_X86_SI,
     PERF_REG_X86_DI, PERF_REG_X86_BP, PERF_REG_X86_SP, PERF_REG_X86_R8, PERF_REG_X86_R9,
     PERF_REG_X86_R10, PERF_REG_X86_R11, PERF_REG_X86_R12, PERF_REG_X86_R13, PERF_REG_X86_R14,
     PERF_REG_X86_R15, PERF_REG_X86_IP});
constexpr unsigned stack_pointer_register = PERF_REG_X86_SP;
constexpr unsigned pc_register = PERF_REG_X86_IP;
constexpr std::uint64_t user_abi = PERF_SAMPLE_REGS_ABI_64;
#elif defined(__aarch64__)
constexpr auto dwarf_registers = [] {
  std::array<unsigned, PERF_REG_ARM64_PC + 1> all{};
  for (unsigned i = 0; i < all.size(); ++i) all[i] = i;
  return all;
}();
constexpr unsigned stack_pointer_register = PERF_REG_ARM64_SP;
constexpr unsigned pc_register = PERF_REG_ARM64_PC;
constexpr std::uint64_t user_abi = PERF_SAMPLE_REGS_ABI_64;
#else
constexpr std::array<unsigned, 0> dwarf_registers{};
constexpr unsigned stack_pointer_register = 0;
constexpr unsigned pc_register = 0;
constexpr std::uint64_t user_abi = PERF_SAMPLE_REGS_ABI_64;
#endif

constexpr std::uint64_t register_mask = [] {
  std::uint64_t mask = 0;
  for (const unsigned number : dwarf_registers) mask |= std::uint64_t{1} << number;
  return mask;
}();

/// Where a register stands among those of the mask.
constexpr std::size_t place_of(unsigned number) {
  return static_cast<std::size_t>(
      std::popcount(register_mask & ((std::uint64_t{1} << number) - 1)));
}

/// Reads a record's words; never beyond its end.
class Reader {
 public:
  explicit Reader(std::span<const unsigned char> bytes) : rest_(bytes) {}
  template <class T>
  T next() {
    T value{};
    if (rest_.size() < sizeof value) {
      rest_ = {};
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return value;
  }
  std::span<const unsigned char> bytes(std::size_t count) {
    const auto taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::size_t left() const { return rest_.size(); }

 private:
  std::span<const unsigned char> rest_;
};

perf_event_attr sampling(std::uint32_t type, std::uint64_t config) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = type;
  attributes.config = config;
  attributes.disabled = 1;
  attributes.inherit = 1;
  return attributes;
}

void read_chain(Reader& reader, std::vector<std::uint64_t>& kernel,
                std::vector<std::uint64_t>& user) {
  kernel.clear();
  user.clear();
  std::vector<std::uint64_t>* current = nullptr;
  const auto count = reader.next<std::uint64_t>();
  for (std::uint64_t i = 0; i < count && reader.left() > 0; ++i) {
    const auto address = reader.next<std::uint64_t>();
    if (address >= PERF_CONTEXT_MAX) {  // no address: whose the next ones are
      current = address == PERF_CONTEXT_KERNEL ? &kernel
                : address == PERF_CONTEXT_USER ? &user
                                               : nullptr;
    } else if (current != nullptr) {
      current->push_back(address);
    }
  }
}

void read_state(Reader& reader, UserState& state) {
  const auto abi = reader.next<std::uint64_t>();
  std::array<std::uint64_t, 64> values{};
  if (abi != PERF_SAMPLE_REGS_ABI_NONE) {  // NONE: a thread of the kernel, or not to be had
    for (int i = 0; i < std::popcount(register_mask); ++i) {
      values[static_cast<std::size_t>(i)] = reader.next<std::uint64_t>();
    }
  }
  const auto dumped = reader.next<std::uint64_t>();
  const auto stack = reader.bytes(dumped);
  const auto valid = dumped > 0 ? reader.next<std::uint64_t>() : 0;
  if (abi != user_abi) return;  // 32 bits: frame pointers have to do
  for (const unsigned number : dwarf_registers) state.registers.push_back(values[place_of(number)]);
  state.pc = values[place_of(pc_register)];
  state.stack_pointer = values[place_of(stack_pointer_register)];
  state.stack = stack.first(std::min<std::size_t>(valid, stack.size()));
}

}  // namespace

Result<std::vector<pid_t>> threads_of(pid_t process) {
  const std::string folder = "/proc/" + std::to_string(process) + "/task";
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir(folder.c_str()), ::closedir);
  if (tasks == nullptr) return last_error("opendir(/proc/PID/task)");
  std::vector<pid_t> threads;
  while (const dirent* const entry = ::readdir(tasks.get())) {
    const std::string_view name = entry->d_name;
    pid_t thread = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), thread).ec == std::errc()) {
      threads.push_back(thread);
    }
  }
  return threads;
}

Result<ThreadEvents> ThreadEvents::open(const perf_event_attr& attributes,
                                        std::span<const pid_t> threads, std::size_t ring_pages) {
  ThreadEvents all;
  Error last{.operation = "perf_event_open", .errno_value = ESRCH};
  const long cpus = ::sysconf(_SC_NPROCESSORS_CONF);
  for (int cpu = 0; cpu < cpus; ++cpu) {
    int ring_fd = -1;  // the first event of this CPU, whose ring the others write to
    for (const pid_t thread : threads) {
      constexpr int no_group = -1;
      Fd event(static_cast<int>(::syscall(SYS_perf_event_open, &attributes, thread, cpu, no_group,
                                          PERF_FLAG_FD_CLOEXEC)));
      if (!event.is_open()) {
        last = {.operation = "perf_event_open", .errno_value = errno};
        if (errno == ESRCH) continue;           // the thread has ended
        if (errno == ENODEV && cpu > 0) break;  // this CPU is off
        return tl::unexpected(last);
      }
      if (ring_fd < 0) {
        Result<PerfRing> ring = PerfRing::map(event, ring_pages);
        if (!ring) return tl::unexpected(ring.error());
        all.rings_.push_back(std::move(*ring));
        ring_fd = event.get();
      } else if (::ioctl(event.get(), PERF_EVENT_IOC_SET_OUTPUT, ring_fd) != 0) {
        return last_error("ioctl(PERF_EVENT_IOC_SET_OUTPUT)");
      }
      all.events_.push_back(std::move(event));
    }
  }
  if (all.events_.empty()) return tl::unexpected(last);
  return all;
}

Result<void> ThreadEvents::start() {
  return control(PERF_EVENT_IOC_ENABLE);
}

Result<void> ThreadEvents::stop() {
  return control(PERF_EVENT_IOC_DISABLE);
}

Result<void> ThreadEvents::control(unsigned long request) {
  for (const Fd& event : events_) {
    if (::ioctl(event.get(), request, 0) != 0) return last_error("ioctl(PERF_EVENT_IOC)");
  }
  return {};
}

void ThreadEvents::drain(const Take& take) {
  for (PerfRing& ring : rings_) ring.drain(take);
}

std::uint64_t ThreadEvents::count() const {
  std::uint64_t sum = 0;
  for (const Fd& event : events_) {
    std::uint64_t value = 0;
    if (::read(event.get(), &value, sizeof value) == sizeof value) sum += value;
  }
  return sum;
}

Result<StackSampler> StackSampler::open(std::span<const pid_t> threads,
                                        const StackSamplerOptions& options) {
  const bool cycles = options.event == PerfEvent::Cycles;
  perf_event_attr attributes = cycles ? sampling(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES)
                                      : sampling(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK);
  attributes.freq = 1;
  attributes.sample_freq = options.frequency_hz;
  attributes.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_CALLCHAIN;
  attributes.exclude_kernel = options.kernel ? 0 : 1;
  attributes.exclude_callchain_kernel = attributes.exclude_kernel;
  attributes.exclude_hv = 1;
  const bool with_state = options.stack_bytes > 0 && !dwarf_registers.empty();
  if (with_state) {
    attributes.sample_type |= PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER;
    attributes.sample_regs_user = register_mask;
    attributes.sample_stack_user = options.stack_bytes;
  }
  // 4 MiB a CPU hold half a second of stacks; without CAP_IPC_LOCK 512 KiB are what
  // kernel.perf_event_mlock_kb allows by default.
  constexpr std::size_t wanted_pages = 1024;
  constexpr std::size_t allowed_pages = 128;
  Result<ThreadEvents> events = ThreadEvents::open(attributes, threads, wanted_pages);
  if (!events && std::string_view(events.error().operation) == "mmap") {
    events = ThreadEvents::open(attributes, threads, allowed_pages);
  }
  if (!events) return tl::unexpected(events.error());
  return StackSampler(std::move(*events), with_state);
}

void StackSampler::drain(const std::function<void(const StackSample& sample)>& into) {
  events_.drain([&](std::span<const unsigned char> record) { take(record, into); });
}

// Bodies of linux/perf_event.h: TID, CALLCHAIN, REGS_USER, STACK_USER, in that order.
void StackSampler::take(std::span<const unsigned char> record,
                        const std::function<void(const StackSample& sample)>& into) {
  Reader reader(record);
  const auto header = reader.next<perf_event_header>();
  if (header.type == PERF_RECORD_LOST) {
    (void)reader.next<std::uint64_t>();  // the event's id
    lost_ += reader.next<std::uint64_t>();
    return;
  }
  // More interrupts than the kernel takes: at least one sample is missing until it goes on.
  if (header.type == PERF_RECORD_THROTTLE) ++lost_;
  if (header.type != PERF_RECORD_SAMPLE) return;
  StackSample sample;
  sample.process = static_cast<pid_t>(reader.next<std::uint32_t>());
  sample.thread = static_cast<pid_t>(reader.next<std::uint32_t>());
  read_chain(reader, kernel_, user_);
  sample.kernel = kernel_;
  sample.user = user_;
  if (with_state_) read_state(reader, sample.state);
  into(sample);
}

Result<SyscallSampler> SyscallSampler::open(std::span<const pid_t> threads, std::uint64_t every) {
  const Result<std::uint64_t> id = id_of({.system = "raw_syscalls", .name = "sys_exit"});
  if (!id) return tl::unexpected(id.error());
  perf_event_attr attributes = sampling(PERF_TYPE_TRACEPOINT, *id);
  attributes.sample_period = every;
  attributes.sample_type = PERF_SAMPLE_RAW;
  constexpr std::size_t ring_pages = 128;
  Result<ThreadEvents> events = ThreadEvents::open(attributes, threads, ring_pages);
  if (!events) return tl::unexpected(events.error());
  return SyscallSampler(std::move(*events));
}

// The tracepoint's own record, as events/raw_syscalls/sys_exit/format has it: 8 bytes that all have
// (type, flags, pid), then the call's number and what it returned.
void SyscallSampler::drain(std::vector<SyscallSample>& into) {
  events_.drain([&](std::span<const unsigned char> record) {
    Reader reader(record);
    if (reader.next<perf_event_header>().type != PERF_RECORD_SAMPLE) return;
    (void)reader.next<std::uint32_t>();  // the size of what follows
    (void)reader.bytes(8);
    const auto number = reader.next<std::int64_t>();
    into.push_back({.number = number, .result = reader.next<std::int64_t>()});
  });
}

}  // namespace pagewire::sys
