// The functions of the running kernel and its modules, by address: /proc/kallsyms.
//
// Owns its table; nothing refers to the file once it is loaded. The file has no sizes, so a
// function is taken to reach up to the next one. Addresses are shown to whoever
// kernel.kptr_restrict, kernel.perf_event_paranoid and CAP_SYSLOG allow; for others they are all
// zero. Loading is for before or after a measurement: the kernel writes 5 MB, 60 ms of CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagewire::sys {

struct KernelFunction {
  std::string_view name;    ///< as long as the table lives
  std::string_view module;  ///< "" for the kernel itself
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< of the next function
};

class KernelSymbols {
 public:
  /// Errors: EACCES (the addresses are hidden from us), ENOENT (no CONFIG_KALLSYMS), as open(2).
  static Result<KernelSymbols> load();
  /// The same from text in the file's form: "ffffffff81000000 T _stext", a tab and "[module]"
  /// behind it for a module's. Errors: EACCES (every address is zero), EINVAL (no function in it).
  static Result<KernelSymbols> parse(std::string_view text);

  /// The function that holds `address`; nullopt below the first and beyond the last one.
  std::optional<KernelFunction> find(std::uint64_t address) const;
  /// nullopt when there is none of that name; the first of several static ones.
  std::optional<KernelFunction> find_name(std::string_view name) const;
  std::size_t size() const { return symbols_.size(); }

 private:
  // Offsets, not views: the strings move with the table.
  struct Symbol {
    std::uint64_t address;
    std::uint32_t name_at;
    std::uint16_t name_size;
    std::uint16_t module_size;  // behind the name
  };

  void add_line(std::string_view line);
  void sort_and_drop_aliases();
  KernelFunction function_at(std::size_t index) const;

  std::vector<Symbol> symbols_;  // by address, one for each
  std::string names_;
  std::size_t hidden_ = 0;  // lines whose address is zero
};

}  // namespace pagewire::sys
