#include "tls/names.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

namespace pagewire::tls {

namespace {

using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// RFC 1035, 2.3.4.
constexpr std::size_t longest_name = 255;

}  // namespace

std::vector<std::string> names_of(const X509& certificate) {
  std::vector<std::string> names;
  const GeneralNamesPtr all(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS) continue;
    const auto* const text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
    std::string& kept = names.emplace_back(text, ASN1_STRING_length(name->d.dNSName));
    std::transform(kept.begin(), kept.end(), kept.begin(), lower);
  }
  return names;
}

void Names::add(const std::vector<std::string>& names, std::size_t certificate) {
  for (const std::string& name : names) certificates_.emplace(name, certificate);
}

std::size_t Names::find(std::string_view server_name, std::size_t otherwise) const {
  if (server_name.ends_with('.')) server_name.remove_suffix(1);
  if (server_name.empty() || server_name.size() > longest_name) return otherwise;
  std::array<char, longest_name> folded;
  std::transform(server_name.begin(), server_name.end(), folded.begin(), lower);
  std::string_view name(folded.data(), server_name.size());
  if (const auto found = certificates_.find(name); found != certificates_.end()) {
    return found->second;
  }
  const std::size_t dot = name.find('.');
  if (dot == 0 || dot == std::string_view::npos) return otherwise;
  // The star takes the place of the first label's last byte.
  folded[dot - 1] = '*';
  name.remove_prefix(dot - 1);
  const auto found = certificates_.find(name);
  return found == certificates_.end() ? otherwise : found->second;
}

}  // namespace pagewire::tls
