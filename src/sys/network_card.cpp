#include "sys/network_card.h"

#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "sys/fd.h"

namespace pagewire::sys {

namespace {

class Card {
 public:
  Card(const Fd& socket, const std::string& interface) : socket_(socket) {
    std::copy(interface.begin(), interface.end(), request_.ifr_name);
  }
  // EOPNOTSUPP: the driver does not tell it. EPERM: not without CAP_NET_ADMIN (older kernels).
  bool ask(void* about) {
    request_.ifr_data = static_cast<char*>(about);
    return ::ioctl(socket_.get(), SIOCETHTOOL, &request_) == 0;
  }

 private:
  const Fd& socket_;
  ifreq request_{};
};

/// The structures of ethtool.h end in arrays of a size that is told at run time.
template <class Head>
struct WithTail {
  explicit WithTail(std::size_t tail_bytes) : memory(sizeof(Head) + tail_bytes) {}
  Head& head() { return *reinterpret_cast<Head*>(memory.data()); }
  std::vector<char> memory;  // operator new aligns it
};

Result<std::uint32_t> count_of_features(Card& card) {
  WithTail<ethtool_sset_info> sets(sizeof(std::uint32_t));
  sets.head().cmd = ETHTOOL_GSSET_INFO;
  sets.head().sset_mask = 1ULL << ETH_SS_FEATURES;
  if (!card.ask(sets.memory.data())) return last_error("ethtool(GSSET_INFO)");
  if (sets.head().sset_mask == 0) return 0;
  constexpr std::uint32_t limit = 1024;
  return std::min(sets.head().data[0], limit);
}

Result<std::vector<CardFeature>> features_of(Card& card) {
  const Result<std::uint32_t> told = count_of_features(card);
  if (!told) return tl::unexpected(told.error());
  const std::uint32_t count = *told;
  if (count == 0) return std::vector<CardFeature>{};
  WithTail<ethtool_gstrings> names(std::size_t{count} * ETH_GSTRING_LEN);
  names.head().cmd = ETHTOOL_GSTRINGS;
  names.head().string_set = ETH_SS_FEATURES;
  names.head().len = count;
  const std::uint32_t blocks = (count + 31) / 32;
  WithTail<ethtool_gfeatures> states(blocks * sizeof(ethtool_get_features_block));
  states.head().cmd = ETHTOOL_GFEATURES;
  states.head().size = blocks;
  if (!card.ask(names.memory.data())) return last_error("ethtool(GSTRINGS)");
  if (!card.ask(states.memory.data())) return last_error("ethtool(GFEATURES)");
  std::vector<CardFeature> features;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto* const name = reinterpret_cast<const char*>(names.head().data) + i * ETH_GSTRING_LEN;
    const ethtool_get_features_block& block = states.head().features[i / 32];
    const std::uint32_t bit = 1U << (i % 32);
    features.push_back({.name = std::string(name, ::strnlen(name, ETH_GSTRING_LEN)),
                        .on = (block.active & bit) != 0,
                        .fixed = (block.available & bit) == 0 || (block.never_changed & bit) != 0});
  }
  return features;
}

std::optional<RingSizes> rings_of(Card& card) {
  ethtool_ringparam rings{};
  rings.cmd = ETHTOOL_GRINGPARAM;
  if (!card.ask(&rings)) return std::nullopt;
  return RingSizes{.receive = rings.rx_pending,
                   .receive_max = rings.rx_max_pending,
                   .transmit = rings.tx_pending,
                   .transmit_max = rings.tx_max_pending};
}

std::optional<Channels> channels_of(Card& card) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (!card.ask(&channels)) return std::nullopt;
  return Channels{.transmit = channels.tx_count + channels.combined_count,
                  .transmit_max = std::max(channels.max_tx, channels.max_combined),
                  .combined = channels.max_combined > 0};
}

}  // namespace

const CardFeature* NetworkCard::feature(std::string_view name) const {
  const auto found = std::ranges::find(features, name, &CardFeature::name);
  return found == features.end() ? nullptr : &*found;
}

Result<bool> any_interface_has(std::string_view feature) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return last_error("socket");
  struct if_nameindex* const list = ::if_nameindex();
  if (list == nullptr) return last_error("if_nameindex");
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> owner(
      list, ::if_freenameindex);
  for (const struct if_nameindex* each = list; each->if_index != 0; ++each) {
    Card card(socket, each->if_name);
    const Result<std::vector<CardFeature>> features = features_of(card);
    if (!features) {
      const int why = features.error().errno_value;
      if (why == ENODEV || why == EOPNOTSUPP) continue;
      return tl::unexpected(features.error());
    }
    const auto has = [&](const CardFeature& one) { return one.on && one.name == feature; };
    if (std::ranges::any_of(*features, has)) return true;
  }
  return false;
}

Result<NetworkCard> ask_network_card(const std::string& interface) {
  if (interface.size() >= IFNAMSIZ) return failure("interface", ENAMETOOLONG);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return last_error("socket");
  if (::if_nametoindex(interface.c_str()) == 0) return last_error("interface");
  Card card(socket, interface);
  NetworkCard answer;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (card.ask(&driver)) {
    answer.driver.assign(driver.driver, ::strnlen(driver.driver, sizeof driver.driver));
  }
  answer.features = features_of(card).value_or(std::vector<CardFeature>{});
  answer.rings = rings_of(card);
  answer.channels = channels_of(card);
  return answer;
}

Result<std::vector<std::string>> interfaces_that_are_up() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return last_error("getifaddrs");
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  std::vector<std::string> names;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    // AF_PACKET: once each, by its own name. An address may stand under a label ("eth0:1").
    const bool is_link = each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_PACKET;
    // IFF_RUNNING: with a carrier. A bridge without a port, a card without a cable send nothing.
    constexpr unsigned able = IFF_UP | IFF_RUNNING;
    if (is_link && (each->ifa_flags & able) == able) names.emplace_back(each->ifa_name);
  }
  return names;
}

}  // namespace pagewire::sys
