// HTTP dates: written in one form, read in three.
#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <string>

#include "http/http.h"

namespace pagewire::http {
namespace {

using std::string;
using std::string_view;

string formatted(std::int64_t seconds) {
  std::array<char, http_date_size + 1> buffer;
  buffer.fill('#');
  format_http_date(seconds, std::span<char, http_date_size>(buffer.data(), http_date_size));
  EXPECT_EQ(buffer[http_date_size], '#');
  return {buffer.data(), http_date_size};
}

TEST(HttpDate, Format) {
  EXPECT_EQ(formatted(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(formatted(784'111'777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(formatted(951'782'399), "Mon, 28 Feb 2000 23:59:59 GMT");
  EXPECT_EQ(formatted(951'782'400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(formatted(2'147'483'648), "Tue, 19 Jan 2038 03:14:08 GMT");
  EXPECT_EQ(formatted(4'107'542'400), "Mon, 01 Mar 2100 00:00:00 GMT");
  EXPECT_EQ(formatted(253'402'300'799), "Fri, 31 Dec 9999 23:59:59 GMT");
}

// Against the C library, over four centuries in steps that drift through the hours and weekdays.
TEST(HttpDate, AgreesWithTheCLibraryAndReadsBackWhatItWrote) {
  for (std::int64_t seconds = 0; seconds < 12'622'780'800; seconds += 86'399 * 7 + 3'607) {
    const std::time_t time = seconds;
    std::tm fields{};
    ASSERT_NE(gmtime_r(&time, &fields), nullptr);
    std::array<char, 64> text;
    std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &fields);
    ASSERT_EQ(formatted(seconds), text.data());
    ASSERT_EQ(parse_http_date(text.data()), seconds) << text.data();
    std::strftime(text.data(), text.size(), "%a %b %e %H:%M:%S %Y", &fields);
    ASSERT_EQ(parse_http_date(text.data()), seconds) << text.data();
    std::strftime(text.data(), text.size(), "%A, %d-%b-%y %H:%M:%S GMT", &fields);
    ASSERT_EQ(parse_http_date(text.data(), seconds), seconds) << text.data();
  }
}

TEST(HttpDate, Parse) {
  struct Row {
    string_view text;
    std::int64_t seconds;
  };
  const Row rows[] = {
      {"Sun, 06 Nov 1994 08:49:37 GMT", 784'111'777},
      {"Sunday, 06-Nov-94 08:49:37 GMT", 784'111'777},
      {"Sun Nov  6 08:49:37 1994", 784'111'777},
      {"Wed Nov 16 08:49:37 1994", 784'975'777},
      {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
      {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
      {"Tue, 29 Feb 2000 00:00:00 GMT", 951'782'400},
      {"Sat, 31 Dec 2016 23:59:60 GMT", 1'483'228'800},  // a leap second
      {"Fri, 31 Dec 9999 23:59:59 GMT", 253'402'300'799},
      {"Mon, 06 Nov 1994 08:49:37 GMT", 784'111'777},  // the wrong weekday tells us nothing
  };
  for (const Row& row : rows) EXPECT_EQ(parse_http_date(row.text), row.seconds) << row.text;
}

TEST(HttpDate, RefusesAnythingElse) {
  for (const string_view text : {"",
                                 "S",
                                 "Sun",
                                 "Sun,",
                                 "Sunday",
                                 "Sunday,",
                                 "Sun, 06 Nov 1994 08:49:37",
                                 "Sun, 06 Nov 1994 08:49:37 UTC",
                                 "Sun, 06 Nov 1994 08:49:37 +0000",
                                 "Sun, 06 Nov 1994 08:49:37 GMT ",
                                 " Sun, 06 Nov 1994 08:49:37 GMT",
                                 "Sun, 06 Nov 1994 08:49:37 gmt",
                                 "sun, 06 Nov 1994 08:49:37 GMT",
                                 "Sun, 06 nov 1994 08:49:37 GMT",
                                 "Sun, 06 Nov 94 08:49:37 GMT",
                                 "Sun, 6 Nov 1994 08:49:37 GMT",
                                 "Sun, 00 Nov 1994 08:49:37 GMT",
                                 "Sun, 31 Nov 1994 08:49:37 GMT",
                                 "Sun, 29 Feb 1900 08:49:37 GMT",
                                 "Sun, 29 Feb 2001 08:49:37 GMT",
                                 "Sun, 06 Nov 1994 24:00:00 GMT",
                                 "Sun, 06 Nov 1994 08:60:37 GMT",
                                 "Sun, 06 Nov 1994 08:49:61 GMT",
                                 "Sun, 06 Nov 1994 8:49:37 GMT",
                                 "Sun, 06 Nov 1994  08:49:37 GMT",
                                 "Sun,06 Nov 1994 08:49:37 GMT",
                                 "Sun, 06-Nov-1994 08:49:37 GMT",
                                 "Sun, 06 Nov -994 08:49:37 GMT",
                                 "Sun, 06 Nov 19940 08:49:37 GMT",
                                 "Sunday, 06-Nov-1994 08:49:37 GMT",
                                 "Sunday, 06 Nov 94 08:49:37 GMT",
                                 "Sun, 06-Nov-94 08:49:37 GMT",
                                 "Sundays, 06-Nov-94 08:49:37 GMT",
                                 "Sun Nov 6 08:49:37 1994",
                                 "Sun Nov   6 08:49:37 1994",
                                 "Sun Nov  6 08:49:37 94",
                                 "Sun Nov  6 08:49:37 1994 GMT",
                                 "Foo, 06 Nov 1994 08:49:37 GMT",
                                 "0",
                                 "784111777"}) {
    EXPECT_EQ(parse_http_date(text), std::nullopt) << text;
  }
}

// RFC 9110 5.6.7: more than 50 years ahead is the most recent such year in the past.
TEST(HttpDate, CenturyOfTwoDigits) {
  constexpr std::int64_t in_2026 = 1'780'000'000;
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", in_2026), 784'111'777);
  EXPECT_EQ(formatted(*parse_http_date("Friday, 01-Jan-76 00:00:00 GMT", in_2026)),
            "Wed, 01 Jan 2076 00:00:00 GMT");
  EXPECT_EQ(formatted(*parse_http_date("Saturday, 01-Jan-77 00:00:00 GMT", in_2026)),
            "Sat, 01 Jan 1977 00:00:00 GMT");
  EXPECT_EQ(formatted(*parse_http_date("Saturday, 01-Jan-00 00:00:00 GMT", in_2026)),
            "Sat, 01 Jan 2000 00:00:00 GMT");
  constexpr std::int64_t in_1999 = 946'000'000;
  EXPECT_EQ(formatted(*parse_http_date("Saturday, 01-Jan-00 00:00:00 GMT", in_1999)),
            "Sat, 01 Jan 2000 00:00:00 GMT");
}

}  // namespace
}  // namespace pagewire::http
