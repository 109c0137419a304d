#include "egress/master_pipes.h"

#include <fcntl.h>

#include <algorithm>

namespace pagewire::egress {

namespace {

Attempt splice_whole_file(const sys::Pipe& pipe, const content::OpenFile& file);

}  // namespace

bool MasterPipes::has(const content::OpenFile& file) const {
  for (const Master& master : masters_) {
    if (master.file.get() == &file) return true;
  }
  return false;
}

MasterPipes::Found MasterPipes::find(const content::OpenFile& file) {
  Master* master = nullptr;
  for (Master& each : masters_) {
    if (each.used != 0 && each.file.get() == &file) master = &each;
  }
  if (master == nullptr) {
    if (masters_.empty()) return {.attempt = stopped(Status::Unsupported)};
    master = &victim();
    *master = Master{};
    if (const Attempt filled = fill(*master, file); filled.status != Status::Moved) {
      *master = Master{};
      return {.attempt = filled};
    }
  }
  // Asked after filling, so that what was put in is of the version that the head was made from.
  if (!file.unchanged()) {
    *master = Master{};
    return {.attempt = stopped(Status::SourceChanged)};
  }
  master->used = ++clock_;
  return {.attempt = stopped(Status::Moved), .pipe = &master->pipe};
}

/// A free one, or the one that nobody has used for longest.
MasterPipes::Master& MasterPipes::victim() {
  return *std::min_element(masters_.begin(), masters_.end(),
                           [](const Master& a, const Master& b) { return a.used < b.used; });
}

Attempt MasterPipes::fill(Master& master, const content::OpenFile& file) {
  Result<sys::Pipe> pipe = sys::make_pipe(largest_master);
  // EMFILE, ENFILE: out of descriptors; ENOMEM. Smaller than asked for: the user's soft limit of
  // pipe pages. Never a master that holds a part: what comes after it could not be had from it.
  if (!pipe || pipe->capacity < file.status().size) {
    Attempt attempt = stopped(Status::Unsupported);
    if (!pipe) attempt.error = pipe.error();
    return attempt;
  }
  const Attempt filled = splice_whole_file(*pipe, file);
  if (filled.status != Status::Moved) return filled;
  master.pipe = std::move(*pipe);
  master.file = content::FileRef::to(file);
  return filled;
}

namespace {

Attempt splice_whole_file(const sys::Pipe& pipe, const content::OpenFile& file) {
  ByteCount done;
  while (done < file.status().size) {
    // Counted here: a device (/dev/zero) does not move the offset on.
    off_t offset = static_cast<off_t>(done.value);
    const ByteCount rest = file.status().size - done;
    const ssize_t n = ::splice(file.fd(), &offset, pipe.write_end.get(), nullptr, rest.value,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0) {
      done += ByteCount{static_cast<std::uint64_t>(n)};
      continue;
    }
    if (n == 0) return stopped(Status::SourceTruncated);
    if (errno == EINTR) continue;  // a signal before the first page
    Attempt attempt;
    attempt.error = {"splice(file)", errno};
    switch (attempt.error.errno_value) {
      case EAGAIN:      // the pipe is full: the filesystem gave it parts of pages
      case EINVAL:      // the filesystem cannot splice this file
      case EOPNOTSUPP:  // the same, from filesystems that say it so
      case ENOSYS:      // not in this kernel, or hidden by a seccomp filter
      case EPERM:       // refused by a seccomp filter
        attempt.status = Status::Unsupported;
        break;
      default:  // EIO: the disk; ENOMEM
        attempt.status = Status::Failed;
        break;
    }
    return attempt;
  }
  return stopped(Status::Moved);
}

}  // namespace

std::unique_ptr<MasterPipes, MasterPipesEnd> make_master_pipes(std::size_t count) {
  return std::unique_ptr<MasterPipes, MasterPipesEnd>(new MasterPipes(count));
}

void MasterPipesEnd::operator()(MasterPipes* masters) const {
  delete masters;
}

}  // namespace pagewire::egress
