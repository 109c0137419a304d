// The constants that the check files define, one each. Only registry.cpp names them.
#pragma once

#include "doctor/check.h"

namespace pagewire::doctor {

extern const Check kernel_version_check;
extern const Check io_uring_check;
extern const Check zero_copy_calls_check;
extern const Check msg_zerocopy_check;
extern const Check cachestat_check;
extern const Check rwf_nowait_check;
extern const Check kernel_tls_check;
extern const Check tls_counters_check;
extern const Check key_update_check;
extern const Check pipes_check;
extern const Check optmem_check;
extern const Check tcp_buffers_check;
extern const Check backlog_check;
extern const Check descriptors_check;
extern const Check congestion_check;
extern const Check huge_pages_check;
extern const Check irq_accounting_check;
extern const Check syscalls_check;
extern const Check net_driver_check;
extern const Check net_link_check;
extern const Check net_scatter_gather_check;
extern const Check net_checksum_check;
extern const Check net_segmentation_check;
extern const Check net_tls_offload_check;
extern const Check net_queues_check;
extern const Check net_rings_check;
extern const Check net_steering_check;
extern const Check fs_type_check;
extern const Check fs_paths_check;
extern const Check fs_cold_reads_check;
extern const Check fs_large_folios_check;
extern const Check fs_direct_reads_check;
extern const Check fs_space_check;
extern const Check copy_bandwidth_check;
extern const Check aes_check;
extern const Check numa_check;
extern const Check cgroup_cpu_check;
extern const Check cgroup_memory_check;
extern const Check steal_check;

}  // namespace pagewire::doctor
