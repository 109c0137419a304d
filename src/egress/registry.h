// The constants that the path files define, one each. Only registry.cpp and choose.cpp name a path.
#pragma once

#include "egress/egress.h"

namespace pagewire::egress {

extern const Path tls_copy_path;
extern const Path sendfile_path;
extern const Path splice_path;
extern const Path vmsplice_path;
extern const Path tee_path;
extern const Path zerocopy_path;
extern const Path mmap_path;
extern const Path uring_zc_path;
extern const Path uring_zc_sqpoll_path;
extern const Path uring_splice_path;
extern const Path copy_path;

}  // namespace pagewire::egress
