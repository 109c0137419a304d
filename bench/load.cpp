// bench_load: the HTTP/1.1 keep-alive load client (load/client.h) over plain TCP. Bodies are thrown
// away in the kernel, so that it costs as little as it can.
#include "load/client.h"
#include "load/options.h"
#include "load/plain_wire.h"

int main(int argc, char** argv) {
  using namespace pagewire::bench;
  const std::optional<Options> options = parse_options(argc, argv, Scheme::Http);
  if (!options) return 2;
  PlainWire::Context context;
  return run_load<PlainWire>(*options, context);
}
