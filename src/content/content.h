// content: from a request to a Response: files beneath ROOT, their metadata, and the segments to
// send.
//
// A Site belongs to one worker and one thread; nothing in it is shared. A Response is a head and a
// list of segments; what comes after this room knows no HTTP.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "http/http.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace pagewire::content {

// ---------------------------------------------------------------- open files

class OpenFileCache;

/// A file's share of its response heads, made once when it is opened: lines with their CRLF, laid
/// out so that every kind of response takes one tail of them in one copy.
struct EntityHead {
  std::string lines;                ///< Content-Length of the whole file; the tails below follow
  std::size_t from_type = 0;        ///< Content-Type and on: a single-range 206
  std::size_t from_ranges = 0;      ///< Accept-Ranges, Content-Encoding and on: a multipart 206
  std::size_t from_validators = 0;  ///< ETag, Last-Modified, Cache-Control, Vary, site's lines: 304
  std::string etag;                 ///< with quotes; strong
  std::string_view content_type;    ///< static storage
  bool has_last_modified = false;   ///< false when the mtime is no usable date (see open_file.cpp)
  bool has_siblings = false;        ///< precompressed siblings are looked for

  std::string_view tail(std::size_t from) const { return std::string_view(lines).substr(from); }
};

/// Pages that were in the page cache at a time.
struct SeenPages {
  ByteRange range;
  std::int64_t at_ms = 0;  ///< by the clock of whoever looked
};

/// A file that is open, with what its responses need ready-made. Counted by FileRef; lives until
/// the last response that sends from it is done, also after the cache has dropped it.
class OpenFile {
 public:
  OpenFile(sys::Fd fd, const sys::FileStatus& status, EntityHead head = {})
      : fd_(std::move(fd)), status_(status), head_(std::move(head)) {}

  int fd() const { return fd_.get(); }
  const sys::FileStatus& status() const { return status_; }
  std::string_view etag() const { return head_.etag; }
  const EntityHead& head() const { return head_; }
  /// All the bytes, when they are kept in memory; else empty (and for an empty file).
  std::string_view body() const { return body_; }

  /// True when the file, asked now by fstat(2), still has the size, mtime and inode that the
  /// response head was made from. One syscall, no disk.
  bool unchanged() const;

  /// What the worker's transfers of this file tell each other about its pages.
  SeenPages& seen() const { return seen_; }
  /// When pages of it were last missing, by the same clock; 0: never.
  std::int64_t& cold_at_ms() const { return cold_at_ms_; }

 private:
  friend class FileRef;
  friend class OpenFileCache;
  friend class Readahead;
  std::uint32_t references_ = 0;
  sys::Fd fd_;
  sys::FileStatus status_;
  EntityHead head_;
  std::string body_;
  bool advised_ = false;  // the kernel was told that it is streamed
  mutable SeenPages seen_;
  mutable std::int64_t cold_at_ms_ = 0;
};

