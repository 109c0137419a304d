// Free: a deleter for std::unique_ptr that calls a C library's own function.
#pragma once

namespace pagewire {

template <auto free_it>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free_it(object);
  }
};

}  // namespace pagewire
