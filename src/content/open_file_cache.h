// The open-file cache of one worker: what a name beneath ROOT leads to, bounded, least recently
// used out first; private to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/intrusive_list.h"
#include "content/content.h"
#include "content/open_file.h"

namespace pagewire::content {

/// Of an open that failed.
Outcome outcome_of(int errno_value);

class OpenFileCache {
 public:
  struct Limits {
    std::size_t files = 1024;
    std::int64_t validity_ms = 1000;
    ByteCount small_body;
    ByteCount small_bodies_total;
  };

  /// `root_fd` and `policy` must outlive the cache.
  OpenFileCache(int root_fd, const HeadPolicy& policy, const Limits& limits)
      : root_fd_(root_fd), policy_(policy), limits_(limits) {}

  /// No allocation when the entry is there and was checked within validity_ms; one fstat(2) when
  /// it is a file whose body is not in memory, else no syscall.
  /// With a `resolution` it never waits for the disk, and may say Unresolved.
  Lookup find(const FileName& name, const Now& now, Resolution* resolution = nullptr);

  /// Takes in what open_name() found for a wish.
  Lookup resolved(const NameWish& wish, Result<OpenedName> opened, const Now& now);

  SiteCounters counters() const;

 private:
  struct Entry : ListNode {
    std::string_view key;  ///< the map's own
    Outcome outcome = Outcome::Missing;
    FileRef file;
    std::int64_t checked_ms = 0;
    std::int64_t looked_at_ns = 0;  ///< Now::round_ns of the last look by descriptor
  };
  // Not noexcept: libstdc++ then keeps each key's hash in its node, and walking a bucket does not
  // hash the keys that it passes again.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const {
      return std::hash<std::string_view>{}(key);
    }
  };
  using Entries = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;

  std::string_view key_of(const FileName& name);
  const char* relative_path_of(const FileName& name);
  static bool overwritten(Entry& entry, const Now& now);
  enum class Held : std::uint8_t { Yes, No, Unknown };
  Held still_holds(Entry& entry, const FileName& name, const Now& now, bool may_wait);
  Lookup open_anew(const FileName& name, const Now& now, Resolution* resolution);
  Lookup to_lookup(const FileName& name, sys::Fd fd, const Now& now) const;
  Lookup to_lookup(const FileName& name, OpenedName opened, const Now& now) const;
  Lookup wish_for(const FileName& name, Resolution& resolution);
  void remember(const FileName& name, const Lookup& lookup, const Now& now);
  void keep_body(OpenFile& file, const Now& now);
  void touch(Entry& entry);
  void drop(Entry& entry);
  bool shed_one_file();

  int root_fd_;
  const HeadPolicy& policy_;
  Limits limits_;
  // Least recently used first. Two lists, so that a flood of unknown names cannot push files out.
  // They stand before the map: its entries unlink themselves when they are destroyed.
  IntrusiveList<Entry> files_;
  IntrusiveList<Entry> others_;
  std::size_t file_count_ = 0;
  std::size_t other_count_ = 0;
  Entries entries_;
  std::string key_;            // scratch
  std::string relative_path_;  // scratch
  SiteCounters counters_;
};

}  // namespace pagewire::content
