#include "sys/perf.h"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

Result<Fd> perf_event_open(const perf_event_attr& attributes, pid_t thread) {
  constexpr int any_cpu = -1;
  constexpr int no_group = -1;
  const long fd =
      ::syscall(SYS_perf_event_open, &attributes, thread, any_cpu, no_group, PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) return last_error("perf_event_open");
  return Fd(static_cast<int>(fd));
}

perf_event_attr attributes_of(std::uint32_t type, std::uint64_t config) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = type;
  attributes.config = config;
  attributes.disabled = 1;
  return attributes;
}

perf_event_attr counting(std::uint32_t type, std::uint64_t config) {
  perf_event_attr attributes = attributes_of(type, config);
  attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  return attributes;
}

// A group of one: the flag argument, which would reach the rest of a group, stays 0.
Result<void> control(const Fd& event, unsigned long request) {
  if (::ioctl(event.get(), request, 0) != 0) return last_error("ioctl(PERF_EVENT_IOC)");
  return {};
}

}  // namespace

Result<PerfCounter> PerfCounter::open(PerfEvent event, pid_t thread) {
  std::uint32_t type = PERF_TYPE_HARDWARE;
  std::uint64_t config = 0;
  switch (event) {
    case PerfEvent::Cycles:
      config = PERF_COUNT_HW_CPU_CYCLES;
      break;
    case PerfEvent::LlcLoadMisses:
      type = PERF_TYPE_HW_CACHE;
      config = PERF_COUNT_HW_CACHE_LL | (PERF_COUNT_HW_CACHE_OP_READ << 8) |
               (PERF_COUNT_HW_CACHE_RESULT_MISS << 16);
      break;
    case PerfEvent::CpuClock:
      type = PERF_TYPE_SOFTWARE;
      config = PERF_COUNT_SW_CPU_CLOCK;
      break;
    case PerfEvent::Tracepoint:  // has an id: open_tracepoint
      return failure("perf_event_open", EINVAL);
  }
  Result<Fd> fd = perf_event_open(counting(type, config), thread);
  if (!fd) return tl::unexpected(fd.error());
  return PerfCounter(std::move(*fd));
}

Result<PerfCounter> PerfCounter::open_tracepoint(std::uint64_t id, pid_t thread) {
  Result<Fd> fd = perf_event_open(counting(PERF_TYPE_TRACEPOINT, id), thread);
  if (!fd) return tl::unexpected(fd.error());
  return PerfCounter(std::move(*fd));
}

Result<void> PerfCounter::start() {
  const Result<CounterReading> before = read_total();
  if (!before) return tl::unexpected(before.error());
  before_ = *before;
  return control(fd_, PERF_EVENT_IOC_ENABLE);
}

Result<void> PerfCounter::stop() {
  return control(fd_, PERF_EVENT_IOC_DISABLE);
}

Result<CounterReading> PerfCounter::read() const {
  const Result<CounterReading> total = read_total();
  if (!total) return total;
  return CounterReading{.count = total->count - before_.count,
                        .enabled_ns = total->enabled_ns - before_.enabled_ns,
                        .running_ns = total->running_ns - before_.running_ns};
}

Result<CounterReading> PerfCounter::read_total() const {
  std::array<std::uint64_t, 3> values{};
  const ssize_t n = ::read(fd_.get(), values.data(), sizeof values);
  if (n < 0) return last_error("read");
  // 0: the event is in an error state, which only happens to pinned ones and to those of a thread
  // whose memory for events ran out.
  if (n != sizeof values) return failure("read", ENODATA);
  return CounterReading{.count = values[0], .enabled_ns = values[1], .running_ns = values[2]};
}

Result<CpuSampler> CpuSampler::open(pid_t thread, const SamplerOptions& options) {
  perf_event_attr attributes = attributes_of(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK);
  attributes.sample_type = PERF_SAMPLE_IP;
  attributes.sample_period = options.period_ns;
  Result<Fd> fd = perf_event_open(attributes, thread);
  if (!fd) return tl::unexpected(fd.error());
  Result<PerfRing> ring = PerfRing::map(*fd, options.ring_pages);
  if (!ring) return tl::unexpected(ring.error());
  return CpuSampler(std::move(*fd), std::move(*ring), options.period_ns);
}

