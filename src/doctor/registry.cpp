// The ordered array of checks. A new one is its file, a line in registry.h, a line here, and a
// section in docs/DOCTOR.md under its name. Some leave what later ones need (check.h): "kernel-tls"
// stands before what is about TLS, but behind "tls-counters", which would count its connections;
// "cold-reads" before "large-folios", which looks at what it read.
#include "doctor/registry.h"

#include <array>

namespace pagewire::doctor {

namespace {

constexpr std::array all_checks{
    &kernel_version_check,
    &io_uring_check,
    &zero_copy_calls_check,
    &msg_zerocopy_check,
    &cachestat_check,
    &rwf_nowait_check,
    &tls_counters_check,
    &kernel_tls_check,
    &key_update_check,
    &pipes_check,
    &optmem_check,
    &tcp_buffers_check,
    &backlog_check,
    &descriptors_check,
    &congestion_check,
    &huge_pages_check,
    &irq_accounting_check,
    &syscalls_check,
    &net_driver_check,
    &net_link_check,
    &net_scatter_gather_check,
    &net_checksum_check,
    &net_segmentation_check,
    &net_tls_offload_check,
    &net_queues_check,
    &net_rings_check,
    &net_steering_check,
    &fs_type_check,
    &fs_paths_check,
    &fs_cold_reads_check,
    &fs_large_folios_check,
    &fs_direct_reads_check,
    &fs_space_check,
    &copy_bandwidth_check,
    &aes_check,
    &numa_check,
    &cgroup_cpu_check,
    &cgroup_memory_check,
    &steal_check,
};

}  // namespace

std::span<const Check* const> checks() {
  return all_checks;
}

}  // namespace pagewire::doctor
