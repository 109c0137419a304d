// MirrorWriter: takes records out of lanes and puts them into the sink, whatever the sink does.
//
// Small records are gathered and leave together; a large one leaves by splice: lane -> own pipe ->
// sink, behind its head. Invariant: `gathered_` holds whole small records and, last, at most the
// head of `large_`. When the sink breaks off in the midst of a record, a file is made to end with a
// whole one, and what is left of the record becomes one of its own for the next sink: nothing that
// stands in a lane is lost for the sake of a file, and of a recorder's only what it had not read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "relay/mirror_lane.h"
#include "relay/mirror_sink.h"

namespace pagewire::relay {

class MirrorWriter {
 public:
  struct Setting {
    std::string target;
    ByteCount rotate;
    unsigned retry_ms;
    LookUp look_up;
    std::uint64_t run;  ///< told by every start record
  };
  /// `wait` waits until a recorder's socket is writable; false: no longer, the end is near.
  MirrorWriter(Setting setting, sys::Pipe own_pipe, std::function<bool(int fd)> wait)
      : setting_(std::move(setting)),
        own_pipe_(std::move(own_pipe)),
        wait_(std::move(wait)),
        sink_(setting_.target, setting_.look_up) {}

  /// The next file, or a connection; what is left of before goes first. Errors: as open_next.
  Result<void> open_next(MirrorSink::Patience patience);

  /// Whether it is open and has not failed within retry_ms. Opens it if it is time to.
  bool is_ready(MirrorSink::Patience patience);
  std::int64_t retry_at_ms() const { return retry_at_ms_; }
  const MirrorSink& sink() const { return sink_; }

  /// The lane's next record. False: it has none, or the sink failed.
  bool take_record(MirrorLane::Shared& lane);
  /// Sends what is gathered. False: the sink failed.
  bool flush() { return send_gathered(MirrorSink::More::No); }

  /// The recorder has gone, as its socket says.
  void gone() { broken({"recv", ECONNRESET}); }

  // Any thread:
  std::atomic<std::uint64_t> mirrored_bytes{0};
  std::atomic<std::uint64_t> sink_failures{0};
  std::atomic<std::uint64_t> sinks_opened{0};

 private:
  struct Large {
    MirrorHead head;  ///< of what has not been sent
    MirrorLane::Shared* lane = nullptr;
    std::uint64_t in_own_pipe = 0;
    std::uint64_t sent = 0;     ///< behind the head that the sink has
    std::uint64_t head_at = 0;  ///< in the file
  };

  bool rotate_before(std::uint64_t record_bytes);
  void gather(MirrorLane::Shared& lane, const MirrorHead& head);
  bool send_large();
  bool send_gathered(MirrorSink::More more);
  void broken(const Error& error);
  void keep_unsent_records();
  void end_large_here();
  void add_head(const MirrorHead& head);

  const Setting setting_;
  const sys::Pipe own_pipe_;
  const std::function<bool(int fd)> wait_;
  MirrorSink sink_;
  std::vector<unsigned char> gathered_;
  std::size_t gathered_sent_ = 0;
  std::optional<Large> large_;
  std::int64_t opened_at_ms_ = 0;
  std::int64_t retry_at_ms_ = 0;
  bool broke_off_ = false;  ///< until it is time to try again
  bool failing_ = false;    ///< has been complained of
};

}  // namespace pagewire::relay
