// Directory listings: an HTML page of links, sorted by name, at most max_names of them
// and about max_page_bytes.
//
// Invariant: every link can be followed. A name that resolve_path would refuse (hidden, not UTF-8,
// control bytes) is left out. Symbolic links are shown without looking where they lead, since that
// may be outside of ROOT. Names come from whoever fills the directory: all are escaped.
#include "content/listing.h"

#include <dirent.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "content/content.h"
#include "content/escape.h"

namespace pagewire::content {

namespace {

constexpr std::size_t max_names = 10'000;
constexpr std::size_t max_entries = 100'000;  // looked at, hidden ones too: reading takes time
constexpr std::size_t max_page_bytes = 1 * mib;

struct Names {
  std::vector<std::string> names;  // directories end with '/'
  bool truncated = false;
};
Result<Names> read_names(sys::Fd directory);
void append_link(std::string& page, std::string_view name);

}  // namespace

Result<void> append_listing(std::string& page, sys::Fd directory, std::string_view path) {
  Result<Names> read = read_names(std::move(directory));
  if (!read) return tl::unexpected(read.error());
  std::ranges::sort(read->names);

  std::string title = "Index of /";
  append_html_escaped(title, path);
  page.append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>")
      .append(title)
      .append("</title></head>\n<body><h1>")
      .append(title)
      .append("</h1>\n<ul>\n");
  if (!path.empty()) page.append("<li><a href=\"../\">../</a></li>\n");
  for (const std::string& name : read->names) {
    if (page.size() > max_page_bytes) {
      read->truncated = true;
      break;
    }
    append_link(page, name);
  }
  page.append("</ul>\n");
  if (read->truncated) page.append("<p>The directory holds more names than are shown.</p>\n");
  page.append("</body></html>\n");
  return {};
}

namespace {

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

bool can_be_asked_for(std::string_view name) {
  std::string request_path = "/";
  append_percent_encoded(request_path, name);
  std::string decoded;
  return resolve_path(request_path, decoded).status == 0 && decoded == name;
}

Result<Names> read_names(sys::Fd directory) {
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(directory.get()));
  if (!stream) return last_error("fdopendir");  // ENOMEM; ENOTDIR cannot be
  directory.release();                          // closedir closes it

  Names names;
  for (std::size_t looked_at = 0;; ++looked_at) {
    errno = 0;
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return last_error("readdir");  // EIO, ENOENT (removed)
    if (entry == nullptr) return names;
    if (names.names.size() == max_names || looked_at == max_entries) {
      names.truncated = true;
      return names;
    }
    std::string name = entry->d_name;
    if (!can_be_asked_for(name)) continue;
    // DT_UNKNOWN (a filesystem without types) is shown as a file; its link then redirects.
    if (entry->d_type == DT_DIR) name.push_back('/');
    names.names.push_back(std::move(name));
  }
}

void append_link(std::string& page, std::string_view name) {
  page.append("<li><a href=\"");
  append_percent_encoded(page, name);
  page.append("\">");
  append_html_escaped(page, name);
  page.append("</a></li>\n");
}

}  // namespace

}  // namespace pagewire::content
