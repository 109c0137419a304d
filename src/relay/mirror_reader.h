// Reading a mirror: the records of a file or of a recorder's connection, and what they say.
//
// By offsets alone: what was there already is passed over, what is not there is counted as missing.
// For one thread, off the data path; allocates and waits as it needs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "base/result.h"
#include "relay/mirror_head.h"

namespace pagewire::relay {

/// Called for each record at least once, and again for each further part of its bytes. `at` says
/// where in the record they begin.
using MirrorVisitor =
    std::function<void(const MirrorHead& head, std::uint64_t at, std::span<const char> bytes)>;

enum class MirrorEnd : std::uint8_t {
  Whole,  ///< behind a record
  Torn,   ///< in the midst of one, as a recorder's connection may when it breaks off
  Lost,   ///< something that is no record
};
struct MirrorWalk {
  MirrorEnd end = MirrorEnd::Whole;
  std::uint64_t bytes = 0;  ///< of the records that were seen
};

/// Reads `fd` to its end, one part after the other. Errors: as read(2).
Result<MirrorWalk> walk_mirror(int fd, const MirrorVisitor& visit);

/// One direction of a connection, from however many files.
struct MirrorStream {
  std::uint64_t next_offset = 0;
  std::uint64_t missing_bytes = 0;
  std::uint8_t end = 0;  ///< mirror_flag::end or ::reset; 0: not seen

  std::uint64_t bytes() const { return next_offset - missing_bytes; }
  /// Bytes that are new, behind a gap of `missing` ones.
  struct Fresh {
    std::uint64_t missing = 0;
    std::span<const char> bytes;
  };
  Fresh take(std::uint64_t offset, std::span<const char> bytes);
};

struct MirrorConnection {
  std::string text;  ///< of its open record; "": that was dropped or is in an earlier file
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  MirrorStream streams[2];  ///< by Direction
};

/// What a list shows. Feed it with every record, file after file in their order.
class MirrorList {
 public:
  void add(const MirrorHead& head, std::uint64_t at, std::span<const char> bytes);
  const std::map<std::uint64_t, MirrorConnection>& connections() const { return connections_; }

 private:
  std::map<std::uint64_t, MirrorConnection> connections_;
};

}  // namespace pagewire::relay
