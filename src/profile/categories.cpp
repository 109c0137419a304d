// Patterns: a whole name, "begin*", or "*within*". The first table that has the name decides, so a
// name that would fit two stands in the earlier one on purpose. Names are those of Linux 5.10 to
// 6.18 on x86-64 and arm64; what is new in a kernel falls to its caller, which is seldom wrong.
#include "profile/categories.h"

#include <algorithm>
#include <array>

#include "sys/copy_functions.h"

namespace pagewire::profile {

namespace {

using Names = std::span<const std::string_view>;

// Before the copy functions, among which bench counts pages that are zeroed.
constexpr auto zeroing = std::to_array<std::string_view>({"clear_page*", "clear_huge_page*"});

// Checks of what is about to be copied are part of the copy.
constexpr auto copying = std::to_array<std::string_view>(
    {"__check_object_size*", "check_heap_object*", "__check_heap_object*", "check_stack_object*",
     "fault_in_iov_iter*", "fault_in_readable*", "copy_user*"});

constexpr auto checksums = std::to_array<std::string_view>(
    {"csum_*", "do_csum", "__skb_checksum*", "skb_checksum*", "ip_compute_csum", "__csum*",
     "tcp_v4_send_check", "tcp_v6_send_check"});

constexpr auto encryption = std::to_array<std::string_view>(
    {"tls_*", "aes*", "gcm*", "crypto_*", "aead_*", "ghash*", "chacha*", "poly1305*", "gf128*",
     "clmul*", "_aesni*", "__aes*", "vaes*", "generic_gcmaes*", "gcmaes*", "bpf_exec_tx_verdict",
     "scatterwalk*", "*_gcm_*"});

constexpr auto splicing =
    std::to_array<std::string_view>({"*splice*", "*sendfile*", "pipe_*", "*pipe_buf*",
                                     "alloc_pipe_info", "do_tee", "anon_pipe*", "link_pipe"});

constexpr auto page_cache = std::to_array<std::string_view>({"filemap_*",
                                                             "__filemap*",
                                                             "folio*",
                                                             "__folio*",
                                                             "xas_*",
                                                             "__xas*",
                                                             "xa_load",
                                                             "find_get_*",
                                                             "pagecache_*",
                                                             "page_cache_*",
                                                             "read_pages",
                                                             "mark_page_accessed",
                                                             "workingset_*",
                                                             "lru_*",
                                                             "force_page_cache*",
                                                             "ondemand_readahead",
                                                             "generic_file_read_iter",
                                                             "*_file_read_iter",
                                                             "shmem_get_folio*",
                                                             "release_pages",
                                                             "next_uptodate_*",
                                                             "page_mapping",
                                                             "__page_cache*",
                                                             "copy_folio_to_iter"});

constexpr auto memory = std::to_array<std::string_view>({"kmem_cache*",
                                                         "kmalloc*",
                                                         "__kmalloc*",
                                                         "kfree*",
                                                         "__kfree*",
                                                         "slab_*",
                                                         "__slab*",
                                                         "___slab*",
                                                         "alloc_pages*",
                                                         "__alloc_pages*",
                                                         "alloc_frozen*",
                                                         "__alloc_frozen*",
                                                         "get_page_from_freelist",
                                                         "__free_pages*",
                                                         "free_unref*",
                                                         "free_frozen*",
                                                         "__free_frozen*",
                                                         "rmqueue*",
                                                         "__rmqueue*",
                                                         "__alloc_skb",
                                                         "alloc_skb*",
                                                         "__napi_alloc*",
                                                         "napi_alloc*",
                                                         "napi_skb_cache*",
                                                         "build_skb*",
                                                         "skb_release*",
                                                         "consume_skb*",
                                                         "__consume*",
                                                         "skb_free*",
                                                         "page_frag*",
                                                         "__page_frag*",
                                                         "skb_page_frag*",
                                                         "sk_page_frag*",
                                                         "memset*",
                                                         "__memset*",
                                                         "handle_mm_fault",
                                                         "__handle_mm_fault",
                                                         "do_anonymous_page",
                                                         "do_user_addr_fault",
                                                         "exc_page_fault",
                                                         "asm_exc_page_fault",
                                                         "mem_cgroup*",
                                                         "__mem_cgroup*",
                                                         "obj_cgroup*",
                                                         "refill_*",
                                                         "memcg_*",
                                                         "__memcg*",
                                                         "put_page",
                                                         "__put_page",
                                                         "free_pages*",
                                                         "zap_*",
                                                         "unmap_*",
                                                         "mmap_region",
                                                         "do_mmap",
                                                         "skb_head*",
                                                         "___cache_free",
                                                         "cache_alloc*",
                                                         "new_slab",
                                                         "unpin_user*"});

constexpr auto scheduling = std::to_array<std::string_view>({"schedule*",
                                                             "__schedule*",
                                                             "try_to_wake_up",
                                                             "ttwu_*",
                                                             "wake_up*",
                                                             "__wake_up*",
                                                             "*wake_function",
                                                             "ep_*",
                                                             "*epoll*",
                                                             "enqueue_*",
                                                             "dequeue_*",
                                                             "pick_*",
                                                             "__pick*",
                                                             "update_curr*",
                                                             "update_load*",
                                                             "update_rq*",
                                                             "select_task_rq*",
                                                             "select_idle*",
                                                             "*send_call_func*",
                                                             "*resched*",
                                                             "finish_task_switch*",
                                                             "switch_*",
                                                             "__switch_to*",
                                                             "prepare_task*",
                                                             "sock_def_readable",
                                                             "sock_def_write*",
                                                             "sk_stream_write_space",
                                                             "sk_stream_wait*",
                                                             "sk_wait*",
                                                             "tick_*",
                                                             "hrtimer*",
                                                             "__hrtimer*",
                                                             "futex*",
                                                             "do_futex",
                                                             "__futex*",
                                                             "poll_*",
                                                             "do_sys_poll",
                                                             "do_poll*",
                                                             "do_select",
                                                             "core_sys_select",
                                                             "pollwake",
                                                             "*send_IPI*",
                                                             "*sysvec_call_function*",
                                                             "*sysvec_apic_timer*",
                                                             "smp_call*",
                                                             "generic_smp*",
                                                             "__smp_call*",
                                                             "generic_exec_single",
                                                             "io_wq*",
                                                             "io_cqring*",
                                                             "*wait_queue*",
                                                             "place_entity",
                                                             "set_next_*",
                                                             "put_prev_*",
                                                             "reweight_*",
                                                             "__enqueue*",
                                                             "__dequeue*",
                                                             "psi_*",
                                                             "sched_*",
                                                             "native_sched*",
                                                             "kick_process",
                                                             "native_write_msr",
                                                             "do_nanosleep",
                                                             "cpuacct*"});

// Taking in a vector of buffers costs each call the same, however many bytes it moves.
constexpr auto entries = std::to_array<std::string_view>(
    {"entry_*",        "do_syscall_64",   "x64_sys_call",    "__x64_sys_*",
     "__arm64_sys_*",  "syscall_*",       "__syscall*",      "exit_to_user*",
     "el0_*",          "el0t_*",          "invoke_syscall*", "do_el0_svc",
     "fdget*",         "__fdget*",        "fget*",           "__fget*",
     "fput*",          "__fput*",         "seccomp*",        "__seccomp*",
     "__secure_comp*", "audit_*",         "__audit*",        "srso_*",
     "retbleed*",      "ret_from_fork*",  "arch_exit_*",     "io_issue_sqe",
     "io_submit*",     "io_uring_enter*", "__do_sys_*",      "__se_sys_*",
     "import_iovec*",  "__import_iovec*", "import_ubuf*",    "copy_iovec_from_user"});

// Softirqs as such are not among them: one that an interrupt began is about timers as often.
constexpr auto sockets = std::to_array<std::string_view>({"tcp_*",
                                                          "__tcp_*",
                                                          "ip_*",
                                                          "__ip_*",
                                                          "ip6_*",
                                                          "inet_*",
                                                          "inet6_*",
                                                          "ipv4_*",
                                                          "ipv6_*",
                                                          "sock_*",
                                                          "__sock_*",
                                                          "skb_*",
                                                          "__skb_*",
                                                          "pskb_*",
                                                          "__pskb*",
                                                          "dev_*",
                                                          "__dev_*",
                                                          "sch_*",
                                                          "qdisc_*",
                                                          "__qdisc*",
                                                          "fq_*",
                                                          "pfifo*",
                                                          "nf_*",
                                                          "ipt_*",
                                                          "nft_*",
                                                          "netif_*",
                                                          "__netif*",
                                                          "validate_xmit*",
                                                          "loopback_xmit",
                                                          "veth_*",
                                                          "virtnet*",
                                                          "start_xmit",
                                                          "xmit_*",
                                                          "sk_*",
                                                          "__sk_*",
                                                          "lock_sock*",
                                                          "release_sock",
                                                          "__release_sock",
                                                          "bbr_*",
                                                          "cubictcp*",
                                                          "bictcp*",
                                                          "reno_*",
                                                          "net_*",
                                                          "napi_*",
                                                          "__napi*",
                                                          "process_backlog",
                                                          "eth_*",
                                                          "neigh_*",
                                                          "virtqueue*",
                                                          "vring*",
                                                          "vp_notify*",
                                                          "iowrite*",
                                                          "__sys_send*",
                                                          "____sys_send*",
                                                          "___sys_send*",
                                                          "__sys_recv*",
                                                          "____sys_recv*",
                                                          "___sys_recv*",
                                                          "mlx*",
                                                          "ixgbe*",
                                                          "i40e*",
                                                          "ice_*",
                                                          "ena_*",
                                                          "bnxt*",
                                                          "gve_*",
                                                          "conntrack*",
                                                          "enqueue_to_backlog",
                                                          "rps_*",
                                                          "get_rps_cpu",
                                                          "security_sock*",
                                                          "apparmor_sock*",
                                                          "selinux_sock*",
                                                          "__local_bh_enable*",
                                                          "rtt_*",
                                                          "dst_*",
                                                          "__dst*",
                                                          "fib_*",
                                                          "mptcp_*",
                                                          "__inet*",
                                                          "sendmsg*",
                                                          "___sys_sendmsg"});

// Anywhere outside of network code: it is about packets that came in.
constexpr auto softirq_roots = std::to_array<std::string_view>(
    {"net_rx_action", "__napi_poll", "process_backlog", "napi_threaded_poll*"});
constexpr auto receiving_calls = std::to_array<std::string_view>(
    {"tcp_recvmsg*", "sock_recvmsg*", "__sys_recv*", "____sys_recvmsg", "sock_read_iter",
     "tcp_splice_read", "inet_recvmsg", "inet6_recvmsg", "io_recv*"});

constexpr auto allocators = std::to_array<std::string_view>(
    {"malloc*", "_int_malloc", "free", "cfree*", "_int_free*", "calloc*", "realloc*",
     "_int_realloc", "malloc_consolidate", "__libc_malloc*", "__libc_free*", "__libc_calloc",
     "je_*", "tc_*", "mi_*", "unlink_chunk*", "sysmalloc", "_mid_memalign*", "posix_memalign"});

// Where a program has them inside, as Go's and statically linked ones do; else see below.
constexpr auto user_encryption = std::to_array<std::string_view>(
    {"aesni_*", "aes_gcm*", "aes_hw_*", "gcm_*", "CRYPTO_gcm*", "ChaCha20_*", "chacha20_*",
     "poly1305_*", "Poly1305*", "EVP_*", "SSL_*", "ssl3_*", "tls13_*", "crypto/*",
     "vendor/golang.org/x/crypto/*"});
constexpr auto user_encryption_libraries = std::to_array<std::string_view>(
    {"libcrypto*", "libssl*", "libgnutls*", "libnettle*", "libhogweed*", "libmbed*", "libwolfssl*",
     "libnss3*", "libfreebl*", "libsoftokn*", "libgcrypt*", "libs2n*"});

constexpr auto entry_prefixes =
    std::to_array<std::string_view>({"__x64_sys_", "__arm64_sys_", "__ia32_sys_"});

// The entry itself has gone from the stack where the compiler made its last call a jump.
struct InnerEntry {
  std::string_view function;
  std::string_view call;
};
constexpr std::array inner_entries{
    InnerEntry{"ksys_read", "read"},        InnerEntry{"ksys_write", "write"},
    InnerEntry{"do_readv", "readv"},        InnerEntry{"do_writev", "writev"},
    InnerEntry{"do_preadv", "preadv"},      InnerEntry{"do_pwritev", "pwritev"},
    InnerEntry{"ksys_pread64", "pread64"},  InnerEntry{"ksys_pwrite64", "pwrite64"},
    InnerEntry{"__sys_sendto", "sendto"},   InnerEntry{"__sys_recvfrom", "recvfrom"},
    InnerEntry{"__sys_sendmsg", "sendmsg"}, InnerEntry{"__sys_recvmsg", "recvmsg"},
    InnerEntry{"do_sendfile", "sendfile"},  InnerEntry{"do_splice", "splice"},
    InnerEntry{"io_issue_sqe", "io_uring"},
};

bool fits(std::string_view pattern, std::string_view name) {
  const bool open_begin = pattern.starts_with('*');
  const bool open_end = pattern.ends_with('*');
  if (open_begin && open_end) return name.find(pattern.substr(1, pattern.size() - 2)) != name.npos;
  if (open_begin) return name.ends_with(pattern.substr(1));
  if (open_end) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

bool has(Names names, std::string_view name) {
  return std::ranges::any_of(names, [name](std::string_view each) { return fits(each, name); });
}

struct Table {
  Names names;
  Category category;
};
constexpr std::array tables{
    Table{zeroing, Category::Memory},        Table{copying, Category::Copy},
    Table{checksums, Category::Checksum},    Table{encryption, Category::Tls},
    Table{scheduling, Category::Scheduling}, Table{splicing, Category::Splice},
    Table{page_cache, Category::PageCache},  Table{memory, Category::Memory},
    Table{entries, Category::SyscallEntry},  Table{sockets, Category::TcpSend},
};

Category category_of_user_frame(const Frame& frame) {
  const bool encrypts =
      has(user_encryption_libraries, frame.module) || has(user_encryption, frame.function);
  if (encrypts) return Category::Tls;
  return has(allocators, frame.function) ? Category::Memory : Category::Program;
}

/// Network code is sending, unless a frame outside of it says otherwise.
Category direction_of(std::span<const Frame* const> outer) {
  for (const Frame* const frame : outer) {
    if (!frame->in_kernel) break;
    if (has(softirq_roots, frame->function)) return Category::ReceiveSoftirq;
    if (has(receiving_calls, frame->function)) return Category::TcpReceive;
  }
  return Category::TcpSend;
}

}  // namespace

std::optional<Category> category_of_kernel_function(std::string_view name) {
  name = name.substr(0, name.find('.'));  // what the compiler added
  if (!has(zeroing, name) && sys::is_copy_function(name)) return Category::Copy;
  for (const Table& table : tables) {
    if (has(table.names, name)) return table.category;
  }
  return std::nullopt;
}

Category categorize(std::span<const Frame* const> innermost_first) {
  if (innermost_first.empty()) return Category::OtherKernel;
  if (!innermost_first.front()->in_kernel) return category_of_user_frame(*innermost_first.front());
  for (std::size_t i = 0; i < innermost_first.size(); ++i) {
    if (!innermost_first[i]->in_kernel) break;
    const auto category = category_of_kernel_function(innermost_first[i]->function);
    if (!category) continue;
    return *category == Category::TcpSend ? direction_of(innermost_first.subspan(i)) : *category;
  }
  return Category::OtherKernel;
}

std::string syscall_of(std::span<const Frame* const> innermost_first) {
  for (const Frame* const frame : innermost_first) {
    if (!frame->in_kernel) break;
    const std::string_view name = frame->function;
    for (const std::string_view prefix : entry_prefixes) {
      if (!name.starts_with(prefix)) continue;
      const std::string_view call = name.substr(prefix.size());
      return std::string(call == "sendfile64" ? "sendfile" : call);
    }
    const auto found = std::ranges::find(inner_entries, name, &InnerEntry::function);
    if (found != inner_entries.end()) return std::string(found->call);
  }
  return {};
}

std::string_view name(Category category) {
  switch (category) {
    case Category::Copy:
      return "copy";
    case Category::PageCache:
      return "page_cache";
    case Category::Splice:
      return "splice";
    case Category::TcpSend:
      return "tcp_send";
    case Category::TcpReceive:
      return "tcp_receive";
    case Category::ReceiveSoftirq:
      return "receive_softirq";
    case Category::Checksum:
      return "checksum";
    case Category::Tls:
      return "tls";
    case Category::Memory:
      return "memory";
    case Category::Scheduling:
      return "scheduling";
    case Category::SyscallEntry:
      return "syscall_entry";
    case Category::OtherKernel:
      return "other_kernel";
    case Category::Program:
      return "program";
  }
  return "";
}

std::string_view title(Category category) {
  switch (category) {
    case Category::Copy:
      return "copying bytes";
    case Category::PageCache:
      return "page-cache lookup";
    case Category::Splice:
      return "splice machinery";
    case Category::TcpSend:
      return "TCP send";
    case Category::TcpReceive:
      return "TCP receive";
    case Category::ReceiveSoftirq:
      return "receive softirq";
    case Category::Checksum:
      return "checksums";
    case Category::Tls:
      return "TLS encryption";
    case Category::Memory:
      return "memory allocation";
    case Category::Scheduling:
      return "wake-ups, scheduling";
    case Category::SyscallEntry:
      return "system call entry";
    case Category::OtherKernel:
      return "other kernel code";
    case Category::Program:
      return "the program's own code";
  }
  return "";
}

}  // namespace pagewire::profile
