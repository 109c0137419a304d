// Invariant: the answer is not worked out a second way. A request for the name goes through the
// same parser, Site and chooser as one from a socket, so that what is printed is what the access
// log would say of it. What may differ: a client that accepts a coding and a sibling that has it; a
// file that is not in memory yet; and the backlog, which is none here.
#include "cli/serve_explain.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "content/content.h"
#include "http/http.h"
#include "sys/clock.h"
#include "sys/page_cache.h"

namespace pagewire::cli {

namespace {

int complain(const std::string& line) {
  (void)std::fprintf(stderr, "pagewire serve: --explain %s\n", line.c_str());
  return 1;
}

void say(std::string_view what, const std::string& text) {
  (void)std::fputs(fmt::format("{:<12} {}\n", what, text).c_str(), stdout);
}

/// The name as a request target: every byte that could mean something else is escaped.
std::string target_of(std::string_view name) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
  std::string target = name.starts_with('/') ? "" : "/";
  for (const char c : name) {
    if (plain.find(c) != plain.npos) {
      target += c;
    } else {
      target += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return target;
}

/// Whether its ".." climb above where it begins: a request's are cut off at ROOT instead, and the
/// user would be told about another file than the one that was named.
bool leads_outside(std::string_view name) {
  int depth = 0;
  while (!name.empty()) {
    const std::string_view component = name.substr(0, name.find('/'));
    name.remove_prefix(std::min(component.size() + 1, name.size()));
    if (component.empty() || component == ".") continue;
    depth += component == ".." ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}

/// "" when the answer sends a file.
std::string why_no_file(const content::Response& response) {
  switch (response.status) {
    case 200:
    case 206:
      // Without its file a Response is a page of our own, or has no byte of it to send.
      return response.file.has_file() || response.body_bytes.value == 0
                 ? ""
                 : "is a folder; it is answered with a listing";
    case 301:
      return "is a folder; a request for it is sent to the same name with a slash";
    case 403:
      return "may not be read by this user: 403";
    case 404:
      return "is no file that is served beneath ROOT: 404 (missing, hidden, a link that leads out "
             "of ROOT, or a folder without an index)";
    case 416:
      return "does not have that range: 416";
    default:
      return fmt::format("would be answered with status {}", response.status);
  }
}

std::string name_of(int fd) {
  std::array<char, 4096> name;
  const ssize_t size =
      ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), name.data(), name.size());
  return size < 0 ? "?" : std::string(name.data(), static_cast<std::size_t>(size));
}

std::string residency_text(const content::OpenFile& file) {
  const Result<std::optional<ByteCount>> resident = sys::resident_bytes(file.fd());
  if (!resident) return "not known: " + describe(resident.error());
  if (!*resident) return "not known: the kernel tells it only whoever may write the file";
  return fmt::format("{} bytes in memory", (**resident).value);
}

void say_file(const content::Response& response) {
  if (!response.file.has_file()) return say("file", "empty");
  const content::OpenFile& file = *response.file.get();
  say("file", name_of(file.fd()));
  say("size", fmt::format("{} bytes, of which the body has {}", file.status().size.value,
                          response.body_bytes.value));
  say("residency", residency_text(file));
}

void say_paths(const egress::PathReports& reports) {
  say("filesystem", reports.filesystem);
  const bool skipped = !reports.skipped.empty();
  say("self-test", skipped ? "none: " + reports.skipped
                   : reports.cached
                       ? "from an earlier start"
                       : fmt::format("took {:.1f} ms", static_cast<double>(reports.took_us) / 1e3));
  for (const egress::PathReport& report : reports.paths) {
    say("", fmt::format("{}: {}", report.path->name, report.describe()));
  }
}

void say_choice(const ServeSettings& settings, const content::Response& response) {
  const egress::WorkerFacts facts(settings.server.chooser, settings.server.paths.usable(),
                                  settings.server.paths.quarantined());
  egress::ChooseInput input;
  input.segments = response.segments();
  egress::SocketState state;
  input.transport.state = &state;
  const egress::Choice far = egress::choose_now(input, facts);
  input.route = egress::Route::Loopback;
  const egress::Choice near = egress::choose_now(input, facts);
  const auto text = [](const egress::Choice& choice) {
    return fmt::format("path={} reason={}", choice.path->name, egress::token(choice.reason));
  };
  say("choice", text(far));
  if (near.path != far.path || near.reason != far.reason) {
    say("", text(near) + " to clients on this machine");
  }
}

}  // namespace

int explain(const ServeSettings& settings) {
  const std::string& name = settings.explain;
  if (leads_outside(name)) return complain(name + " leads outside ROOT");
  const Result<std::unique_ptr<content::Site>> site = content::Site::open(settings.server.site);
  if (!site) {
    return complain(fmt::format("{}: cannot serve {}: {}", name, settings.server.site.root,
                                std::strerror(site.error().errno_value)));
  }
  std::string head = fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n", target_of(name));
  if (!settings.explain_range.empty()) head += "Range: " + settings.explain_range + "\r\n";
  head += "\r\n";
  http::Request request;
  const http::HeadFault fault = http::parse_head(head, settings.server.limits.head, request);
  if (fault.status != 0) return complain(fmt::format("{}: {}", name, fault.why));
  content::Response response;
  const content::Now now{.monotonic_ms = sys::monotonic_coarse_ms(),
                         .realtime_s = sys::realtime_coarse_s()};
  (*site)->respond(request, now, false, response);
  if (const std::string why = why_no_file(response); !why.empty()) {
    return complain(name + " " + why);
  }
  say_file(response);
  say_paths(settings.server.paths);
  say("calibration", settings.calibration_note.empty() ? "none" : settings.calibration_note);
  say_choice(settings, response);
  return 0;
}

}  // namespace pagewire::cli
