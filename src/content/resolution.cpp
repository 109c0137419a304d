// Opening a name where waiting for the disk is allowed, and what was found that way.
#include <array>

#include "content/content.h"
#include "content/listing.h"
#include "sys/page_cache.h"

namespace pagewire::content {

Result<OpenedName> open_name(int root_fd, const NameWish& wish, ByteCount read_up_to) {
  Result<sys::Fd> fd = sys::open_beneath(root_fd, wish.relative_path.c_str());
  if (!fd) return tl::unexpected(fd.error());
  if (wish.listing) {
    OpenedName opened;
    opened.status.type = sys::FileType::Directory;
    // ENOTDIR: of "file/", or of a directory that is none any more.
    const Result<void> listed = append_listing(opened.listing, std::move(*fd), wish.path);
    if (!listed) return tl::unexpected(listed.error());
    return opened;
  }
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
  return OpenedName{.fd = std::move(*fd), .status = *status, .listing = {}};
}

const FoundName* Resolution::find(std::string_view key) const {
  for (const FoundName& one : found) {
    if (one.key == key) return &one;
  }
  return nullptr;
}

}  // namespace pagewire::content
