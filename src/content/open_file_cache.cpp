// The open-file cache of one worker.
//
// Invariant: an entry that is handed out was looked at by name at most validity_ms ago, and an open
// file whose body is not in memory was asked just now whether it was written to. When an entry's
// time is over, fstatat(2) looks again: if device, inode, size and mtime are those of the open
// file, it is that file, whatever way the name now takes to it. Any difference or error drops the
// entry, and the name is opened anew, confined by openat2(2). Outcomes without a file are simply
// asked for anew. A file that responses still send from lives on by their references.
//
// A body that is kept in memory was read while the status stood still: fstat before and after
// agree, and the mtime is old enough that a write after the read must show in it (file timestamps
// move in steps of a clock tick, up to 10 ms; see "Racy git").
#include "content/open_file_cache.h"

#include <utility>

namespace pagewire::content {

namespace {

// An unknown name costs memory only up to here; longer ones are looked up each time.
constexpr std::size_t longest_remembered_miss = 512;

// Three missing siblings of each file, and as many strangers.
constexpr std::size_t others_per_file = 4;

}  // namespace

Lookup OpenFileCache::find(const FileName& name, const Now& now) {
  const auto found = entries_.find(key_of(name));
  if (found == entries_.end()) return open_anew(name, now);

  Entry& entry = found->second;
  const bool fresh = now.monotonic_ms - entry.checked_ms < limits_.validity_ms;
  if (fresh ? !overwritten(entry, now) : still_holds(entry, name, now)) {
    ++counters_.cache_hits;
    touch(entry);
    return {.outcome = entry.outcome, .file = entry.file};
  }
  drop(entry);
  return open_anew(name, now);
}

SiteCounters OpenFileCache::counters() const {
  SiteCounters counters = counters_;
  counters.cache_entries = entries_.size();
  return counters;
}

// A sibling's key is not its file name: "a.js.br" may be asked for by that name too, and then has
// other head lines. NUL cannot stand in a decoded path.
std::string_view OpenFileCache::key_of(const FileName& name) {
  if (name.coding == http::Coding::Identity) return name.path;
  key_.assign(name.path).push_back('\0');
  return key_.append(http::file_suffix(name.coding));
}

const char* OpenFileCache::relative_path_of(const FileName& name) {
  if (name.coding == http::Coding::Identity) return name.path.c_str();
  return relative_path_.assign(name.path)
      .append(".")
      .append(http::file_suffix(name.coding))
      .c_str();
}

/// Whether the open file was written to since its head was made; one fstat(2) where the body comes
/// from the file, so that head and body belong together; once a round, because many clients that
/// ask for one file at once (a live segment) come in one round. A body in memory belongs to its
/// head.
bool OpenFileCache::overwritten(Entry& entry, const Now& now) {
  if (entry.outcome != Outcome::File || !entry.file->body().empty()) return false;
  if (now.round_ns != 0 && entry.looked_at_ns == now.round_ns) return false;
  entry.looked_at_ns = now.round_ns;
  return !entry.file->unchanged();
}

bool OpenFileCache::still_holds(Entry& entry, const FileName& name, const Now& now) {
  if (entry.outcome != Outcome::File) return false;
  const Result<sys::FileStatus> status = sys::status_at(root_fd_, relative_path_of(name));
  // An error here is a name that has gone (ENOENT, ENOTDIR) or is closed to us now (EACCES).
  if (!status || *status != entry.file->status()) return false;
  entry.checked_ms = now.monotonic_ms;
  ++counters_.cache_revalidated;
  keep_body(*entry.file.get(), now);  // it may have been too young when it was opened
  return true;
}

Lookup OpenFileCache::open_anew(const FileName& name, const Now& now) {
  ++counters_.cache_misses;
  const char* const path = relative_path_of(name);
  Result<sys::Fd> fd = sys::open_beneath(root_fd_, path);
  // Out of descriptors, of this process (EMFILE) or of the machine (ENFILE): one that only waits
  // for its next request is better spent on this one.
  const bool out_of_fds =
      !fd && (fd.error().errno_value == EMFILE || fd.error().errno_value == ENFILE);
  if (out_of_fds && shed_one_file()) fd = sys::open_beneath(root_fd_, path);

  const Lookup lookup = fd ? to_lookup(name, std::move(*fd), now)
                           : Lookup{.outcome = outcome_of(fd.error().errno_value), .file = {}};
  remember(name, lookup, now);
  return lookup;
}

Lookup OpenFileCache::to_lookup(const FileName& name, sys::Fd fd, const Now& now) {
  const Result<sys::FileStatus> status = sys::status_of(fd.get());
  if (!status) return {.outcome = Outcome::Broken, .file = {}};  // EIO, ESTALE
  switch (status->type) {
    case sys::FileType::Directory:
      return {.outcome = Outcome::Directory, .file = {}};
    case sys::FileType::Other:  // a FIFO or a device: never served
      return {.outcome = Outcome::Missing, .file = {}};
    case sys::FileType::Regular:
      break;
  }
  return {.outcome = Outcome::File,
          .file = FileRef(
              new OpenFile(std::move(fd), *status, make_entity_head(policy_, name, *status, now)))};
}

void OpenFileCache::remember(const FileName& name, const Lookup& lookup, const Now& now) {
  const bool is_file = lookup.outcome == Outcome::File;
  if (lookup.outcome == Outcome::Exhausted || lookup.outcome == Outcome::Broken) return;
  if (limits_.files == 0) return;
  const std::string_view key = key_of(name);
  if (!is_file && key.size() > longest_remembered_miss) return;

  if (is_file && file_count_ == limits_.files) drop(files_.front());
  if (!is_file && other_count_ == limits_.files * others_per_file) drop(others_.front());
  const auto [place, is_new] = entries_.try_emplace(std::string(key));
  Entry& entry = place->second;
  entry.key = place->first;
  entry.outcome = lookup.outcome;
  entry.file = lookup.file;
  entry.checked_ms = now.monotonic_ms;
  ++(is_file ? file_count_ : other_count_);
  touch(entry);
  if (is_file) keep_body(*entry.file.get(), now);
}

// Whoever sends from the file meanwhile has slices of it, not views of body_; so it may appear
// late.
void OpenFileCache::keep_body(OpenFile& file, const Now& now) {
  const ByteCount size = file.status().size;
  if (!file.body_.empty() || size.value == 0 || size > limits_.small_body) return;
  if (ByteCount{counters_.small_body_bytes} + size > limits_.small_bodies_total) return;
  const std::int64_t age_s = now.realtime_s - file.status().mtime_ns / 1'000'000'000;
  if (age_s >= -1 && age_s <= 1) return;

  std::string body(size.value, '\0');
  const Result<ByteCount> read = sys::read_at(file.fd(), FileOffset{0}, body);
  // An error (EIO) is left to the response that sends from the file; a shorter read is a
  // truncation.
  if (!read || *read != size || !file.unchanged()) return;
  file.body_ = std::move(body);
  counters_.small_body_bytes += size.value;
}

void OpenFileCache::touch(Entry& entry) {
  entry.unlink();
  (entry.outcome == Outcome::File ? files_ : others_).push_back(entry);
}

void OpenFileCache::drop(Entry& entry) {
  if (entry.outcome == Outcome::File) {
    counters_.small_body_bytes -= entry.file->body().size();
    --file_count_;
  } else {
    --other_count_;
  }
  entries_.erase(entries_.find(entry.key));
}

bool OpenFileCache::shed_one_file() {
  if (files_.empty()) return false;
  drop(files_.front());
  return true;
}

Outcome outcome_of(int errno_value) {
  switch (errno_value) {
    case ENOENT:        // no such name
    case ENOTDIR:       // a file where the path wants a directory; also "file/"
    case EXDEV:         // a link that leads out of ROOT
    case ELOOP:         // links in a circle, or a magic link of /proc
    case ENAMETOOLONG:  // a component above NAME_MAX, or a path above PATH_MAX
    case ENXIO:         // a socket, or a FIFO's or device's other end is not there
    case ENODEV:        // a device node without a device
      return Outcome::Missing;
    case EACCES:  // permissions of the file or of a directory on the way
    case EPERM:   // the same by a security module
      return Outcome::Forbidden;
    case EMFILE:  // RLIMIT_NOFILE
    case ENFILE:  // fs.file-max
    case ENOMEM:  // kernel memory
    case EAGAIN:  // renames kept racing with ".." in a link, attempt after attempt
      return Outcome::Exhausted;
    default:  // EIO and what a filesystem may invent
      return Outcome::Broken;
  }
}

}  // namespace pagewire::content
