// The part of a command line that is the same for every command, on a table made for the purpose.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/flags.h"
#include "cli/option_help.h"
#include "cli/option_kinds.h"

namespace pagewire::cli {
namespace {

enum class Fruit : std::uint8_t { Apple, Pear };

struct Basket {
  std::string from;
  std::string to;
  std::uint64_t count = 1;
  double seconds = 3;
  Fruit fruit = Fruit::Apple;
  bool washed = true;
};

using Make = OptionKinds<Basket>;

std::vector<BasicOption<Basket>> make_table() {
  constexpr std::string_view group = "Basket";
  std::vector<BasicOption<Basket>> table;
  for (const std::string_view name : {"from", "to"}) {
    table.push_back(Make::text(
        OptionFacts::Kind::Positional,
        {.name = name,
         .group = group,
         .placeholder = name == "from" ? "FROM" : "TO",
         .help = "a place"},
        "a place", [name](auto& b) -> auto& { return name == "from" ? b.from : b.to; }));
    table.back().required = true;
  }
  table.push_back(Make::number(
      {.name = "count", .short_name = 'c', .group = group, .placeholder = "N", .help = "how many"},
      {.least = 1, .most = 9}, [](auto& b) -> auto& { return b.count; }));
  table.push_back(Make::seconds(
      {.name = "time", .short_name = 't', .group = group, .placeholder = "S", .help = "how long"},
      {.least_ms = 100, .most_ms = 60'000}, [](auto& b) -> auto& { return b.seconds; }));
  table.push_back(Make::choice<Fruit>(
      {.name = "fruit", .group = group, .placeholder = "apple|pear", .help = "what"},
      {{.name = "apple", .value = Fruit::Apple}, {.name = "pear", .value = Fruit::Pear}},
      [](auto& b) -> auto& { return b.fruit; }));
  table.push_back(Make::boolean(
      OptionFacts::Kind::Switch,
      {.name = "washed", .group = group, .placeholder = "", .help = "leave the dirt on"},
      [](auto& b) -> auto& { return b.washed; }));
  return table;
}

const std::vector<BasicOption<Basket>>& basket_table() {
  static const std::vector<BasicOption<Basket>> table = make_table();
  return table;
}

OrUsageError<Basket> basket_of(const std::vector<std::string>& arguments) {
  const auto flags = parse_flags(command_table("carry", basket_table()), arguments);
  if (!flags) return tl::unexpected(flags.error());
  Basket basket;
  return apply(basket_table(), flags->assignments, basket).map([&] { return basket; });
}

std::string error_of(const std::vector<std::string>& arguments) {
  const auto basket = basket_of(arguments);
  return basket ? "none" : basket.error().text;
}

TEST(Flags, ShortAndLongNamesMeanTheSame) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"here", "there", "-c", "4", "-t", "500ms", "--no-washed", "--fruit", "pear"},
           {"-c4", "here", "-t0.5", "--fruit=pear", "there", "--no-washed"},
           {"--count", "4", "--time", "0.5", "--washed=false", "--fruit", "pear", "here",
            "there"}}) {
    const auto basket = basket_of(arguments);
    ASSERT_TRUE(basket.has_value()) << basket.error().text;
    EXPECT_EQ(basket->from, "here");
    EXPECT_EQ(basket->to, "there");
    EXPECT_EQ(basket->count, 4U);
    EXPECT_EQ(basket->seconds, 0.5);
    EXPECT_EQ(basket->fruit, Fruit::Pear);
    EXPECT_FALSE(basket->washed);
  }
}

TEST(Flags, AMistakeIsOneLineThatNamesTheCommand) {
  struct Wrong {
    std::vector<std::string> arguments;
    const char* line;
  };
  const std::vector<Wrong> table = {
      {{}, "carry: FROM is missing, a place; see carry --help"},
      {{"a"}, "carry: TO is missing, a place; see carry --help"},
      {{"a", "b", "c"}, "carry: takes FROM and TO; \"c\" is one too many"},
      {{"a", "b", "--cuont", "3"},  // the flag went wrong; its value is only in the way
       "carry: there is no flag --cuont (did you mean --count?); see carry --help"},
      {{"a", "b", "--cuont=3"},
       "carry: there is no flag --cuont (did you mean --count?); see carry --help"},
      {{"a", "b", "-x"}, "carry: there is no flag -x; see carry --help"},
      {{"a", "b", "-c"}, "carry: --count takes a number from 1 to 9, but nothing follows it"},
      {{"a", "b", "-c", "10"}, "carry: --count takes a number from 1 to 9, not \"10\""},
      {{"a", "b", "-t", "0.05"},
       "carry: --time takes seconds from 0.1 to 60, such as 3, 0.5 or 500ms, not \"0.05\""},
      {{"a", "b", "--fruit", "paer"},
       "carry: --fruit takes apple or pear, not \"paer\" (did you mean pear?)"},
  };
  for (const Wrong& wrong : table) EXPECT_EQ(error_of(wrong.arguments), wrong.line);
}

TEST(Flags, TheHelpShowsShortNamesAndTheSwitchThatChangesSomething) {
  const std::string help = options_help(basket_table(), Basket{});
  EXPECT_EQ(help,
            "\nBasket:\n"
            "  FROM                        a place\n"
            "  TO                          a place\n"
            "  -c, --count N               how many (default: 1)\n"
            "  -t, --time S                how long (default: 3)\n"
            "  --fruit apple|pear          what (default: apple)\n"
            "  --no-washed                 leave the dirt on (default: off)\n"
            "  -h, --help                  this text\n");
}

}  // namespace
}  // namespace pagewire::cli
