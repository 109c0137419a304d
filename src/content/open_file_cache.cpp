// The open-file cache of one worker.
//
// Invariant: an entry that is handed out was looked at by name at most validity_ms ago, and an open
// file whose body is not in memory was asked just now whether it was written to. When an entry's
// time is over, fstat(2) on an O_PATH descriptor looks again: if device, inode, size and mtime are
// those of the open file, it is that file. Any difference or error drops the entry, and the name is
// opened anew, confined by openat2(2). Outcomes without a file are simply asked for anew. Where the
// kernel's cache of names does not know (RESOLVE_CACHED says EAGAIN), a caller with a Resolution is
// told to have somebody else ask the disk. A file that responses still send from lives on by their
// references.
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

/// Of this process (EMFILE) or of the machine (ENFILE): a descriptor that only waits for its next
/// request is then better spent on this one.
bool is_out_of_fds(const Error& error) {
  return error.errno_value == EMFILE || error.errno_value == ENFILE;
}

Lookup failed_lookup(const Error& error) {
  return {.outcome = outcome_of(error.errno_value), .file = {}};
}

/// Whether what a helper found is still so: other names may have been waited for since, and the
/// answer's first step rests on a look of this moment. A body in memory belongs to its head.
bool holds(const Lookup& found) {
  return found.outcome != Outcome::File || !found.file->body().empty() || found.file->unchanged();
}

}  // namespace

Lookup OpenFileCache::find(const FileName& name, const Now& now, Resolution* resolution) {
  const std::string_view key = key_of(name);
  if (resolution != nullptr) {
    const FoundName* const found = resolution->find(key);
    if (found != nullptr && holds(found->lookup)) return found->lookup;
    if (resolution->found.size() >= Resolution::most_names) resolution = nullptr;
  }
  const auto place = entries_.find(key);
  if (place == entries_.end()) return open_anew(name, now, resolution);

  Entry& entry = place->second;
  const bool fresh = now.monotonic_ms - entry.checked_ms < limits_.validity_ms;
  const Held held = fresh ? (overwritten(entry, now) ? Held::No : Held::Yes)
                          : still_holds(entry, name, now, resolution == nullptr);
  switch (held) {
    case Held::Yes:
      ++counters_.cache_hits;
      touch(entry);
      return {.outcome = entry.outcome, .file = entry.file};
    case Held::Unknown:
      return wish_for(name, *resolution);
    case Held::No:
      break;
  }
  drop(entry);
  return open_anew(name, now, resolution);
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

OpenFileCache::Held OpenFileCache::still_holds(Entry& entry, const FileName& name, const Now& now,
                                               bool may_wait) {
  if (entry.outcome != Outcome::File) return Held::No;
  const char* const path = relative_path_of(name);
  Result<sys::FileStatus> status = sys::status_beneath_cached(root_fd_, path);
  if (!status && status.error().errno_value == EAGAIN) {  // only the disk can tell
    if (!may_wait) return Held::Unknown;
    status = sys::status_beneath(root_fd_, path);
  }
  // An error here is a name that has gone (ENOENT, ENOTDIR) or is closed to us now (EACCES).
  if (!status || *status != entry.file->status()) return Held::No;
  entry.checked_ms = now.monotonic_ms;
  ++counters_.cache_revalidated;
  keep_body(*entry.file.get(), now);  // it may have been too young when it was opened
  return Held::Yes;
}

Lookup OpenFileCache::open_anew(const FileName& name, const Now& now, Resolution* resolution) {
  const char* const path = relative_path_of(name);
  const auto open = [&] {
    return resolution != nullptr ? sys::open_beneath_cached(root_fd_, path)
                                 : sys::open_beneath(root_fd_, path);
  };
  Result<sys::Fd> fd = open();
  if (!fd && fd.error().errno_value == EAGAIN && resolution != nullptr) {
    return wish_for(name, *resolution);
  }
  ++counters_.cache_misses;
  if (!fd && is_out_of_fds(fd.error()) && shed_one_file()) fd = open();
  const Lookup lookup = fd ? to_lookup(name, std::move(*fd), now) : failed_lookup(fd.error());
  remember(name, lookup, now);
  return lookup;
}

Lookup OpenFileCache::wish_for(const FileName& name, Resolution& resolution) {
  resolution.wish = {.key = std::string(key_of(name)),
                     .path = name.path,
                     .coding = name.coding,
                     .relative_path = relative_path_of(name)};
  return {.outcome = Outcome::Unresolved, .file = {}};
}

Lookup OpenFileCache::resolved(const NameWish& wish, Result<OpenedName> opened, const Now& now) {
  const FileName name{.path = wish.path, .coding = wish.coding};
  const auto place = entries_.find(wish.key);
  if (place != entries_.end()) {
    Entry& entry = place->second;
    // The same file as before: what hangs on its OpenFile (a body in memory) stays.
    const bool same = opened && entry.outcome == Outcome::File &&
                      opened->status == entry.file->status() && !overwritten(entry, now);
    if (same) {
      entry.checked_ms = now.monotonic_ms;
      ++counters_.cache_revalidated;
      keep_body(*entry.file.get(), now);
      touch(entry);
      return {.outcome = entry.outcome, .file = entry.file};
    }
    drop(entry);
  }
  ++counters_.cache_misses;
  if (!opened && is_out_of_fds(opened.error()) && shed_one_file()) {
    // By now the names on the way are in memory.
    opened = open_name(root_fd_, wish, ByteCount{});
  }
  const Lookup lookup =
      opened ? to_lookup(name, std::move(*opened), now) : failed_lookup(opened.error());
  remember(name, lookup, now);
  return lookup;
}

Lookup OpenFileCache::to_lookup(const FileName& name, sys::Fd fd, const Now& now) const {
  const Result<sys::FileStatus> status = sys::status_of(fd.get());
  if (!status) return {.outcome = Outcome::Broken, .file = {}};  // EIO, ESTALE
  return to_lookup(name, OpenedName{.fd = std::move(fd), .status = *status, .listing = {}}, now);
}

Lookup OpenFileCache::to_lookup(const FileName& name, OpenedName opened, const Now& now) const {
  switch (opened.status.type) {
    case sys::FileType::Directory:
      return {.outcome = Outcome::Directory, .file = {}};
    case sys::FileType::Other:  // a FIFO or a device: never served
      return {.outcome = Outcome::Missing, .file = {}};
    case sys::FileType::Regular:
      break;
  }
  EntityHead head = make_entity_head(policy_, name, opened.status, now);
  return {.outcome = Outcome::File,
          .file = FileRef(new OpenFile(std::move(opened.fd), opened.status, std::move(head)))};
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
  const Result<sys::CachedRead> read = sys::read_cached_at(file.fd(), FileOffset{0}, body);
  // An error (EIO) is left to the response that sends from the file. A shorter read is a
  // truncation, or a page that is not in memory: then this is tried again at the next look.
  if (!read || read->count != size || !file.unchanged()) return;
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
