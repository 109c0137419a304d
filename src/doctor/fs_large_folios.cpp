// large-folios: in pieces of which size the page cache holds files; large ones make sendfile
// cheaper, because it goes from piece to piece.
#include "sys/large_folios.h"

#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/page_size.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "/proc/kpageflags of a file that was read as a stream"};
  if (!examination.sample.is_open()) {
    finding.status = Status::Unknown;
    finding.reason = examination.no_sample;
    return finding;
  }
  const Result<sys::Folios> folios =
      sys::folios_of(examination.sample.get(), ByteCount{sample_bytes});
  if (!folios || folios->folios == 0) {
    finding.status = Status::Unknown;
    const int why = folios ? 0 : folios.error().errno_value;
    finding.reason = folios                          ? "no page of it is in memory"
                     : why == EPERM || why == EACCES ? "which pages form a piece is root's to "
                                                       "see (CAP_SYS_ADMIN)"
                                                     : describe(folios.error());
    if (!folios && !examination.is_root)
      finding.as_root =
          "how large the pieces of the page cache "
          "are";
    return finding;
  }
  const double page_kib = static_cast<double>(sys::page_size()) / 1024;
  const double mean =
      static_cast<double>(folios->pages) / static_cast<double>(folios->folios) * page_kib;
  finding.found = folios->folios == folios->pages
                      ? fmt::format("single pages of {:.0f} KiB", page_kib)
                      : fmt::format("pieces of {:.0f} KiB on average", mean);
  return finding;
}

}  // namespace

const Check fs_large_folios_check{.group = Group::Filesystem, .name = "large-folios", .run = run};

}  // namespace pagewire::doctor