/// Counted reference to an OpenFile (one thread, no atomics).
class FileRef {
 public:
  FileRef() = default;
  explicit FileRef(OpenFile* file) : file_(file) {
    if (file_ != nullptr) ++file_->references_;
  }
  FileRef(const FileRef& other) : FileRef(other.file_) {}
  FileRef(FileRef&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  FileRef& operator=(FileRef other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  /// One more reference to a file that somebody holds already.
  static FileRef to(const OpenFile& file) { return FileRef(const_cast<OpenFile*>(&file)); }
  ~FileRef() {
    if (file_ != nullptr && --file_->references_ == 0) delete file_;
  }
  OpenFile* operator->() const { return file_; }
  OpenFile* get() const { return file_; }
  bool has_file() const { return file_ != nullptr; }

 private:
  OpenFile* file_ = nullptr;
};

// ---------------------------------------------------------------- responses

/// One piece of a body: bytes in memory, or a slice of an open file. Either the memory or the file
/// is kept alive by the Response that the segment belongs to.
struct Segment {
  enum class Kind : std::uint8_t { Memory, File };
  Kind kind = Kind::Memory;
  std::string_view memory;         ///< Kind::Memory
  const OpenFile* file = nullptr;  ///< Kind::File
  ByteRange slice;                 ///< Kind::File; count > 0

  ByteCount size() const { return kind == Kind::Memory ? ByteCount{memory.size()} : slice.count; }
  static Segment of_memory(std::string_view bytes) {
    return {.kind = Kind::Memory, .memory = bytes, .file = nullptr, .slice = {}};
  }
  static Segment of_file(const OpenFile& file, ByteRange slice) {
    return {.kind = Kind::File, .memory = {}, .file = &file, .slice = slice};
  }
};

/// Filled by Site::respond, reused from request to request (clear() keeps the buffers). Must not
/// move while it is being sent: segments point into it.
class Response {
 public:
  static constexpr std::size_t head_capacity = 2048;

  Response() = default;
  Response(const Response&) = delete;
  Response& operator=(const Response&) = delete;

  void clear();

  int status = 0;
  bool close = false;    ///< the head said "Connection: close"
  ByteCount body_bytes;  ///< sum of the segments after the head; 0 for HEAD and 304
  ByteRange ahead;       ///< of `file`: to be read ahead (ReadaheadSettings); empty: nothing
  std::span<const Segment> segments() const { return segments_; }  ///< the head is the first

  // For whoever fills it:
  std::array<char, head_capacity> head_buffer;
  std::string text;  ///< a generated body, or the part heads of multipart/byteranges
  FileRef file;
  void add(const Segment& segment);

 private:
  std::vector<Segment> segments_;
};

// ---------------------------------------------------------------- names

/// What a name leads to. Only the first four are remembered.
enum class Outcome : std::uint8_t {
  File,  ///< a regular file, open
  Directory,
  Missing,     ///< no such name, or it leads out of ROOT, or to something that is no file
  Forbidden,   ///< EACCES
  Exhausted,   ///< out of descriptors or memory: 503, try again
  Broken,      ///< any other errno (EIO): 500
  Unresolved,  ///< only the disk can tell: see Resolution
};

struct Lookup {
  Outcome outcome = Outcome::Missing;
  FileRef file;  ///< Outcome::File
};

/// A name that has to be opened by somebody who may wait for the disk.
struct NameWish {
  std::string key;  ///< tells wishes apart
  std::string path;
  http::Coding coding = http::Coding::Identity;
  std::string relative_path;  ///< to be opened beneath the root
  bool listing = false;       ///< a directory, whose listing is wanted
};

struct OpenedName {
  sys::Fd fd;
  sys::FileStatus status;
  std::string listing;
};

/// What is found by waiting for the disk: openat2(2) confined to `root_fd`, fstat(2), and of a file
/// up to `read_up_to` also its bytes, so that they are in the page cache; or the listing that is
/// wished for, as a page. Any thread.
Result<OpenedName> open_name(int root_fd, const NameWish& wish, ByteCount read_up_to);

struct FoundName {
  std::string key;  ///< NameWish::key
  Lookup lookup;
  std::string listing;  ///< Outcome::Directory, if that was wished for
};

/// What helpers have found for the request under answer, so that each name is asked for once,
/// whether or not the open-file cache can remember it.
struct Resolution {
  /// A request looks at a file or an index and at three precompressed siblings. Beyond this many
  /// names the disk is waited for.
  static constexpr std::size_t most_names = 8;

  NameWish wish;  ///< what is to be found next
  std::vector<FoundName> found;

  /// nullptr: not asked for yet.
  const FoundName* find(std::string_view key) const;
};

// ---------------------------------------------------------------- the site

/// Cache-Control by pattern: the first whose glob (fnmatch(3)) matches the decoded path, or its
/// last component when the glob has no '/', decides. An empty value sends no Cache-Control.
struct CacheRule {
  std::string glob;
  std::string cache_control;
};

/// A slice of at least so much, in one piece, is streamed: its file's readahead is set.
inline constexpr ByteCount streamed_from{1 * mib};

struct ReadaheadSettings {
  bool sequential = true;  ///< twice the kernel's window for files that are streamed
  ByteCount ahead{};       ///< of the first such response: Response::ahead; 0: nothing
};

struct SiteSettings {
  std::string root;  ///< a directory
  std::string index = "index.html";
  bool listing = false;       ///< directories without an index: a listing instead of 404
  bool cors = false;          ///< Access-Control-* on every response, preflight answered
  bool precompressed = true;  ///< .br, .zst, .gz siblings by Accept-Encoding
  bool server_header = true;
  std::vector<CacheRule> cache_rules;  ///< before the default ones (playlists short, segments long)
  std::size_t open_files = 1024;       ///< entries of the open-file cache, per worker
  std::int64_t validity_ms = 1000;     ///< how long an entry is trusted before stat looks again
  ByteCount small_body{16 * kib};      ///< files up to this are kept in memory with the entry
  ByteCount small_bodies_total{32 * mib};  ///< of all of them, per worker
  ReadaheadSettings readahead;
  http::RangeLimits ranges;
};

/// The default Cache-Control rules (playlists short, segments and fonts long and immutable).
std::span<const CacheRule> default_cache_rules();

/// "video/mp2t" for "a/b.ts"; "application/octet-stream" for an unknown extension.
std::string_view mime_type(std::string_view path);

/// The time as the caller last saw it; Site never asks the clock itself.
struct Now {
  std::int64_t monotonic_ms = 0;
  /// Of the loop's round, the same for all requests in it: an open file that was looked at in this
  /// round (OpenFile::unchanged) is not looked at again in it. 0: none; always look.
  std::int64_t round_ns = 0;
  std::int64_t realtime_s = 0;
};

struct SiteCounters {
  std::uint64_t cache_hits = 0;
  std::uint64_t cache_misses = 0;
  std::uint64_t cache_revalidated = 0;
  std::uint64_t cache_entries = 0;     ///< now
  std::uint64_t small_body_bytes = 0;  ///< now
  std::uint64_t readahead_files = 0;   ///< open files advised
  std::uint64_t readahead_bytes = 0;   ///< asked for ahead
};

class Site {
 public:
  /// Opens the root. Errors: as open(2) on it (ENOENT, EACCES, ENOTDIR); EINVAL when a cache rule's
  /// value cannot stand in a head (control bytes, too long). `settings` is copied.
  static Result<std::unique_ptr<Site>> open(const SiteSettings& settings);
  ~Site();

  /// Answers a parsed request: any status from 200 to 503. Never fails; what goes wrong is a
  /// status. `close` asks for "Connection: close" in the head, whatever the request said.
  void respond(const http::Request& request, const Now& now, bool close, Response& response) {
    respond(request, now, close, response, nullptr);
  }
  /// The same without waiting for the disk: false when only that can tell what a name leads to.
  /// Then resolution->wish says which name. Once open_name() has been tried on it, resolved() takes
  /// the result; what that returns goes to resolution->found, and the request is put again.
  bool respond(const http::Request& request, const Now& now, bool close, Response& response,
               Resolution* resolution);
  FoundName resolved(const NameWish& wish, Result<OpenedName> opened, const Now& now);
  int root_fd() const;

  /// An answer that no file stands behind: a head fault, 408, 503 ... `why` goes into the short
  /// body (text, or JSON when `request` prefers it). Adds "Connection: close" when `close`.
  void respond_error(const http::Request& request, const Now& now, int status, const char* why,
                     bool close, Response& response);

  SiteCounters counters() const;

  struct Parts;  // private to the room
 private:
  explicit Site(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// Turns a request path into a name relative to ROOT: percent-decodes once, removes dot segments as
/// RFC 3986 5.2.4 does but never above the root, and refuses %00, %2f, control bytes, bad UTF-8
/// (overlong included), and components that start with a dot. Pure. `decoded` keeps the name; "" is
/// the root itself; a trailing '/' stays. Errors by status: 400 (bad escape) or 404 (hidden).
struct PathFault {
  int status = 0;
  const char* why = "";
};
PathFault resolve_path(std::string_view encoded_path, std::string& decoded);

}  // namespace pagewire::content
