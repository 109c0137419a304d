// Samples gathered to stacks; private to the room.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "profile/profile.h"
#include "sys/kallsyms.h"

namespace pagewire::profile {

/// Interns frames and counts stacks. What it makes goes into a Report.
class Stacks {
 public:
  /// `innermost_first`: not empty.
  void add(const std::vector<Frame>& innermost_first);
  std::uint64_t samples() const { return samples_; }
  /// Frames, stacks, categories and what was copied in which system call.
  void write_to(Report& report) const;

 private:
  std::map<Frame, std::uint32_t> places_;
  std::vector<Frame> frames_;
  std::map<std::vector<std::uint32_t>, std::uint64_t> counts_;  // outermost first
  std::uint64_t samples_ = 0;
};

/// By kallsyms; "[hidden]" without a table.
Frame kernel_frame(const sys::KernelSymbols* symbols, std::uint64_t address);

}  // namespace pagewire::profile
