#include "cli/doctor_options.h"

#include "cli/option_help.h"
#include "cli/option_kinds.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;
using Make = OptionKinds<DoctorSettings>;

constexpr std::string_view looked_at = "What is looked at";
constexpr std::string_view shown = "What is shown";

BasicOption<DoctorSettings> text(const About& about, std::string takes,
                                 std::string DoctorSettings::*member) {
  return Make::text(
      Kind::Text, about, std::move(takes), [member](auto& s) -> auto& { return s.*member; });
}

std::vector<BasicOption<DoctorSettings>> make_table() {
  std::vector<BasicOption<DoctorSettings>> table;
  table.push_back(Make::text(
      Kind::Text,
      {.name = "root",
       .group = looked_at,
       .placeholder = "DIR",
       .help = "the folder that will be served: its filesystem, and reads of its disk",
       .default_text = "the current one"},
      "the name of a folder", [](auto& s) -> auto& { return s.doctor.root; }));
  table.push_back(Make::text(
      Kind::Text,
      {.name = "iface",
       .group = looked_at,
       .placeholder = "IF",
       .help = "this network interface alone",
       .default_text = "those that are up"},
      "the name of a network interface", [](auto& s) -> auto& { return s.doctor.interface; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "tls",
       .group = looked_at,
       .placeholder = "",
       .help = "HTTPS will be served: kernel TLS that is missing is a failure then"},
      [](auto& s) -> auto& { return s.doctor.tls; }));
  table.push_back(text({.name = "calibration",
                        .group = looked_at,
                        .placeholder = "FILE",
                        .help = "judge by what pagewire bench sweep --save measured, as serve "
                                "--calibration does",
                        .default_text = "none"},
                       "the name of a file", &DoctorSettings::calibration));
  table.push_back(
      text({.name = "calibrate",
            .group = looked_at,
            .placeholder = "FILE",
            .help = "measure sendfile and copy at six sizes first (a short bench sweep, "
                    "about half a minute), write FILE, and judge by it",
            .default_text = "none"},
           "the name of a file", &DoctorSettings::calibrate));
  table.push_back(Make::seconds(
      {.name = "time",
       .short_name = 't',
       .group = looked_at,
       .placeholder = "SECONDS",
       .help =
           "of each of the 36 rounds of --calibrate: shorter ones are sooner over, and say less"},
      {.least_ms = 50, .most_ms = 60'000}, [](auto& s) -> auto& { return s.calibrate_seconds; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "json", .group = shown, .placeholder = "", .help = "docs/doctor.schema.json"},
      [](auto& s) -> auto& { return s.json; }));
  table.push_back(Make::boolean(
      Kind::Switch,
      {.name = "verbose",
       .group = shown,
       .placeholder = "",
       .help = "what each check looked at, and all that it found"},
      [](auto& s) -> auto& { return s.verbose; }));
  return table;
}

}  // namespace

const std::vector<BasicOption<DoctorSettings>>& doctor_options() {
  static const std::vector<BasicOption<DoctorSettings>> table = make_table();
  return table;
}

CommandTable doctor_command() {
  return command_table("pagewire doctor", doctor_options());
}

std::string doctor_help_text() {
  return "Usage: pagewire doctor [flags]\n\n"
         "Says whether zero-copy reaches this kernel, network, filesystem and TLS set-up, what is\n"
         "missing costs, and which command mends it. Tries every call for real, takes less than\n"
         "three seconds, needs no root (and says what root would see more of), changes nothing.\n" +
         options_help(doctor_options(), DoctorSettings{}) +
         "\nExit status: 0 all is well; 1 there are warnings; 2 something failed; 3 doctor could "
         "not\n"
         "run (no such folder or interface, wrong flags).\n\n"
         "Examples:\n"
         "  pagewire doctor --root /srv/www\n"
         "  pagewire doctor --tls --iface eth0 --verbose\n"
         "  pagewire doctor --json | jq '.checks[] | select(.status != \"ok\")'\n"
         "  pagewire doctor --calibrate c.json && pagewire serve /srv/www --calibration c.json\n";
}

}  // namespace pagewire::cli
