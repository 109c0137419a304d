// Site: methods, paths, directories, symbolic links, permissions, heads, CORS, error bodies.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "unit/content_fixture.h"

namespace pagewire::content {
namespace {

using testing::Answer;
using testing::position_coded;
using testing::SiteTest;

TEST_F(SiteTest, WholeFile) {
  const std::string bytes = position_coded(100'000);
  tree.write("v0/seg_000.ts", bytes);
  const Answer answer = get("/v0/seg_000.ts?token=1");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, bytes);
  EXPECT_EQ(answer.field("Content-Type"), "video/mp2t");
  EXPECT_EQ(answer.field("Accept-Ranges"), "bytes");
  EXPECT_EQ(answer.field("Last-Modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
  EXPECT_EQ(answer.field("Cache-Control"), "public, max-age=31536000, immutable");
  EXPECT_EQ(answer.field("Date"), "Fri, 15 Jan 2027 08:00:00 GMT");
  EXPECT_EQ(answer.field("Server"), "pagewire");
  EXPECT_EQ(answer.field("Vary"), std::nullopt);
  EXPECT_EQ(answer.field("Connection"), std::nullopt);
  EXPECT_EQ(answer.field("Access-Control-Allow-Origin"), std::nullopt);
  const std::string etag = answer.field("ETag").value_or("");
  EXPECT_TRUE(etag.starts_with('"') && etag.ends_with('"') && etag.size() > 8) << etag;
}

TEST_F(SiteTest, SmallFileComesFromMemoryAndLargeFromTheFile) {
  tree.write("small.bin", position_coded(settings.small_body.value));
  tree.write("large.bin", position_coded(settings.small_body.value + 1));
  EXPECT_EQ(get("/small.bin").body, position_coded(settings.small_body.value));
  EXPECT_EQ(response.segments()[1].kind, Segment::Kind::Memory);
  EXPECT_EQ(get("/large.bin").body, position_coded(settings.small_body.value + 1));
  EXPECT_EQ(response.segments()[1].kind, Segment::Kind::File);
  EXPECT_EQ(site().counters().small_body_bytes, settings.small_body.value);
}

TEST_F(SiteTest, EmptyFile) {
  tree.write("empty.ts", "");
  const Answer answer = get("/empty.ts");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.field("Content-Length"), "0");
  EXPECT_EQ(response.segments().size(), 1U);
  EXPECT_EQ(get("/empty.ts", {"Range: bytes=0-"}).field("Content-Range"), "bytes */0");
}

TEST_F(SiteTest, DateFollowsTheClock) {
  tree.write("a", "x");
  EXPECT_EQ(get("/a").field("Date"), "Fri, 15 Jan 2027 08:00:00 GMT");
  now.realtime_s += 1;
  EXPECT_EQ(get("/a").field("Date"), "Fri, 15 Jan 2027 08:00:01 GMT");
}

TEST_F(SiteTest, HeadHasTheFieldsOfGetAndNoBody) {
  tree.write("a.ts", position_coded(1000));
  const Answer full = get("/a.ts");
  const Answer head = ask("HEAD /a.ts");
  EXPECT_EQ(head.head, full.head);
  EXPECT_EQ(head.body, "");
  EXPECT_FALSE(response.file.has_file());
  const Answer ranged = ask("HEAD /a.ts", {"Range: bytes=0-9"});
  EXPECT_EQ(ranged.status, 200);
  EXPECT_EQ(ranged.field("Content-Length"), "1000");
  const Answer missing = ask("HEAD /nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "");
  EXPECT_EQ(missing.field("Content-Length"), std::to_string(get("/nothing").body.size()));
}

TEST_F(SiteTest, OtherMethods) {
  tree.write("a", "x");
  const Answer options = ask("OPTIONS /a");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.field("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(ask("OPTIONS *").status, 204);
  const Answer put = ask("DELETE /a");
  EXPECT_EQ(put.status, 405);
  EXPECT_EQ(put.field("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(ask("BREW /a").status, 501);
  EXPECT_EQ(ask("GET /a", {"Expect: a-pony"}).status, 417);
  EXPECT_EQ(ask("GET /a", {"Expect: 100-continue"}).status, 200);
}

TEST_F(SiteTest, Connection) {
  tree.write("a", "x");
  EXPECT_EQ(ask("GET /a", {}, "HTTP/1.1", true).field("Connection"), "close");
  EXPECT_TRUE(response.close);
  EXPECT_EQ(get("/a", {"Connection: close"}).field("Connection"), "close");
  EXPECT_TRUE(response.close);
  EXPECT_EQ(get("/a").field("Connection"), std::nullopt);
  EXPECT_FALSE(response.close);
  EXPECT_EQ(ask("GET /a", {}, "HTTP/1.0").field("Connection"), "close");
  EXPECT_EQ(ask("GET /a", {"Connection: keep-alive"}, "HTTP/1.0").field("Connection"),
            "keep-alive");
}

TEST_F(SiteTest, BadPaths) {
  tree.write("a", "x");
  tree.write(".secret", "x");
  tree.write("sub/.git/config", "x");
  EXPECT_EQ(get("/missing").status, 404);
  EXPECT_EQ(get("/a/").status, 404);
  EXPECT_EQ(get("/a/b").status, 404);
  EXPECT_EQ(get("/.secret").status, 404);
  EXPECT_EQ(get("/sub/.git/config").status, 404);
  EXPECT_EQ(get("/%00").status, 400);
  EXPECT_EQ(get("/a%2fb").status, 400);
  EXPECT_EQ(get("/%C0%AE").status, 400);
  EXPECT_EQ(get("/" + std::string(300, 'n')).status, 404);  // ENAMETOOLONG
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "/d";
  EXPECT_EQ(get(deep).status, 404);
  EXPECT_EQ(get("/x/../a").body, "x");
  EXPECT_EQ(get("/%61").body, "x");
}

TEST_F(SiteTest, DirectoryRedirectsToItsSlash) {
  tree.write("dir/index.html", "<p>index");
  tree.write("d\xc3\xa9 \"x\"/index.html", "accent");
  const Answer answer = get("/dir?a=1&b=/");
  EXPECT_EQ(answer.status, 301);
  EXPECT_EQ(answer.field("Location"), "/dir/?a=1&b=/");
  EXPECT_EQ(answer.body, "");
  EXPECT_EQ(get("/d%c3%a9%20%22x%22").field("Location"), "/d%C3%A9%20%22x%22/");
  EXPECT_EQ(get("/dir/").body, "<p>index");
  EXPECT_EQ(get("/dir/").field("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(get("/dir/").field("Cache-Control"), "no-cache");
}

TEST_F(SiteTest, RedirectNeverLeadsToAnotherHost) {
  tree.write("evil.example/index.html", "x");
  for (const char* target : {"//evil.example", "///evil.example", "/.//evil.example",
                             "/x/..//evil.example", "http://example.org//evil.example"}) {
    const Answer answer = get(target);
    EXPECT_EQ(answer.status, 301) << target;
    EXPECT_EQ(answer.field("Location"), "/evil.example/") << target;
  }
}

TEST_F(SiteTest, RedirectLongerThanAHead) {
  tree.write("dir/index.html", "x");
  const std::string query(6000, 'q');
  const Answer answer = ask("GET /dir?" + query, {}, "HTTP/1.1", true);
  EXPECT_EQ(answer.field("Location"), "/dir/?" + query);
  EXPECT_EQ(answer.field("Connection"), "close");
}

TEST_F(SiteTest, DirectoryWithoutIndex) {
  tree.write("dir/a", "x");
  tree.write("odd/index.html/x", "an index that is a directory");
  EXPECT_EQ(get("/").status, 404);
  EXPECT_EQ(get("/dir/").status, 404);
  EXPECT_EQ(get("/odd/").status, 404);
  EXPECT_EQ(get("/none/").status, 404);
}

TEST_F(SiteTest, IndexOfTheRoot) {
  tree.write("index.html", "root");
  EXPECT_EQ(get("/").body, "root");
  EXPECT_EQ(get("/..").body, "root");
}

TEST_F(SiteTest, SymbolicLinks) {
  testing::TempTree outside;
  outside.write("secret", "secret");
  tree.write("real/a.ts", "inside");
  tree.link("real/a.ts", "in.ts");
  tree.link("real", "indir");
  tree.link("../real/a.ts", "real/up.ts");
  tree.link(outside.path("secret"), "absolute");
  tree.link(
      "../" + std::filesystem::path(outside.path()).parent_path().filename().string() + "/secret",
      "relative");
  tree.link(outside.path(), "outdir");
  tree.link(tree.path("real/a.ts"), "absolute-inside");
  tree.link("/proc/self/root/etc/passwd", "magic");
  tree.link("loop", "loop");
  tree.link("nowhere", "dangling");
  EXPECT_EQ(get("/in.ts").body, "inside");
  EXPECT_EQ(get("/indir/a.ts").body, "inside");
  EXPECT_EQ(get("/real/up.ts").body, "inside");
  for (const char* target : {"/absolute", "/relative", "/outdir/secret", "/outdir",
                             "/absolute-inside", "/magic", "/loop", "/dangling"}) {
    EXPECT_EQ(get(target).status, 404) << target;
  }
}

// Once the cache trusts a name, turning it into a link to the outside must not open the outside.
TEST_F(SiteTest, FileThatBecomesALinkToTheOutside) {
  testing::TempTree outside;
  outside.write("secret", "secret");
  tree.write("dir/a.ts", "inside");
  EXPECT_EQ(get("/dir/a.ts").body, "inside");
  std::filesystem::remove_all(tree.path("dir"));
  std::filesystem::create_directory(tree.path("dir"));
  tree.link(outside.path("secret"), "dir/a.ts");
  pass_validity();
  EXPECT_EQ(get("/dir/a.ts").status, 404);
}

TEST_F(SiteTest, WhatIsNoFile) {
  ASSERT_EQ(::mkfifo(tree.path("fifo").c_str(), 0644), 0);
  EXPECT_EQ(get("/fifo").status, 404);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  tree.path("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  const sys::Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(get("/socket").status, 404);
}

// Permissions do not hold for root, so a child asks as nobody.
TEST_F(SiteTest, UnreadableFilesAreForbidden) {
  tree.write("closed", "x");
  tree.write("closed-dir/a", "x");
  tree.write("open", "x");
  ::chmod(tree.path().c_str(), 0755);
  ::chmod(tree.path("closed").c_str(), 0);
  ::chmod(tree.path("closed-dir").c_str(), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(10);
    const bool right = get("/open").status == 200 && get("/closed").status == 403 &&
                       get("/closed-dir/a").status == 403 && get("/closed-dir/").status == 403;
    ::_exit(right ? 0 : 1);
  }
  int ended = 0;
  ASSERT_EQ(::waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended));
  EXPECT_EQ(WEXITSTATUS(ended), 0);
  ::chmod(tree.path("closed-dir").c_str(), 0755);
}

TEST_F(SiteTest, ServerHeaderCanBeOff) {
  settings.server_header = false;
  tree.write("a", "x");
  EXPECT_EQ(get("/a").field("Server"), std::nullopt);
  EXPECT_EQ(get("/b").field("Server"), std::nullopt);
}

TEST_F(SiteTest, Cors) {
  settings.cors = true;
  tree.write("a.ts", position_coded(100));
  const std::vector<std::string> origin = {"Origin: https://player.example"};
  for (const char* target : {"/a.ts", "/missing", "/%00"}) {
    const Answer answer = get(target, origin);
    EXPECT_EQ(answer.field("Access-Control-Allow-Origin"), "*") << target;
    EXPECT_EQ(answer.field("Access-Control-Expose-Headers"),
              "Content-Length, Content-Range, Accept-Ranges, ETag, Date");
  }
  EXPECT_EQ(get("/a.ts", {"Range: bytes=0-9"}).field("Access-Control-Allow-Origin"), "*");
  const Answer preflight =
      ask("OPTIONS /a.ts", {"Origin: https://player.example", "Access-Control-Request-Method: GET",
                            "Access-Control-Request-Headers: range"});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.field("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(preflight.field("Access-Control-Allow-Methods"), "GET, HEAD, OPTIONS");
  EXPECT_TRUE(preflight.field("Access-Control-Allow-Headers").value_or("").starts_with("Range, "));
  EXPECT_EQ(preflight.field("Access-Control-Max-Age"), "86400");
  EXPECT_EQ(ask("OPTIONS /a.ts").field("Access-Control-Allow-Methods"), std::nullopt);
}

TEST_F(SiteTest, PreflightWithoutTheFlag) {
  const Answer answer = ask("OPTIONS /a.ts", {"Access-Control-Request-Method: GET"});
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.field("Access-Control-Allow-Origin"), std::nullopt);
  EXPECT_EQ(answer.field("Access-Control-Allow-Methods"), std::nullopt);
}

TEST_F(SiteTest, ErrorBodies) {
  const Answer text = get("/missing");
  EXPECT_EQ(text.field("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(text.body, "404 Not Found: no such file\n");
  EXPECT_EQ(text.field("Cache-Control"), "no-cache");
  EXPECT_FALSE(response.file.has_file());
  const Answer json = get("/missing", {"Accept: application/json"});
  EXPECT_EQ(json.field("Content-Type"), "application/json");
  EXPECT_EQ(json.body, "{\"status\":404,\"error\":\"Not Found\",\"detail\":\"no such file\"}\n");
}

TEST_F(SiteTest, RespondError) {
  parse("GET /x", {"Accept: application/json"});
  site().respond_error(request, now, 400, "a \"quoted\" \\ fault\n", true, response);
  const Answer bad = gather();
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.field("Connection"), "close");
  EXPECT_EQ(bad.body,
            "{\"status\":400,\"error\":\"Bad Request\","
            "\"detail\":\"a \\\"quoted\\\" \\\\ fault\\u000A\"}\n");
  parse("GET /x", {});
  site().respond_error(request, now, 503, "", false, response);
  const Answer busy = gather();
  EXPECT_EQ(busy.field("Retry-After"), "1");
  EXPECT_EQ(busy.field("Connection"), std::nullopt);
  EXPECT_EQ(busy.body, "503 Service Unavailable\n");
}

TEST_F(SiteTest, RootsThatCannotBe) {
  settings.root = tree.path("none");
  EXPECT_EQ(Site::open(settings).error().errno_value, ENOENT);
  tree.write("file", "x");
  settings.root = tree.path("file");
  EXPECT_EQ(Site::open(settings).error().errno_value, ENOTDIR);
}

}  // namespace
}  // namespace pagewire::content
