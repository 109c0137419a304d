// pipes: how large a pipe may be, and whether new ones still are (pipe(7)).
#include "sys/pipe.h"

#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination&) {
  const std::string largest = sys::first_line_of("/proc/sys/fs/pipe-max-size");
  const std::string soft = sys::first_line_of("/proc/sys/fs/pipe-user-pages-soft");
  const std::string hard = sys::first_line_of("/proc/sys/fs/pipe-user-pages-hard");
  Finding finding{.looked_at = "a pipe made now; fs.pipe-max-size, pipe-user-pages-soft and -hard",
                  .found = {}};
  constexpr ByteCount wanted{64 * kib};
  const Result<sys::Pipe> pipe = sys::make_pipe(wanted);
  if (!pipe) {
    finding.status = Status::Unknown;
    finding.reason = describe(pipe.error());
    return finding;
  }
  finding.found = fmt::format(
      "{} KiB; at most {} bytes each, {} pages a user before new ones "
      "shrink, hard limit {}",
      pipe->capacity.value / kib, largest.empty() ? "?" : largest, soft.empty() ? "?" : soft,
      hard == "0" ? "none" : hard);
  if (pipe->capacity >= wanted) return finding;
  finding.status = Status::Warning;
  finding.costs = "splice moves a page or two a call: this user has too many pipe pages";
  finding.mend = "sysctl -w fs.pipe-user-pages-soft=262144";
  return finding;
}

}  // namespace

const Check pipes_check{.group = Group::Kernel, .name = "pipes", .run = run};

}  // namespace pagewire::doctor
