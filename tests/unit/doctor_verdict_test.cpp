// From findings to a verdict, and to what is shown of it.
#include "doctor/verdict.h"

#include <gtest/gtest.h>

#include <sstream>

#include "text/text.h"

namespace pagewire::doctor {
namespace {

Entry entry(std::string name, Status status, std::string mend, double high = 0) {
  Entry made{.group = Group::Kernel,
             .name = std::move(name),
             .interface = {},
             .finding = {.looked_at = "a file", .found = "a value that it has", .status = status},
             .link = "docs/DOCTOR.md#a"};
  made.finding.mend = std::move(mend);
  if (status == Status::Unknown) made.finding.reason = "nobody tells";
  if (!made.finding.mend.empty()) made.finding.costs = "something";
  if (high > 0) made.finding.estimate = Cost{.low = high / 2, .high = high};
  return made;
}

TEST(Changes, AreThreeTheFailedFirstThenTheDearest) {
  const std::vector<Entry> entries{
      entry("cheap", Status::Warning, "a", 1),   entry("well", Status::Ok, "b", 900),
      entry("dear", Status::Warning, "c", 100),  entry("failed", Status::Failed, "d"),
      entry("unknown", Status::Unknown, "e", 5), entry("middle", Status::Warning, "f", 10),
      entry("nothing", Status::Failed, "")};
  const std::vector<Change> changes = first_changes(entries);
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].check, "failed");
  EXPECT_EQ(changes[1].check, "dear");
  EXPECT_EQ(changes[1].saves->high, 100);
  EXPECT_EQ(changes[2].check, "middle");
}

TEST(Changes, NameACommandOnce) {
  const std::vector<Entry> entries{entry("one", Status::Warning, "same"),
                                   entry("two", Status::Warning, "same")};
  EXPECT_EQ(first_changes(entries).size(), 1U);
  EXPECT_TRUE(first_changes({}).empty());
}

/// A machine on which every path works.
Examination examination_of(const Settings& settings) {
  Examination examination{.settings = settings};
  examination.measured.copy_cached = 10e9;
  examination.measured.copy_memory = 5e9;
  examination.measured.syscall_ns = 100;
  for (const egress::Path* const path : egress::socket_paths()) {
    examination.paths.paths.push_back({.path = path});
  }
  examination.engine = "uring";
  examination.sees_cold_pages = true;
  return examination;
}

std::string path_of(const Verdict& verdict, std::string_view body) {
  for (const BodyPath& path : verdict.paths) {
    if (path.body.starts_with(body)) return path.path + " " + path.reason;
  }
  return {};
}

TEST(Verdict, AsksTheChooser) {
  const Settings settings;
  Examination examination = examination_of(settings);
  const Verdict user_tls = judge(examination, {});
  EXPECT_EQ(path_of(user_tls, "small"), "copy small-body");
  EXPECT_EQ(path_of(user_tls, "large, 1 MiB"), "sendfile large-body");
  EXPECT_EQ(path_of(user_tls, "cold"), "sendfile large-body");
  EXPECT_EQ(path_of(user_tls, "large over TLS"), "tls_copy tls-user");
  examination.kernel_tls = true;
  EXPECT_EQ(path_of(judge(examination, {}), "large over TLS"), "sendfile large-body");
}

TEST(Verdict, FollowsTheSelfTestAndTheCalibration) {
  Settings settings;
  Examination examination = examination_of(settings);
  for (egress::PathReport& report : examination.paths.paths) {
    if (report.path->name == "sendfile") report.state = egress::PathState::Unavailable;
  }
  EXPECT_EQ(path_of(judge(examination, {}), "large, 1 MiB"), "splice no-sendfile");
  settings.chooser.small_body = ByteCount{2 * mib};
  EXPECT_EQ(path_of(judge(examination, {}), "large, 1 MiB"), "copy small-body");
  EXPECT_NE(judge(examination, {}).text.find("does not reach plain HTTP"), std::string::npos);
}

