// Site: the straight walk from a parsed request to a Response.
//
//   method -> Expect -> path -> file (index, listing, redirect) -> precompressed sibling -> answer
//
// Owns the root's descriptor, the open-file cache, and the lines that every response has. The only
// syscalls are those of the open-file cache and, for a listing that nobody else can make, of
// reading a directory.
// RFC 9110: 9 methods, 10.1.1 Expect, 12.5.3 Accept-Encoding, 15 status codes.
#include <array>
#include <random>

#include "base/check.h"
#include "content/answer.h"
#include "content/cache_rules.h"
#include "content/content.h"
#include "content/listing.h"
#include "content/open_file_cache.h"
#include "content/readahead.h"

namespace pagewire::content {

namespace {

std::string site_lines_of(const SiteSettings& settings);
std::uint64_t random_seed();

/// "Date: ...\r\n", formatted once a second.
class DateLine {
 public:
  std::string_view at(const Now& now);

 private:
  static constexpr std::string_view name = "Date: ";
  std::array<char, name.size() + http::http_date_size + 2> line_{};
  std::int64_t second_ = -1;
};

/// How names are looked up for one request.
struct Asking {
  const Now& now;
  Resolution* resolution = nullptr;  ///< nullptr: the disk is waited for
};

}  // namespace

struct Site::Parts {
  Parts(const SiteSettings& site_settings, sys::Fd root_fd)
      : settings(site_settings),
        root(std::move(root_fd)),
        policy{.cache_rules = settings.cache_rules,
               .precompressed = settings.precompressed,
               .site_lines = site_lines_of(settings)},
        cache(root.get(), policy,
              {.files = settings.open_files,
               .validity_ms = settings.validity_ms,
               .small_body = settings.small_body,
               .small_bodies_total = settings.small_bodies_total}),
        readahead(settings.readahead),
        boundaries(random_seed()) {}

  Exchange begin(const http::Request& request, const Now& now, bool close, Response& response) {
    return {.request = request,
            .close = close || !request.keep_alive,
            .date_line = date.at(now),
            .site_lines = policy.site_lines,
            .response = response};
  }

  // False: a name is unresolved, and nothing is answered.
  bool get(const Exchange& exchange, const Asking& asking);
  bool get_directory(const Exchange& exchange, const Asking& asking);
  bool send_file(const Exchange& exchange, const FileName& plain, FileRef identity,
                 const Asking& asking);
  bool list_directory(const Exchange& exchange, const Asking& asking);
  Lookup best_coding(const Exchange& exchange, const FileName& plain, FileRef identity,
                     const Asking& asking);

