#include "profile/stacks.h"

#include <algorithm>

#include "profile/categories.h"

namespace pagewire::profile {

void Stacks::add(const std::vector<Frame>& innermost_first) {
  std::vector<std::uint32_t> stack;
  stack.reserve(innermost_first.size());
  for (auto frame = innermost_first.rbegin(); frame != innermost_first.rend(); ++frame) {
    const auto [place, is_new] =
        places_.try_emplace(*frame, static_cast<std::uint32_t>(frames_.size()));
    if (is_new) frames_.push_back(*frame);
    stack.push_back(place->second);
  }
  ++counts_[std::move(stack)];
  ++samples_;
}

void Stacks::write_to(Report& report) const {
  report.frames = frames_;
  report.samples = samples_;
  std::map<std::string, std::uint64_t> copied_in;
  for (const auto& [frames, samples] : counts_) {
    std::vector<const Frame*> innermost_first;
    for (auto place = frames.rbegin(); place != frames.rend(); ++place) {
      innermost_first.push_back(&frames_[*place]);
    }
    const Category category = categorize(innermost_first);
    report.stacks.push_back({.frames = frames, .category = category, .samples = samples});
    report.by_category[static_cast<std::size_t>(category)] += samples;
    if (category == Category::Copy) copied_in[syscall_of(innermost_first)] += samples;
  }
  copied_in.erase("");
  report.copied_in.assign(copied_in.begin(), copied_in.end());
  std::ranges::stable_sort(report.copied_in, std::ranges::greater(),
                           &std::pair<std::string, std::uint64_t>::second);
}

Frame kernel_frame(const sys::KernelSymbols* symbols, std::uint64_t address) {
  Frame frame{.function = "[hidden]", .module = "kernel", .in_kernel = true};
  if (symbols == nullptr) return frame;
  const auto function = symbols->find(address);
  frame.function = function ? std::string(function->name) : "[unknown]";
  if (function && !function->module.empty()) frame.module = function->module;
  return frame;
}

double Report::percent(Category category) const {
  if (samples == 0) return 0;
  return 100 * static_cast<double>(by_category[static_cast<std::size_t>(category)]) /
         static_cast<double>(samples);
}

}  // namespace pagewire::profile
