#include "sys/kallsyms.h"

#include <algorithm>
#include <charconv>

#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

constexpr std::size_t limit_bytes = 256U << 20;  // a kernel with every module has some 20 MB

// nm(1)'s letters: text, and weak symbols, which are text in all but a few cases.
bool is_code(char type) {
  return type == 't' || type == 'T' || type == 'w' || type == 'W';
}

// Where a function's padding begins (CONFIG_FUNCTION_PADDING_BYTES): no function, and it would end
// the one before too early by nothing but nops. The patchable call thunks lie there.
bool is_padding(std::string_view name) {
  return name.starts_with("__pfx_");
}

}  // namespace

Result<KernelSymbols> KernelSymbols::load() {
  const Result<std::string> text = read_text("/proc/kallsyms", limit_bytes);
  if (!text) return tl::unexpected(text.error());
  return parse(*text);
}

Result<KernelSymbols> KernelSymbols::parse(std::string_view text) {
  KernelSymbols symbols;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    symbols.add_line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (symbols.symbols_.empty()) return failure("kallsyms", symbols.hidden_ > 0 ? EACCES : EINVAL);
  symbols.sort_and_drop_aliases();
  return symbols;
}

// "ffffffff81000000 t name\t[module]"
void KernelSymbols::add_line(std::string_view line) {
  std::uint64_t address = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), address, 16);
  const auto address_size = static_cast<std::size_t>(parsed.ptr - line.data());
  constexpr std::size_t between = 3;  // " T "
  if (parsed.ec != std::errc() || line.size() <= address_size + between) return;
  const char type = line[address_size + 1];
  std::string_view name = line.substr(address_size + between);
  const std::size_t tab = std::min(name.find('\t'), name.size());
  std::string_view module = name.substr(tab);
  name = name.substr(0, tab);
  if (!is_code(type) || is_padding(name)) return;
  if (address == 0) {  // also the per-CPU symbols of old kernels, which are data
    ++hidden_;
    return;
  }
  const std::size_t open = module.find('[');
  const std::size_t close = module.find(']');
  const bool has_module = open != module.npos && close != module.npos && open < close;
  module = has_module ? module.substr(open + 1, close - open - 1) : std::string_view();
  symbols_.push_back({.address = address,
                      .name_at = static_cast<std::uint32_t>(names_.size()),
                      .name_size = static_cast<std::uint16_t>(name.size()),
                      .module_size = static_cast<std::uint16_t>(module.size())});
  names_.append(name).append(module);
}

// Several names of one address: the one that the file lists first stays.
void KernelSymbols::sort_and_drop_aliases() {
  std::ranges::stable_sort(symbols_, {}, &Symbol::address);
  // Not std::ranges::unique: clang 14, which builds the fuzz targets, cannot compile libstdc++'s.
  const auto rest =
      std::unique(symbols_.begin(), symbols_.end(),
                  [](const Symbol& a, const Symbol& b) { return a.address == b.address; });
  symbols_.erase(rest, symbols_.end());
}

std::optional<KernelFunction> KernelSymbols::find(std::uint64_t address) const {
  const auto after = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
  if (after == symbols_.begin()) return std::nullopt;
  const KernelFunction function =
      function_at(static_cast<std::size_t>(after - symbols_.begin()) - 1);
  if (address >= function.end) return std::nullopt;
  return function;
}

std::optional<KernelFunction> KernelSymbols::find_name(std::string_view name) const {
  for (std::size_t i = 0; i < symbols_.size(); ++i) {
    const KernelFunction function = function_at(i);
    if (function.name == name) return function;
  }
  return std::nullopt;
}

KernelFunction KernelSymbols::function_at(std::size_t index) const {
  // Nothing follows the last one: it is taken to be no larger than a page or so.
  constexpr std::uint64_t last_function_bytes = 4096;
  const Symbol& symbol = symbols_[index];
  const std::string_view names = names_;
  return {.name = names.substr(symbol.name_at, symbol.name_size),
          .module = names.substr(symbol.name_at + symbol.name_size, symbol.module_size),
          .begin = symbol.address,
          .end = index + 1 < symbols_.size() ? symbols_[index + 1].address
                                             : symbol.address + last_function_bytes};
}

}  // namespace pagewire::sys