Result<void> CpuSampler::start() {
  return control(fd_, PERF_EVENT_IOC_ENABLE);
}

Result<void> CpuSampler::stop() {
  return control(fd_, PERF_EVENT_IOC_DISABLE);
}

void CpuSampler::drain(std::vector<CpuSample>& into) {
  ring_.drain([&](std::span<const unsigned char> record) { records_.take(record.data(), into); });
}

// Bodies of linux/perf_event.h, without PERF_SAMPLE_ID and the like, which are not asked for.
void SampleRecords::take(const unsigned char* record, std::vector<CpuSample>& into) {
  perf_event_header header{};
  std::memcpy(&header, record, sizeof header);
  const unsigned char* const body = record + sizeof header;
  struct {
    std::uint64_t id;
    std::uint64_t lost;
  } loss{};
  std::uint64_t at_ns = 0;
  switch (header.type) {
    case PERF_RECORD_LOST:
      std::memcpy(&loss, body, sizeof loss);
      lost_ += loss.lost;
      return;
    case PERF_RECORD_THROTTLE:
      std::memcpy(&throttled_at_ns_, body, sizeof throttled_at_ns_);
      ++lost_;  // at least; how many more, its end tells
      return;
    case PERF_RECORD_UNTHROTTLE:
      std::memcpy(&at_ns, body, sizeof at_ns);
      if (throttled_at_ns_ != 0 && at_ns > throttled_at_ns_) {
        const std::uint64_t missed = (at_ns - throttled_at_ns_) / period_ns_;
        lost_ += missed > 0 ? missed - 1 : 0;
      }
      throttled_at_ns_ = 0;
      return;
    case PERF_RECORD_SAMPLE:
      break;
    default:
      return;  // comm, mmap and the like are not asked for
  }
  const unsigned mode = header.misc & PERF_RECORD_MISC_CPUMODE_MASK;
  if (mode != PERF_RECORD_MISC_KERNEL && mode != PERF_RECORD_MISC_USER) return;
  CpuSample sample{.address = 0, .in_kernel = mode == PERF_RECORD_MISC_KERNEL};
  std::memcpy(&sample.address, body, sizeof sample.address);
  into.push_back(sample);
}

std::string reason_for(PerfEvent event, const Error& error) {
  const bool hardware = event == PerfEvent::Cycles || event == PerfEvent::LlcLoadMisses;
  const std::string said = std::string(error.operation) + " says ";
  switch (error.errno_value) {
    case ENOENT:  // no driver of a PMU knows the event
      return (hardware ? "no PMU: " : "not in this kernel: ") + said + "ENOENT";
    case EOPNOTSUPP:  // there is a PMU, and it has no such event, or no interrupt to sample by
      return "not in this PMU: " + said + "EOPNOTSUPP";
    case ENODEV:  // the CPU has another kind of PMU than the event is for
      return "not in this PMU: " + said + "ENODEV";
    case ENOSYS:  // a kernel without CONFIG_PERF_EVENTS, or a filter that says so
      return "no perf events in this kernel: " + said + "ENOSYS";
    case EACCES:   // paranoid, or the process belongs to another user
    case EPERM: {  // the same from older kernels; also a seccomp filter, as containers have
      const std::string paranoid = first_line_of("/proc/sys/kernel/perf_event_paranoid");
      return "no permission: " + said + (error.errno_value == EACCES ? "EACCES" : "EPERM") +
             " (kernel.perf_event_paranoid is " + (paranoid.empty() ? "unknown" : paranoid) +
             "; needs CAP_PERFMON, and a container's seccomp filter must allow it)";
    }
    case EBUSY:  // somebody else holds the PMU for himself
      return "the PMU is taken: " + said + "EBUSY";
    case ESRCH:  // the thread has ended
      return "the process has ended: " + said + "ESRCH";
    default:  // EMFILE, ENOMEM, ENOSPC (no free counter), EINVAL (an older kernel)
      return describe(error);
  }
}

}  // namespace pagewire::sys
