// date: HTTP-date, written as IMF-fixdate and read in all three forms.
//
// Relies on RFC 9110 section 5.6.7: names are case-sensitive, a recipient must read the obsolete
// forms, and the two-digit year of RFC 850 is the one that is not 50 years in the future.
#include <algorithm>
#include <array>
#include <chrono>

#include "http/http.h"
#include "http/text.h"

namespace pagewire::http {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr std::int64_t seconds_per_day = 86'400;
constexpr std::array<std::string_view, 7> day_names = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> month_names = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Reads a text from left to right; after the first thing that does not fit, everything fails.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool at_end() const { return good_ && rest_.empty(); }
  bool starts_with(std::string_view text) const { return rest_.starts_with(text); }

  void literal(std::string_view text) {
    good_ = good_ && rest_.starts_with(text);
    if (good_) rest_.remove_prefix(text.size());
  }

  unsigned digits(std::size_t count) {
    good_ =
        good_ && rest_.size() >= count &&
        std::all_of(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(count), is_decimal);
    if (!good_) return 0;
    unsigned value = 0;
    for (const char c : rest_.substr(0, count)) value = value * 10 + static_cast<unsigned>(c - '0');
    rest_.remove_prefix(count);
    return value;
  }

  unsigned month() {
    for (unsigned i = 0; i < month_names.size(); ++i) {
      if (!rest_.starts_with(month_names[i])) continue;
      literal(month_names[i]);
      return i + 1;
    }
    good_ = false;
    return 0;
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

struct Fields {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
};

std::optional<Fields> parse_imf_fixdate(std::string_view after_day_name);
std::optional<Fields> parse_rfc850(std::string_view after_day_name, std::int64_t now_s);
std::optional<Fields> parse_asctime(std::string_view after_day_name);
void read_time(Reader& reader, Fields& fields);
std::optional<std::int64_t> to_seconds(const Fields& fields);

void put_digits(char* at, int count, unsigned value) {
  for (int i = count - 1; i >= 0; --i, value /= 10) at[i] = static_cast<char>('0' + value % 10);
}

}  // namespace

void format_http_date(std::int64_t seconds, std::span<char, http_date_size> into) {
  const sys_days day{days{seconds / seconds_per_day}};
  const auto of_day = static_cast<unsigned>(seconds % seconds_per_day);
  const year_month_day date{day};
  const unsigned weekday = std::chrono::weekday{day}.c_encoding();

  std::string_view("Sun, 00 Jan 0000 00:00:00 GMT").copy(into.data(), into.size());
  day_names[weekday].copy(into.data(), 3);
  put_digits(into.data() + 5, 2, static_cast<unsigned>(date.day()));
  month_names[static_cast<unsigned>(date.month()) - 1].copy(into.data() + 8, 3);
  put_digits(into.data() + 12, 4, static_cast<unsigned>(static_cast<int>(date.year())));
  put_digits(into.data() + 17, 2, of_day / 3600);
  put_digits(into.data() + 20, 2, of_day / 60 % 60);
  put_digits(into.data() + 23, 2, of_day % 60);
}

std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now_s) {
  for (const std::string_view name : day_names) {
    const std::string_view short_name = name.substr(0, 3);
    if (!text.starts_with(short_name)) continue;
    std::optional<Fields> fields;
    if (text.starts_with(name)) {
      fields = parse_rfc850(text.substr(name.size()), now_s);
    } else if (text.substr(3).starts_with(',')) {
      fields = parse_imf_fixdate(text.substr(3));
    } else {
      fields = parse_asctime(text.substr(3));
    }
    return fields ? to_seconds(*fields) : std::nullopt;
  }
  return std::nullopt;
}

namespace {

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<Fields> parse_imf_fixdate(std::string_view after_day_name) {
  Reader reader(after_day_name);
  Fields fields;
  reader.literal(", ");
  fields.day = reader.digits(2);
  reader.literal(" ");
  fields.month = reader.month();
  reader.literal(" ");
  fields.year = static_cast<int>(reader.digits(4));
  reader.literal(" ");
  read_time(reader, fields);
  reader.literal(" GMT");
  return reader.at_end() ? std::optional(fields) : std::nullopt;
}

// "Sunday, 06-Nov-94 08:49:37 GMT"
std::optional<Fields> parse_rfc850(std::string_view after_day_name, std::int64_t now_s) {
  Reader reader(after_day_name);
  Fields fields;
  reader.literal(", ");
  fields.day = reader.digits(2);
  reader.literal("-");
  fields.month = reader.month();
  reader.literal("-");
  const auto two_digits = static_cast<int>(reader.digits(2));
  reader.literal(" ");
  read_time(reader, fields);
  reader.literal(" GMT");
  if (!reader.at_end()) return std::nullopt;

  const year_month_day today{
      std::chrono::floor<days>(std::chrono::sys_seconds{std::chrono::seconds{now_s}})};
  const int this_year = static_cast<int>(today.year());
  fields.year = this_year - this_year % 100 + two_digits;
  if (fields.year > this_year + 50) fields.year -= 100;
  if (fields.year <= this_year - 50) fields.year += 100;
  return fields;
}

// "Sun Nov  6 08:49:37 1994"
std::optional<Fields> parse_asctime(std::string_view after_day_name) {
  Reader reader(after_day_name);
  Fields fields;
  reader.literal(" ");
  fields.month = reader.month();
  reader.literal(" ");
  if (reader.starts_with(" ")) {
    reader.literal(" ");
    fields.day = reader.digits(1);
  } else {
    fields.day = reader.digits(2);
  }
  reader.literal(" ");
  read_time(reader, fields);
  reader.literal(" ");
  fields.year = static_cast<int>(reader.digits(4));
  return reader.at_end() ? std::optional(fields) : std::nullopt;
}

void read_time(Reader& reader, Fields& fields) {
  fields.hour = reader.digits(2);
  reader.literal(":");
  fields.minute = reader.digits(2);
  reader.literal(":");
  fields.second = reader.digits(2);
}

std::optional<std::int64_t> to_seconds(const Fields& fields) {
  const year_month_day date{std::chrono::year{fields.year}, std::chrono::month{fields.month},
                            std::chrono::day{fields.day}};
  // 60 is a leap second (RFC 9110 5.6.7), which POSIX time counts as the next minute's first.
  if (!date.ok() || fields.hour > 23 || fields.minute > 59 || fields.second > 60) {
    return std::nullopt;
  }
  return sys_days{date}.time_since_epoch().count() * seconds_per_day + fields.hour * 3600 +
         fields.minute * 60 + fields.second;
}

}  // namespace
}  // namespace pagewire::http
