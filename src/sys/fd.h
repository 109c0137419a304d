// Fd: owns one file descriptor and closes it once.
//
// Move-only. There is no conversion to bool, because descriptor 0 is valid: ask is_open().
#pragma once

#include <unistd.h>

#include <utility>

namespace pagewire::sys {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { close(); }

  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  explicit operator bool() const = delete;
  int release() { return std::exchange(number_, -1); }

  /// close(2)'s result is not looked at: on Linux the descriptor is gone whatever it says (EINTR
  /// included), and nothing that we close holds unwritten data of ours.
  void close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

 private:
  int number_ = -1;
};

}  // namespace pagewire::sys
