// Choosing a path for a response, and the words that say why. Included by egress.h.
//
// choose() is pure: everything it depends on is a value in ChooseInput (of this response) or in
// WorkerFacts (of the whole run, worked out once at start).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace pagewire::egress {

struct Path;

/// Why a path was chosen. The token stands in the access log and in the metrics.
enum class Reason : std::uint8_t {
  HeadOnly,     ///< "head-only": no body
  InMemory,     ///< "in-memory": every segment is memory
  SmallBody,    ///< "small-body": at most small_body; one send of head and body
  LargeBody,    ///< "large-body": sendfile
  Pinned,       ///< "pinned": --path
  PinUnfit,     ///< "pin-unfit": the pinned path does not fit or is not usable here
  Calibrated,   ///< "calibrated": surely cheaper at this size than the path of the rules
  Quarantined,  ///< "quarantined": sendfile failed the self-test; the next best
  NoSendfile,   ///< "no-sendfile": not in this kernel, or not for this file or transport
  ColdBody,     ///< "cold-body": the choice would touch a mapping, and wait there for the disk
  Backlog,      ///< "backlog": the choice would pin memory, of which the kernel holds enough
  TlsUser,  ///< "tls-user": TLS whose records are made in user space, for which there is one path
};
inline constexpr std::size_t reason_count = 12;
std::string_view token(Reason reason);

/// A set of registered paths; one that is not registered (tests have such) is in none.
class PathSet {
 public:
  constexpr PathSet() = default;
  PathSet(std::initializer_list<const Path*> paths);
  static constexpr PathSet all() { return PathSet(~std::uint32_t{0}); }
  void insert(const Path& path);
  void erase(const Path& path);
  bool contains(const Path& path) const;

 private:
  constexpr explicit PathSet(std::uint32_t bits) : bits_(bits) {}
  std::uint32_t bits_ = 0;
};

/// Whether the first page of the body is in the page cache.
enum class Residency : std::uint8_t { Unknown, Resident, Cold };

/// Where the bytes go. Over loopback the kernel copies what zero-copy sends (MSG_ZEROCOPY) lend it.
enum class Route : std::uint8_t { Network, Loopback };

/// What a path cost at one size: CPU per Gbit, of which only the order matters here.
struct Cost {
  const Path* path = nullptr;
  double low = 0;  ///< the 95% interval of the mean
  double high = 0;
};
struct CostsAtSize {
  ByteCount size;
  std::vector<Cost> costs;  ///< those with an interval worth using; cheapest first
};

/// What the user and the calibration file say.
struct ChooserSettings {
  const Path* pinned = nullptr;      ///< --path; nullptr is auto
  ByteCount small_body{16 * kib};    ///< measured break-even of copy and sendfile
  std::vector<CostsAtSize> costs{};  ///< ascending; none without a calibration
};

/// What stays the same for the whole run, looked up once. A path that this build does not have is
/// nullptr.
struct WorkerFacts {
  explicit WorkerFacts(ChooserSettings chooser = {}, PathSet usable_paths = PathSet::all(),
                       PathSet quarantined_paths = {}, ByteCount backlog_limit_bytes = {64 * mib});

  ChooserSettings settings;
  PathSet usable;       ///< available in this kernel, and not failed in the self-test
  PathSet quarantined;  ///< failed there
  PathSet maps;         ///< send from a mapping of the file, so that a step can fault
  PathSet pins;         ///< lend the kernel memory that it holds until a completion
  const Path* sendfile;
  const Path* splice;
  const Path* mmap;
  const Path* zerocopy;
  /// What the kernel may hold by reference for one worker before no more is lent.
  ByteCount backlog_limit;

  /// Whether choose() can come to it: pinned, or measured by the calibration, or of the rules.
  bool may_choose(const Path& path) const;
};

}  // namespace pagewire::egress
