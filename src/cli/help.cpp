#include "cli/help.h"

#include <fmt/format.h>

#include <string_view>

#include "cli/option_help.h"
#include "cli/relay_options.h"
#include "cli/serve_options.h"

namespace pagewire::cli {

namespace {

constexpr std::string_view what_it_is =
    "pagewire serves files and HLS streams over HTTP/1.1 and HTTPS, and relays TCP; bulk\n"
    "goes from page cache or socket to socket without passing through the program.\n";

constexpr std::string_view commands =
    "Commands:\n"
    "  serve [ROOT]      serve the folder ROOT (default: the current one)\n"
    "  relay             pass TCP connections on to other servers\n"
    "  mirror FILE       what relay --mirror has written: connections, and what they said\n"
    "  bench             send a file by every path, and show what each of them costs here\n"
    "  doctor            does zero-copy reach this machine, and what mends it where not?\n"
    "  profile PID|NAME  where a running server's CPU goes, and how much of it copies\n"
    "  top               watch a running server: throughput, CPU, paths and why, errors\n";

constexpr std::string_view first_example =
    "First steps:\n"
    "  pagewire serve /srv/www                        on http://127.0.0.1:8080/\n"
    "  pagewire serve /srv/hls --cors --listen :80    an HLS edge for players on any page\n"
    "  pagewire bench                                 what zero-copy is worth here\n"
    "  pagewire doctor --root /srv/www                whether it reaches this machine\n";

}  // namespace

std::string version_text() {
  return "pagewire " PAGEWIRE_VERSION "\n";
}

std::string overview_text() {
  return fmt::format("{}\n{}\n{}\nMore: pagewire --help, pagewire COMMAND --help\n", what_it_is,
                     commands, first_example);
}

std::string help_text() {
  return fmt::format(
      "Usage: pagewire COMMAND [flags]\n\n{}\n{}\n"
      "Flags:\n"
      "  -h, --help     this text; after a command: its flags\n"
      "  --version      the version\n\n"
      "Exit status: 0 done, 1 it could not be done (port in use, ROOT missing ...), 2 the\n"
      "flags or the configuration are wrong; bench and doctor have more, see their help.\n\n{}",
      what_it_is, commands, first_example);
}

std::string serve_help_text() {
  return "Usage: pagewire serve [ROOT] [flags]\n\n"
         "Serves the files beneath ROOT over HTTP/1.1, and over HTTPS with --tls-cert.\n"
         "SIZE is bytes, or K, M, G, T of 1024 (16K); TIME has a unit: ms, s, m, h (500ms).\n"
         "A switch such as --cors is undone by --no-cors.\n" +
         options_help(serve_options(), default_settings()) +
         "\nSignals:\n"
         "  SIGTERM, SIGINT (Ctrl-C): accept nothing new, finish what is being sent within\n"
         "  --drain-timeout, exit 0; a second one exits at once with status 1.\n"
         "  SIGHUP: open the access log anew (after a rename), read the certificates anew.\n\n"
         "Exit status: 0 ended by a signal, 1 it could not start (port in use, ROOT missing\n"
         "or unreadable ...), 2 flags or file are wrong.\n\n"
         "Examples:\n"
         "  pagewire serve /srv/hls --cors --listen :80\n"
         "  pagewire serve . --listen :80 --listen-tls :443 --tls-cert c.pem --tls-key k.pem\n"
         "  pagewire serve --config edge.toml --check-config\n"
         "  pagewire bench sweep --save c.json && pagewire serve --calibration c.json\n"
         "  pagewire serve . --cache-control '*.m3u8=no-cache' --access-log access.log\n";
}

std::string relay_help_text() {
  return "Usage: pagewire relay --to HOST:PORT [flags]\n\n"
         "Passes TCP connections on to upstreams, and their bytes both ways. What flows in bulk\n"
         "is spliced from socket to socket and never enters the program.\n"
         "SIZE is bytes, or K, M, G of 1024 (256K); TIME has a unit: ms, s, m, h (500ms).\n" +
         options_help(relay_options(), default_relay_settings()) +
         "\nA connection ends as it was ended: FIN is passed on behind the last byte, in either\n"
         "direction by itself, and RST as RST. What the relay ends itself (a timeout, no "
         "upstream,\n"
         "the end of a drain) is a RST. TCP's urgent data is not passed on as such.\n"
         "\nSignals:\n"
         "  SIGTERM, SIGINT (Ctrl-C): accept nothing new, let connections end within\n"
         "  --drain-timeout, reset the rest, exit 0; a second one exits at once with status 1.\n"
         "  SIGHUP: open the access log anew (after a rename), begin the mirror's next file, read\n"
         "  the certificates anew.\n\n"
         "Exit status: 0 ended by a signal, 1 it could not start (port in use ...), 2 flags or\n"
         "file are wrong.\n\n"
         "Examples:\n"
         "  pagewire relay --listen :5432 --to 10.0.0.7:5432\n"
         "  pagewire relay --listen :80 --to 10.0.0.7:80 --to 10.0.0.8:80 --balance leastconn\n"
         "  pagewire relay --config relays.toml --check-config\n";
}

}  // namespace pagewire::cli
