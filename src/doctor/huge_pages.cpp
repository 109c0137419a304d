// huge-pages: transparent ones, for anonymous memory and shared memory. For who reads figures: they
// change what a copy costs and how long an allocation takes.
#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination&) {
  const std::string folder = "/sys/kernel/mm/transparent_hugepage/";
  const std::string enabled = parse_chosen(sys::first_line_of(folder + "enabled"));
  Finding finding{.looked_at = folder + "enabled, shmem_enabled", .found = {}};
  if (enabled.empty()) {
    finding.found = "not in this kernel";
    return finding;
  }
  const std::string shared = parse_chosen(sys::first_line_of(folder + "shmem_enabled"));
  finding.found = enabled + (shared.empty() ? "" : "; shared memory " + shared);
  return finding;
}

}  // namespace

const Check huge_pages_check{.group = Group::Kernel, .name = "huge-pages", .run = run};

}  // namespace pagewire::doctor
