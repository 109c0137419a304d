// The table of `pagewire serve`, group by group; and what holds when nobody says anything.
#include "cli/serve_options.h"

#include "cli/serve_option_groups.h"

namespace pagewire::cli {

namespace {

std::vector<ServeOption> make_table() {
  std::vector<ServeOption> table;
  add_files(table);
  add_listening(table);
  add_tls(table);
  add_workers(table);
  add_sending(table);
  add_limits(table);
  add_timeouts(table);
  add_watching(table);
  add_configuration(table);
  return table;
}

}  // namespace

const std::vector<ServeOption>& serve_options() {
  static const std::vector<ServeOption> table = make_table();
  return table;
}

CommandTable serve_command() {
  return command_table("pagewire serve", serve_options());
}

ServeSettings default_settings() {
  ServeSettings settings;
  settings.server.site.root = std::string(".");
  settings.server.listen.push_back(sys::Address::parse(":8080").value());
  settings.server.admin = sys::Address::parse("127.0.0.1:9180").value();
  return settings;
}

}  // namespace pagewire::cli
