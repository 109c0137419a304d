#include "cli/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "base/units.h"
#include "sys/fd.h"

namespace pagewire::cli {

Result<std::string> read_whole(const std::string& name) {
  const sys::Fd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return last_error("open");
  std::string text;
  std::array<char, 16 * kib> part;
  for (;;) {
    const ssize_t count = ::read(file.get(), part.data(), part.size());
    if (count < 0) return last_error("read");  // EISDIR: the name is a folder's
    if (count == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace pagewire::cli
