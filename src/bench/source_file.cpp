// Opening, making and warming up the file that is sent.
//
// Rests on: open(2) with O_NONBLOCK, so that a FIFO without a writer does not stop the run.
#include "bench/source_file.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <vector>

#include "bench/engine.h"
#include "bench/format_number.h"
#include "sys/page_cache.h"

namespace pagewire::bench {

namespace {

constexpr std::size_t chunk_bytes = 1 * mib;

tl::unexpected<CannotRun> refused(const std::string& name, std::string_view why) {
  return tl::unexpected(CannotRun{fmt::format("--file {}: {}", name, why)});
}

std::string why_not_made(const Error& error, const NewSource& wanted) {
  const std::string what =
      fmt::format("a file of {} in {}", format_size(static_cast<double>(wanted.size.value)),
                  wanted.folder.empty() ? "." : wanted.folder);
  if (error.errno_value == EINTR) return "stopped while " + what + " was made";
  // EACCES, EROFS, ENOSPC ...: another folder, or a file that is there already, may do.
  return fmt::format("{} cannot be made: {} (--folder makes it elsewhere, --file sends another)",
                     what, describe(error));
}

}  // namespace

tl::expected<SourceFile, CannotRun> open_source(const std::string& name) {
  SourceFile source;
  source.fd = sys::Fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  // ENOENT, EACCES, ELOOP, ENAMETOOLONG; ENXIO: a socket.
  if (!source.fd.is_open()) return refused(name, std::strerror(errno));
  const Result<sys::FileStatus> status = sys::status_of(source.fd.get());
  if (!status) return refused(name, describe(status.error()));
  switch (status->type) {
    case sys::FileType::Directory:
      return refused(name, "is a directory");
    case sys::FileType::Other:
      return refused(name, "is not a regular file");
    case sys::FileType::Regular:
      break;
  }
  if (status->size.value == 0) return refused(name, "is empty: there is nothing to send");
  source.status = *status;
  return source;
}

tl::expected<SourceFile, CannotRun> open_zeros(ByteCount size) {
  const auto failed = [](const Error& error) {
    return tl::unexpected(CannotRun{fmt::format("--zero: {}: {}", zero_device, describe(error))});
  };
  SourceFile source;
  source.fd = sys::Fd(::open(zero_device, O_RDONLY | O_CLOEXEC));
  if (!source.fd.is_open()) return failed(last_error("open").value());  // ENOENT: a bare chroot
  const Result<sys::FileStatus> status = sys::status_of(source.fd.get());
  if (!status) return failed(status.error());
  if (status->type != sys::FileType::Other) return failed(Error{"it is no device", ENODEV});
  source.status = *status;
  source.status.size = size;
  return source;
}

tl::expected<SourceFile, CannotRun> make_source(const NewSource& wanted, Watch& watch) {
  Result<sys::Fd> fd =
      make_position_coded_file(wanted.folder, wanted.size, [&watch] { return watch.stop_asked(); });
  if (!fd) return tl::unexpected(CannotRun{why_not_made(fd.error(), wanted)});
  SourceFile source{std::move(*fd), {}};
  const Result<sys::FileStatus> status = sys::status_of(source.fd.get());
  if (!status) return tl::unexpected(CannotRun{why_not_made(status.error(), wanted)});
  source.status = *status;
  return source;
}

bool has_changed(const SourceFile& source) {
  if (source.status.type == sys::FileType::Other) return false;  // a device's zeros stay zeros
  const Result<sys::FileStatus> now = sys::status_of(source.fd.get());
  // EIO, ESTALE: what cannot be looked at any more is not the file that was.
  return !now || *now != source.status;
}

std::optional<std::string> warm_up(const SourceFile& source, Watch& watch) {
  if (source.status.type == sys::FileType::Other) return std::nullopt;  // no page cache behind it
  std::vector<char> chunk(chunk_bytes);
  for (FileOffset at; at.value < source.status.size.value;) {
    if (watch.stop_asked()) return std::nullopt;
    const Result<ByteCount> read = sys::read_at(source.fd.get(), at, chunk);
    // EIO: the rounds will meet it too, and say which path did. 0: it has shrunk meanwhile.
    if (!read || read->value == 0) return std::nullopt;
    at = at + *read;
  }
  const Result<std::optional<ByteCount>> resident = sys::resident_bytes(source.fd.get());
  // Nothing is claimed where the kernel does not tell.
  if (!resident || !*resident || **resident >= source.status.size) return std::nullopt;
  return fmt::format(
      "Of the file's {}, {} stay in the page cache: the rounds also read from the disk.",
      format_size(static_cast<double>(source.status.size.value)),
      format_size(static_cast<double>((*resident)->value)));
}

}  // namespace pagewire::bench
