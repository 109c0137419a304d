// rwf-nowait: whether a read can be asked not to wait for the disk.
#include <fmt/format.h>
#include <sys/uio.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "preadv2(2) with RWF_NOWAIT of a file in ROOT", .found = {}};
  if (!examination.sample.is_open()) {
    finding.status = Status::Unknown;
    finding.reason = examination.no_sample;
    return finding;
  }
  char byte = 0;
  const iovec into{.iov_base = &byte, .iov_len = 1};
  const ssize_t n = ::preadv2(examination.sample.get(), &into, 1, 0, RWF_NOWAIT);
  // EAGAIN: the page has left the memory already, which is an answer, too.
  if (n == 1 || (n < 0 && errno == EAGAIN)) {
    examination.sees_cold_pages = true;
    finding.found = "works";
    return finding;
  }
  // EOPNOTSUPP: this filesystem cannot tell; 0: Linux 5.9 and 5.10 (readv(2), BUGS).
  finding.found = n < 0 ? errno_text(errno) : "says that a file with bytes has ended";
  if (examination.sees_cold_pages) {
    finding.found += "; cachestat tells what is cold";
    return finding;
  }
  finding.status = Status::Warning;
  finding.costs =
      "what is cold cannot be told: a worker waits for the disk, and its hot requests "
      "with it";
  finding.mend = "serve from a local filesystem (ext4, xfs, btrfs)";
  return finding;
}

}  // namespace

const Check rwf_nowait_check{.group = Group::Kernel, .name = "rwf-nowait", .run = run};

}  // namespace pagewire::doctor
