// doctor: does zero-copy reach this kernel, network, filesystem and TLS set-up, and what mends it.
//
// A check is a constant {group, name, run} in the ordered array of registry.cpp, one a file. Each
// tries or reads something and returns a Finding; what later checks and the verdict need of it, it
// leaves in the Examination (check.h). The verdict asks the very chooser that serve has.
//
// Nothing is changed: temporary files have no name, and the only thing that stays of a run is that
// the kernel may have loaded the module of a cipher. The caller's thread does it all, but for the
// moment in which all cores copy at once; it must ignore SIGPIPE.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "egress/egress.h"

namespace pagewire::doctor {

enum class Status : std::uint8_t { Ok, Warning, Failed, Unknown };
std::string_view name(Status status);

enum class Group : std::uint8_t { Kernel, Network, Filesystem, Machine };
std::string_view name(Group group);

/// Milliseconds of CPU for each Gbit that is sent: modelled from what was measured here.
struct Cost {
  double low = 0;
  double high = 0;
};

/// What a check found. Texts are for people, in English, without a full stop.
struct Finding {
  std::string looked_at;
  std::string found = {};
  Status status = Status::Ok;
  std::string reason = {};         ///< why nobody can say, for Unknown
  std::string costs = {};          ///< what that costs, for Warning and Failed
  std::optional<Cost> estimate{};  ///< the same as a number, where there is one
  std::string mend = {};           ///< a command
  std::string as_root = {};        ///< what root would see more of
};

struct Entry {
  Group group = Group::Kernel;
  std::string name;       ///< "io-uring"
  std::string interface;  ///< of the group Network
  Finding finding;
  std::string link;  ///< "docs/DOCTOR.md#io-uring"
};

/// What serve does with a body here.
struct BodyPath {
  std::string body;  ///< "large, 1 MiB"
  std::string path;
  std::string reason;         ///< the access log's word
  std::string over_loopback;  ///< the path, where another one is taken over loopback
};

struct WrongSetting {
  std::string setting;
  std::optional<Cost> cost{};  ///< absent: `basis` says why there is no number
  std::string basis;           ///< what it was calculated from
  bool here = false;           ///< this machine has it wrong now
};

struct Change {
  std::string check;
  std::string what;
  std::string mend;
  std::optional<Cost> saves{};
};

struct Verdict {
  std::string text;  ///< one paragraph
  std::string engine;
  std::vector<BodyPath> paths;
  std::vector<WrongSetting> wrong_settings;
  std::vector<Change> changes;  ///< at most three, the one worth most first
};

struct Settings {
  std::string root = ".";
  std::string interface;  ///< "": those that are up
  bool tls = false;       ///< HTTPS will be served: without kernel TLS zero-copy does not reach it
  egress::ChooserSettings chooser{};
  std::string calibration{};  ///< what the chooser's settings rest on; "": its defaults
};

struct Examined {
  std::string kernel;  ///< "6.18.44"
  std::size_t cpus = 0;
  std::string root;
  std::string filesystem;
  std::vector<std::string> interfaces;
  bool is_root = false;
  bool tls = false;
  std::string calibration;
  double took_s = 0;
  std::vector<Entry> entries;
  Verdict verdict;

  /// Failed, if anything is, else Warning, if anything is; else Ok.
  Status worst() const;
};

/// The error is one line: ROOT or the interface is not there.
tl::expected<Examined, std::string> examine(const Settings& settings);

struct TextOptions {
  std::size_t columns = 80;
  bool colour = false;
  bool verbose = false;
};
std::string to_text(const Examined& examined, const TextOptions& options);
/// docs/doctor.schema.json
std::string to_json(const Examined& examined);

}  // namespace pagewire::doctor
