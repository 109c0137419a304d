// bench: the same file through every path, and an honest bill for each.
//
//   workload.h  what is sent            run.h        rounds -> Report       sweep, break-evens
//   report.h    the values              render.h     Report -> text, and back
//   compare.h   two reports             calibration.h  a sweep, for the chooser
//   send.h, sink.h  one end each, for tools that are not ours (nc, curl, iperf3)
//
// Inside: engine.h (the two processes of a round), meter.h (what the kernel says of them),
// figures.h (samples -> figures), network.h (loopback, veth), environment.h, statistics.h.
//
// Everything runs on the caller's thread, which must be the process's only one while run() or
// sweep() is under way: they fork.
#pragma once

#include "bench/calibration.h"
#include "bench/compare.h"
#include "bench/environment.h"
#include "bench/render.h"
#include "bench/report.h"
#include "bench/run.h"
#include "bench/send.h"
#include "bench/sink.h"
#include "bench/watch.h"
#include "bench/workload.h"
