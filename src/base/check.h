// PW_CHECK: an invariant of our own code. It stays on in Release: a server that goes on with a
// broken invariant may send a foreign byte, which is worse than one that stops.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace pagewire {

[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "pagewire: internal error: %s does not hold at %s:%d\n", expression, file,
               line);
  std::abort();
}

}  // namespace pagewire

#define PW_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::pagewire::check_failed(#expression, __FILE__, __LINE__))
