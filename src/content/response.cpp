// Response: owns the buffers that its segments point into, reused from request to request.
#include "content/content.h"

namespace pagewire::content {

void Response::clear() {
  status = 0;
  close = false;
  body_bytes = ByteCount{};
  ahead = ByteRange{};
  segments_.clear();
  text.clear();
  file = FileRef();
}

void Response::add(const Segment& segment) {
  if (!segments_.empty()) body_bytes += segment.size();  // the first is the head
  segments_.push_back(segment);
}

}  // namespace pagewire::content