  SiteSettings settings;
  sys::Fd root;
  HeadPolicy policy;
  OpenFileCache cache;
  Readahead readahead;
  BoundaryMaker boundaries;
  DateLine date;
  std::string path;        // decoded; reused, so that a hit does not allocate
  std::string index_path;  // the same for a directory's index
};

Site::Site(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Site::~Site() = default;

Result<std::unique_ptr<Site>> Site::open(const SiteSettings& settings) {
  const Result<void> rules = check_cache_rules(settings.cache_rules);
  if (!rules) return tl::unexpected(rules.error());
  Result<sys::Fd> root = sys::open_directory(settings.root.c_str());
  if (!root) return tl::unexpected(root.error());
  // ENOSYS: Linux before 5.6; EPERM: a container's seccomp filter hides the call. Better told at
  // start than by a 500 for every file.
  const Result<sys::Fd> beneath = sys::open_beneath(root->get(), ".");
  if (!beneath) return tl::unexpected(beneath.error());
  return std::unique_ptr<Site>(new Site(std::make_unique<Parts>(settings, std::move(*root))));
}

SiteCounters Site::counters() const {
  SiteCounters counters = parts_->cache.counters();
  counters.readahead_files = parts_->readahead.files();
  counters.readahead_bytes = parts_->readahead.bytes_asked();
  return counters;
}

int Site::root_fd() const {
  return parts_->root.get();
}

FoundName Site::resolved(const NameWish& wish, Result<OpenedName> opened, const Now& now) {
  if (!wish.listing) {
    return {.key = wish.key,
            .lookup = parts_->cache.resolved(wish, std::move(opened), now),
            .listing = {}};
  }
  if (opened) {
    return {.key = wish.key,
            .lookup = {.outcome = Outcome::Directory, .file = {}},
            .listing = std::move(opened->listing)};
  }
  return {.key = wish.key,
          .lookup = {.outcome = outcome_of(opened.error().errno_value), .file = {}},
          .listing = {}};
}

bool Site::respond(const http::Request& request, const Now& now, bool close, Response& response,
                   Resolution* resolution) {
  response.clear();
  const Exchange exchange = parts_->begin(request, now, close, response);
  const bool known =
      request.method != http::Method::Unknown && request.method != http::Method::NotAllowed;
  if (known && request.expect_unknown) {
    answer_error(exchange, 417, "the only expectation that is met is 100-continue");
    return true;
  }
  switch (request.method) {
    case http::Method::Get:
    case http::Method::Head:
      if (!parts_->get(exchange, {.now = now, .resolution = resolution})) return false;
      parts_->readahead.prepare(response);
      break;
    case http::Method::Options:
      answer_options(exchange, parts_->settings.cors);
      break;
    case http::Method::NotAllowed:
      answer_error(exchange, 405, "only GET, HEAD and OPTIONS are served", allow_line);
      break;
    case http::Method::Unknown:
      answer_error(exchange, 501, "unknown method");
      break;
  }
  return true;
}

void Site::respond_error(const http::Request& request, const Now& now, int status, const char* why,
                         bool close, Response& response) {
  response.clear();
  const Exchange exchange = parts_->begin(request, now, close, response);
  const std::string_view lines = status == 503   ? "Retry-After: 1\r\n"
                                 : status == 405 ? allow_line
                                                 : std::string_view{};
  answer_error(exchange, status, why, lines);
}

namespace {

/// For a lookup that led to no file. False: it has led nowhere yet.
bool answer_lookup_error(const Exchange& exchange, Outcome outcome) {
  switch (outcome) {
    case Outcome::Unresolved:
      return false;
    case Outcome::File:
    case Outcome::Directory:
    case Outcome::Missing:
      answer_error(exchange, 404, "no such file");
      return true;
    case Outcome::Forbidden:
      answer_error(exchange, 403, "the server may not read this file");
      return true;
    case Outcome::Exhausted:
      answer_error(exchange, 503, "out of descriptors or memory", "Retry-After: 1\r\n");
      return true;
    case Outcome::Broken:
      answer_error(exchange, 500, "the file could not be opened");
      return true;
  }
  PW_CHECK(false);
  return true;
}

}  // namespace

bool Site::Parts::get(const Exchange& exchange, const Asking& asking) {
  const PathFault fault = resolve_path(exchange.request.path, path);
  if (fault.status != 0) {
    answer_error(exchange, fault.status, fault.why);
    return true;
  }
  if (path.empty() || path.back() == '/') return get_directory(exchange, asking);

  const FileName name{.path = path};
  Lookup lookup = cache.find(name, asking.now, asking.resolution);
  if (lookup.outcome == Outcome::File) {
    return send_file(exchange, name, std::move(lookup.file), asking);
  }
  if (lookup.outcome != Outcome::Directory) return answer_lookup_error(exchange, lookup.outcome);
  // The slash first: relative links of the index must resolve beneath the directory.
  answer_redirect(exchange, path);
  return true;
}

bool Site::Parts::get_directory(const Exchange& exchange, const Asking& asking) {
  index_path.assign(path).append(settings.index);
  const FileName name{.path = index_path};
  Lookup lookup = cache.find(name, asking.now, asking.resolution);
  if (lookup.outcome == Outcome::File) {
    return send_file(exchange, name, std::move(lookup.file), asking);
  }
  const bool no_index = lookup.outcome == Outcome::Missing || lookup.outcome == Outcome::Directory;
  if (!no_index || !settings.listing) return answer_lookup_error(exchange, lookup.outcome);
  return list_directory(exchange, asking);
}

bool Site::Parts::send_file(const Exchange& exchange, const FileName& plain, FileRef identity,
                            const Asking& asking) {
  Lookup best = best_coding(exchange, plain, std::move(identity), asking);
  if (best.outcome == Outcome::Unresolved) return false;
  answer_file(exchange, std::move(best.file), settings.ranges, boundaries);
  return true;
}

/// Reading a directory may wait for the disk, and nobody can tell beforehand: it is always wished
/// for. Its key cannot be a file's, which never ends with '/' and never is empty.
bool Site::Parts::list_directory(const Exchange& exchange, const Asking& asking) {
  const NameWish wish{.key = path,
                      .path = path,
                      .coding = {},
                      .relative_path = path.empty() ? "." : path,
                      .listing = true};
  Resolution* const resolution = asking.resolution;
  if (resolution == nullptr) {
    Result<OpenedName> opened = open_name(root.get(), wish, ByteCount{});
    if (!opened) return answer_lookup_error(exchange, outcome_of(opened.error().errno_value));
    exchange.response.text = std::move(opened->listing);
  } else {
    const FoundName* const found = resolution->find(wish.key);
    if (found == nullptr) {
      resolution->wish = wish;
      return false;
    }
    if (found->lookup.outcome != Outcome::Directory) {
      return answer_lookup_error(exchange, found->lookup.outcome);
    }
    exchange.response.text = found->listing;
  }
  answer_page(exchange);
  return true;
}

/// The form of the file that the client weighs highest among those that are there; Unresolved when
/// that is not known yet. A client that refuses identity and gets no sibling is sent identity all
/// the same: RFC 9110 12.5.3 allows it beside 406, and the file is of more use than an error.
Lookup Site::Parts::best_coding(const Exchange& exchange, const FileName& plain, FileRef identity,
                                const Asking& asking) {
  Lookup plain_form{.outcome = Outcome::File, .file = std::move(identity)};
  const http::FieldLines& accepted = exchange.request.accept_encoding;
  if (!plain_form.file->head().has_siblings || !accepted.present()) return plain_form;
  const http::CodingOrder order = http::preferred_codings(http::parse_accept_encoding(accepted));
  for (std::size_t i = 0; i < order.count; ++i) {
    const http::Coding coding = order.codings[i];
    if (coding == http::Coding::Identity) break;
    const FileName name{.path = plain.path, .coding = coding};
    Lookup lookup = cache.find(name, asking.now, asking.resolution);
    const bool ends = lookup.outcome == Outcome::File || lookup.outcome == Outcome::Unresolved;
    if (ends) return lookup;
  }
  return plain_form;
}

namespace {

std::string site_lines_of(const SiteSettings& settings) {
  std::string lines;
  if (settings.server_header) lines += "Server: pagewire\r\n";
  if (settings.cors) {
    lines +=
        "Access-Control-Allow-Origin: *\r\n"
        "Access-Control-Expose-Headers: "
        "Content-Length, Content-Range, Accept-Ranges, ETag, Date\r\n";
  }
  return lines;
}

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

std::string_view DateLine::at(const Now& now) {
  if (now.realtime_s != second_) {
    second_ = now.realtime_s;
    char* const date = std::copy(name.begin(), name.end(), line_.begin());
    http::format_http_date(second_,
                           std::span<char, http::http_date_size>(date, http::http_date_size));
    line_[line_.size() - 2] = '\r';
    line_[line_.size() - 1] = '\n';
  }
  return {line_.data(), line_.size()};
}

}  // namespace

}  // namespace pagewire::content
