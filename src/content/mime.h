// Media types by file extension; private to the room beside content.h's mime_type().
#pragma once

#include <string_view>

namespace pagewire::content {

struct MediaType {
  std::string_view extension;  ///< lower case, without the dot
  std::string_view name;       ///< value of Content-Type
  bool compressible = false;   ///< text-like: a precompressed sibling is worth looking for
};

/// The type of "a/b.TS"; application/octet-stream for an unknown or absent extension.
const MediaType& media_type(std::string_view path);

}  // namespace pagewire::content