TEST(Verdict, EstimatesFromTheBandwidth) {
  const Settings settings;
  const Examination examination = examination_of(settings);
  const Verdict verdict = judge(examination, {});
  const WrongSetting& copied = verdict.wrong_settings.front();
  ASSERT_TRUE(copied.cost);
  EXPECT_DOUBLE_EQ(copied.cost->low, 25) << "125 MB twice at 10 GB/s";
  EXPECT_DOUBLE_EQ(copied.cost->high, 50);
  EXPECT_FALSE(copied.here);
  for (const WrongSetting& each : verdict.wrong_settings) {
    if (each.cost) {
      EXPECT_LE(each.cost->low, each.cost->high) << each.setting;
    }
    EXPECT_FALSE(each.basis.empty()) << each.setting;
  }
}

TEST(Verdict, TakesWhatTheCalibrationMeasured) {
  Settings settings;
  settings.chooser.costs = {
      {.size = ByteCount{mib},
       .costs = {{.path = egress::find_path("sendfile"), .low = 6, .high = 8},
                 {.path = egress::find_path("copy"), .low = 20, .high = 25}}}};
  const Verdict verdict = judge(examination_of(settings), {});
  ASSERT_TRUE(verdict.wrong_settings.front().cost);
  EXPECT_DOUBLE_EQ(verdict.wrong_settings.front().cost->low, 12);
  EXPECT_DOUBLE_EQ(verdict.wrong_settings.front().cost->high, 19);
  EXPECT_NE(verdict.wrong_settings.front().basis.find("calibration"), std::string::npos);
}

TEST(Verdict, HasNoNumbersWhereNothingWasMeasured) {
  const Settings settings;
  Examination examination = examination_of(settings);
  examination.measured = {};
  for (const WrongSetting& each : judge(examination, {}).wrong_settings) {
    EXPECT_FALSE(each.cost) << each.setting;
  }
}

Examined examined() {
  const Settings settings;
  Examined all;
  all.kernel = "6.18.44";
  all.cpus = 2;
  all.root = "/srv/www";
  all.entries = {entry("one", Status::Ok, ""),
                 entry("a-longer-name-it-is", Status::Warning, "do it"),
                 entry("three", Status::Failed, "mend it"), entry("four", Status::Unknown, "")};
  all.verdict = judge(examination_of(settings), all.entries);
  return all;
}

TEST(Text, FitsEveryWidth) {
  for (const std::size_t columns : {40U, 60U, 80U, 120U}) {
    for (const bool verbose : {false, true}) {
      std::istringstream lines(to_text(examined(), {.columns = columns, .verbose = verbose}));
      for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(columns_of(line), columns) << line;
      }
    }
  }
}

TEST(Text, HasColourOnlyWhereItWasAsked) {
  EXPECT_EQ(to_text(examined(), {.colour = false}).find('\x1b'), std::string::npos);
  EXPECT_NE(to_text(examined(), {.colour = true}).find("\x1b[33mwarning"), std::string::npos);
}

TEST(Text, SaysWhatToDoAndWhyNotKnown) {
  const std::string text = to_text(examined(), {.columns = 100});
  EXPECT_NE(text.find("mend  mend it"), std::string::npos) << text;
  EXPECT_NE(text.find("nobody tells"), std::string::npos);
  EXPECT_EQ(text.find("looked at"), std::string::npos);
  EXPECT_NE(to_text(examined(), {.columns = 100, .verbose = true}).find("looked at a file"),
            std::string::npos);
}

TEST(Worst, IsAFailureThenAWarningAndNeverTheUnknown) {
  Examined all;
  all.entries = {entry("a", Status::Ok, ""), entry("b", Status::Unknown, "")};
  EXPECT_EQ(all.worst(), Status::Ok);
  all.entries.push_back(entry("c", Status::Warning, "x"));
  EXPECT_EQ(all.worst(), Status::Warning);
  all.entries.push_back(entry("d", Status::Failed, "x"));
  EXPECT_EQ(all.worst(), Status::Failed);
}

}  // namespace
}  // namespace pagewire::doctor
