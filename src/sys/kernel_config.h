// How the running kernel was configured.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pagewire::sys {

class KernelConfig {
 public:
  /// /proc/config.gz (CONFIG_IKCONFIG_PROC), else /boot/config-RELEASE, as distributions have it.
  /// nullopt where neither can be read.
  static std::optional<KernelConfig> load();
  explicit KernelConfig(std::string text) : text_(std::move(text)) {}

  /// `name` without CONFIG_: "y", "m", a number, a string without its quotes; "n" where it is not
  /// set.
  std::string value_of(std::string_view name) const;

 private:
  std::string text_;
};

}  // namespace pagewire::sys
