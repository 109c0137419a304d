#include "content/readahead.h"

#include "sys/file_advice.h"

namespace pagewire::content {

void Readahead::prepare(Response& response) {
  const std::span<const Segment> segments = response.segments();
  if (!settings_.sequential || !response.file.has_file() || segments.size() != 2) return;
  const Segment& body = segments.back();
  if (body.kind != Segment::Kind::File || body.slice.count < streamed_from) return;
  OpenFile& file = *response.file.get();
  if (file.advised_) return;
  file.advised_ = true;
  // ESPIPE cannot be: it is a regular file. A filesystem that refuses is served without.
  if (!sys::advise_sequential(file.fd())) return;
  ++files_;
  if (settings_.ahead.value == 0) return;
  response.ahead = {body.slice.offset, std::min(settings_.ahead, body.slice.count)};
  bytes_ += response.ahead.count.value;
}

}  // namespace pagewire::content
