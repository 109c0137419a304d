// Asks Python, which has a JSON Schema validator and an XML parser that are not ours, what it
// thinks of files that a test wrote.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

namespace pagewire::bench::sample {

/// A folder of the test's own; gone with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "pagewire-render-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(file(name), std::ios::binary) << text;
  }
  std::string path() const { return path_; }

 private:
  std::string path_;
};

inline std::string schema_file() {
  return PAGEWIRE_SOURCE_DIR "/docs/bench.schema.json";
}

struct Said {
  int status = -1;
  std::string text;  ///< of both streams
};

/// Debian's python3, which has Debian's python3-jsonschema; the first one in PATH may be another.
inline Said ask_python(const Folder& folder, std::string_view script) {
  folder.write("ask.py", script);
  const std::string command = "/usr/bin/python3 -W ignore '" + folder.file("ask.py") + "' '" +
                              folder.path() + "' '" + schema_file() + "' 2>&1";
  Said said;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return said;
  std::array<char, 4096> part{};
  std::size_t count = 0;
  while ((count = std::fread(part.data(), 1, part.size(), pipe)) > 0) {
    said.text.append(part.data(), count);
  }
  said.status = ::pclose(pipe);
  return said;
}

/// "" when Python can do what the test needs, else why not.
inline std::string why_no_validator(const Folder& folder) {
  const Said said = ask_python(folder, "import jsonschema; jsonschema.Draft202012Validator\n");
  return said.status == 0 ? "" : "no /usr/bin/python3 with python3-jsonschema: " + said.text;
}

}  // namespace pagewire::bench::sample
