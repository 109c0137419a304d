#include "cli/bench_help.h"

#include "cli/bench_options.h"
#include "cli/option_help.h"

namespace pagewire::cli {

namespace {

constexpr const char* stops =
    "\nCtrl-C or SIGTERM drops the round at hand: what was measured before is kept and marked\n"
    "partial; a second one ends it at once.\n\n"
    "Exit status: 0 done; 1 it could not be done, or not whole, or a report could not be\n"
    "written; 2 the flags are wrong; 130, 143 stopped by SIGINT, SIGTERM.\n\n";

}  // namespace

std::string bench_help_text() {
  return "Usage: pagewire bench [COMMAND] [flags]\n\n"
         "Sends the same file by every path (sendfile, splice, mmap, copy ...) and shows what\n"
         "each costs: throughput, CPU, cycles per gigabit, system calls, copies. Alone it takes\n"
         "less than a minute: it makes a file of 256M in this folder, measures, prints a table.\n\n"
         "Commands:\n"
         "  run                what you say, as long as you say; reports as JSON, CSV, HTML, SVG\n"
         "  sweep              from 1K to 64M: from which size on is a path worth it?\n"
         "  compare A B        two reports: what got worse, beyond the noise?\n"
         "  report IN          a stored report, as a table or a page\n"
         "  send FILE          one end alone, for nc, curl, iperf3 or a sink elsewhere\n"
         "  sink HOST:PORT     the other end\n"
         "\n  pagewire bench COMMAND --help lists the flags of each.\n\n"
         "First steps:\n"
         "  pagewire bench\n"
         "  pagewire bench run --path sendfile,copy --size 1G -t 5 --html r.html\n"
         "  pagewire bench run --json before.json       and, after a change:\n"
         "  pagewire bench run --json after.json\n"
         "  pagewire bench compare before.json after.json\n\n"
         "Every figure says where it comes from: measured by the kernel or the CPU, counted by\n"
         "pagewire, or modelled. What cannot be had here is missing, with the reason; run as\n"
         "root to see the most.\n";
}

std::string run_help_text() {
  return "Usage: pagewire bench run [flags]\n\n"
         "Sends a file by each path in turn, over and over, from a process of its own to\n"
         "another, and reports what the sending process cost.\n"
         "SIZE is bytes, or K, M, G, T of 1024 (16K); SECONDS may have a unit (500ms, 1m).\n" +
         options_help(run_options(), default_run()) + stops +
         "Examples:\n"
         "  pagewire bench run --path all --size 256M -t 3 --repeat 5 --json r.json --html r.html\n"
         "  pagewire bench run --file movie.mp4 --path sendfile,readwrite -P 8 --rate 2\n"
         "  pagewire bench run --mode request --size 16K --net veth --cold\n"
         "  pagewire bench run --path copy -t 1 --json - | jq '.rows[0].contenders'\n";
}

std::string sweep_help_text() {
  return "Usage: pagewire bench sweep [flags]\n\n"
         "Asks for bodies of many sizes by each path and finds from which size on a path costs\n"
         "less CPU per byte than copy does. About 8 minutes; less with --sizes or --path.\n"
         "SIZE is bytes, or K, M, G of 1024 (16K); SECONDS may have a unit (500ms, 1m).\n" +
         options_help(sweep_options(), default_sweep()) + stops +
         "Examples:\n"
         "  pagewire bench sweep --save calibration.json --html sweep.html\n"
         "  pagewire bench sweep --path sendfile,copy --sizes 4K,16K,64K -t 2\n"
         "  pagewire serve /srv/www --calibration calibration.json\n";
}

std::string send_help_text() {
  return "Usage: pagewire bench send FILE|--zero SIZE [flags]\n\n"
         "Sends the whole file, raw, to everyone who connects, and prints how long it took.\n" +
         options_help(send_options(), default_send()) +
         "\nEnds at Ctrl-C or SIGTERM with status 0; 1 when it could not start (no such file, "
         "port\n"
         "in use ...), 2 when the flags or ZC_PATH are wrong.\n\n"
         "Examples:\n"
         "  ZC_PATH=sendfile pagewire bench send big.bin --listen :9000\n"
         "  nc 127.0.0.1 9000 >/dev/null          or curl --http0.9, or on another machine:\n"
         "  pagewire bench sink 10.0.0.1:9000 -P 4 -t 10\n"
         "  pagewire bench send --zero 64K --path tee --listen :9000    a load without a disk\n"
         "  pagewire bench send big.bin --iperf3 --listen :5201 --path splice\n"
         "  iperf3 -c 127.0.0.1 -p 5201 -R -P 4 -t 10 -J\n";
}

std::string sink_help_text() {
  return "Usage: pagewire bench sink HOST:PORT [flags]\n\n"
         "Receives what `pagewire bench send` or another program sends, and discards it.\n" +
         options_help(sink_options(), bench::SinkSettings{}) +
         "\nExit status: 0 done; 1 it could not connect, or a connection was reset; 2 the flags "
         "are\n"
         "wrong; 130, 143 stopped by SIGINT, SIGTERM (what was received is printed).\n\n"
         "Examples:\n"
         "  pagewire bench sink 127.0.0.1:9000\n"
         "  pagewire bench sink 10.0.0.1:9000 -P 4 -t 10 --touch\n";
}

std::string compare_help_text() {
  return "Usage: pagewire bench compare A.json B.json [flags]\n\n"
         "Says what changed from A to B, with confidence intervals. Worse is what got worse by\n"
         "more than the threshold and by more than the noise of the rounds.\n" +
         options_help(compare_options(), CompareSettings{}) +
         "\nExit status: 0 nothing got worse; 99 something did; 2 the flags are wrong, or the "
         "files\n"
         "cannot be read or do not match (another size, other connections ...).\n\n"
         "Examples:\n"
         "  pagewire bench compare before.json after.json\n"
         "  pagewire bench compare main.json branch.json --threshold 2% || exit 1\n";
}

std::string report_help_text() {
  return "Usage: pagewire bench report IN.json [flags]\n\n"
         "Prints the table of a stored report, and writes it in other formats.\n" +
         options_help(report_options(), ReportSettings{}) +
         "\nExit status: 0 done; 1 a report could not be written; 2 the flags are wrong, or "
         "IN.json\n"
         "is no report.\n\n"
         "Examples:\n"
         "  pagewire bench report r.json\n"
         "  pagewire bench report r.json --html r.html --md -\n";
}

}  // namespace pagewire::cli
