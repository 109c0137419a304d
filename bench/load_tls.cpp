// bench_load_tls: the load client (load/client.h) over TLS 1.3, and a client that makes nothing but
// handshakes (load/handshake_client.h). One thread.
#include <csignal>

#include "load/client.h"
#include "load/handshake_client.h"
#include "load/options.h"
#include "load/tls_wire.h"

int main(int argc, char** argv) {
  using namespace pagewire::bench;
  const std::optional<Options> options = parse_options(argc, argv, Scheme::Https);
  if (!options) return 2;
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  TlsContext context(options->suite);
  if (!context.prepare()) return 1;
  if (options->handshakes == Handshakes::None) return run_load<TlsWire>(*options, context);
  return HandshakeClient(*options, context).run();
}
