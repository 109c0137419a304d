// Result<T>: a value, or the operation that failed and its errno.
//
// Errors on the data path are two machine words and never allocate; text is put together
// at the edge (log, command line) by describe().
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <tl/expected.hpp>

namespace pagewire {

/// What failed. `operation` is a string literal naming the call ("openat2", "sendfile").
struct Error {
  const char* operation = "";
  int errno_value = 0;

  friend bool operator==(const Error& a, const Error& b) {
    return a.errno_value == b.errno_value && std::strcmp(a.operation, b.operation) == 0;
  }
};

template <class T>
using Result = tl::expected<T, Error>;

/// The failure of the call that just returned -1: takes errno as it stands.
inline tl::unexpected<Error> last_error(const char* operation) {
  return tl::unexpected<Error>(Error{operation, errno});
}

inline tl::unexpected<Error> failure(const char* operation, int errno_value) {
  return tl::unexpected<Error>(Error{operation, errno_value});
}

/// "bind: Address already in use". Allocates; not for the data path.
inline std::string describe(const Error& error) {
  return std::string(error.operation) + ": " + std::strerror(error.errno_value);
}

}  // namespace pagewire
