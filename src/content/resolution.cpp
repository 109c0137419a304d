// Opening a name where waiting for the disk is allowed, and what was found that way.
#include <array>

#include "content/content.h"
#include "sys/page_cache.h"

namespace pagewire::content {

Result<OpenedName> open_name(int root_fd, const char* relative_path, ByteCount read_up_to) {
  Result<sys::Fd> fd = sys::open_beneath(root_fd, relative_path);
  if (!fd) return tl::unexpected(fd.error());
  const Result<sys::FileStatus> status = sys::status_of(fd->get());
  if (!status) return tl::unexpected(status.error());  // EIO, ESTALE
  const bool small = status->type == sys::FileType::Regular && status->size.value > 0 &&
                     status->size <= read_up_to;
  if (small) {
    std::array<char, 4 * kib> scratch;
    const ByteRange whole{FileOffset{}, status->size};
    // An error (EIO) comes again to whoever sends from the file.
    static_cast<void>(sys::fetch_pages(fd->get(), whole, scratch));
  }
  return OpenedName{.fd = std::move(*fd), .status = *status};
}

const Lookup* Resolution::find(std::string_view key) const {
  for (const auto& [name, lookup] : found) {
    if (name == key) return &lookup;
  }
  return nullptr;
}

}  // namespace pagewire::content
