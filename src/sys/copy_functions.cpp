#include "sys/copy_functions.h"

#include <algorithm>
#include <array>

namespace pagewire::sys {

namespace {

// Between user and kernel memory, by way of an iov_iter (lib/iov_iter.c), oldest names last.
constexpr auto by_iterator = std::to_array<std::string_view>({
    "_copy_to_iter",
    "_copy_from_iter",
    "_copy_from_iter_nocache",
    "_copy_from_iter_flushcache",
    "_copy_mc_to_iter",
    "copy_to_iter",
    "copy_from_iter",
    "simple_copy_to_iter",
    "copy_page_to_iter",
    "copy_page_from_iter",
    "copy_page_to_iter_nofault",
    "copy_folio_from_iter_atomic",
    "copy_page_from_iter_atomic",
    "copyin",
    "copyout",
    "_copy_from_iter_full",
    "_copy_from_iter_full_nocache",
    "copy_page_to_iter_iovec",
    "copy_page_from_iter_iovec",
    "iov_iter_copy_from_user_atomic",
    "memcpy_from_iter",
    "memcpy_to_iter",
    "copy_to_user_iter",
    "copy_from_user_iter",
});

// What those come down to, on one architecture or another.
constexpr auto by_architecture = std::to_array<std::string_view>({
    "rep_movs_alternative",
    "_copy_to_user",
    "_copy_from_user",
    "__copy_user_nocache",
    "copy_user_generic",
    "copy_user_generic_string",
    "copy_user_generic_unrolled",
    "copy_user_enhanced_fast_string",
    "copy_user_fast_string",
    "raw_copy_to_user",
    "raw_copy_from_user",
    "copy_mc_to_user",
    "copy_mc_fragile",
    "copy_mc_enhanced_fast_string",
    "__arch_copy_to_user",
    "__arch_copy_from_user",
    "__asm_copy_to_user",
    "__asm_copy_from_user",
    "__copy_tofrom_user",
});

// Inside the kernel, and pages that are zeroed before they are given to user space.
constexpr auto of_kernel_memory = std::to_array<std::string_view>({
    "memcpy",
    "__memcpy",
    "__pi_memcpy",
    "memcpy_orig",
    "memcpy_erms",
    "memmove",
    "__memmove",
    "__pi_memmove",
    "copy_page",
    "copy_page_regs",
    "copy_highpage",
    "clear_page",
    "clear_page_erms",
    "clear_page_rep",
    "clear_page_orig",
    "skb_copy_bits",
});

// Copying and adding up at once, for cards without checksum offload.
constexpr auto with_checksum = std::to_array<std::string_view>({
    "csum_and_copy_to_iter",
    "csum_and_copy_from_iter",
    "csum_and_copy_from_iter_full",
    "csum_and_copy_to_user",
    "csum_and_copy_from_user",
    "csum_partial_copy_generic",
    "csum_partial_copy_nocheck",
    "skb_copy_and_csum_bits",
});

template <class Names>
bool has(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

bool is_copy_function(std::string_view name) {
  name = name.substr(0, name.find('.'));
  return has(by_iterator, name) || has(by_architecture, name) || has(of_kernel_memory, name) ||
         has(with_checksum, name);
}

}  // namespace pagewire::sys
