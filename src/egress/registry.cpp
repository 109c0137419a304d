// The ordered array of egress paths. A new path is its file, a line in registry.h and a line here.
//
// Invariant: `copy` is last, because it fits every list of segments on every socket but one of
// UserTls, so that falling through always ends. tls_copy, which alone fits that one, is first and
// never falls.
#include "egress/registry.h"

#include <array>

#include "base/check.h"

namespace pagewire::egress {

namespace {

constexpr std::array<const Path*, 11> all_paths{
    &tls_copy_path, &sendfile_path, &splice_path,   &vmsplice_path,        &tee_path,
    &zerocopy_path, &mmap_path,     &uring_zc_path, &uring_zc_sqpoll_path, &uring_splice_path,
    &copy_path,
};

}  // namespace

std::span<const Path* const> paths() {
  return all_paths;
}

std::span<const Path* const> socket_paths() {
  return paths().subspan(1);
}

const Path* find_path(std::string_view name) {
  for (const Path* path : all_paths) {
    if (path->name == name) return path;
  }
  return nullptr;
}

std::size_t index_of(const Path& path) {
  std::size_t index = 0;
  while (index < all_paths.size() && all_paths[index] != &path) ++index;
  PW_CHECK(index < all_paths.size());
  return index;
}

}  // namespace pagewire::egress
