#include "bench/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "bench/format_number.h"
#include "bench/sheet.h"

namespace pagewire::bench {

namespace {

std::string joined(const std::vector<std::string>& texts, std::string_view separator) {
  std::string all;
  for (const std::string& text : texts) {
    if (!all.empty()) all += separator;
    all += text;
  }
  return all;
}

/// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& texts) {
  if (texts.size() < 2) return joined(texts, "");
  return joined({texts.begin(), texts.end() - 1}, ", ") + " and " + texts.back();
}

// ---------------------------------------------------------------- the verdict

/// "sendfile costs 0.31 of copy's CPU per Gbit, splice 0.45 and zerocopy 1.20".
std::string costs_of(std::vector<std::pair<std::string, double>> ratios,
                     const std::string& baseline) {
  std::ranges::stable_sort(ratios, {}, &std::pair<std::string, double>::second);
  std::vector<std::string> texts;
  for (const auto& [name, ratio] : ratios) {
    texts.push_back(texts.empty() ? fmt::format("{} costs {} of {}'s CPU per Gbit", name,
                                                format_ratio(ratio), baseline)
                                  : fmt::format("{} {}", name, format_ratio(ratio)));
  }
  return listed(texts);
}

std::string verdict_of(const Row& row) {
  const auto baseline = std::ranges::find(row.contenders, row.baseline, &Contender::name);
  const Summary* const theirs = baseline == row.contenders.end()
                                    ? nullptr
                                    : summary_with_value(*baseline, Metric::CpuMsPerGbit);
  if (theirs == nullptr) return "there is no figure to compare with";
  std::vector<std::pair<std::string, double>> apart;
  std::vector<std::string> alike;
  for (const Contender& contender : row.contenders) {
    const auto ratio = ratio_to_baseline(row, contender, Metric::CpuMsPerGbit);
    if (!ratio || contender.name == row.baseline) continue;
    if (may_be_the_same(*summary_with_value(contender, Metric::CpuMsPerGbit), *theirs)) {
      alike.push_back(fmt::format("{} ({})", contender.name, format_ratio(*ratio)));
    } else {
      apart.emplace_back(contender.name, *ratio);
    }
  }
  if (apart.empty() && alike.empty()) return "there is nothing to compare";
  std::string sentence = costs_of(apart, row.baseline);
  if (!alike.empty()) {
    sentence += fmt::format("{}{} cannot be told apart from {}", sentence.empty() ? "" : "; ",
                            listed(alike), row.baseline);
  }
  return theirs->ci95 ? sentence : sentence + "; from single rounds, so chance is not excluded";
}

}  // namespace

std::string heading_of(const Report& report) {
  const std::string what = "pagewire bench " + report.kind;
  return report.title.empty() ? what : what + ": " + report.title;
}

std::vector<std::string> verdicts_of(const Report& report) {
  std::vector<std::string> verdicts;
  if (is_sweep(report)) {
    const std::string baseline = report.rows.empty() ? "copy" : report.rows.front().baseline;
    for (const BreakEven& found : report.break_evens) {
      verdicts.push_back(found.path + ": " + sentence_of(found, baseline));
    }
    return verdicts;
  }
  for (const Row& row : report.rows) verdicts.push_back(row.title + ": " + verdict_of(row));
  return verdicts;
}

std::string sentence_of(const BreakEven& found, const std::string& baseline) {
  if (!found.size_bytes) return found.reason;
  std::string sentence =
      fmt::format("cheaper than {} from {} on", baseline, format_size(*found.size_bytes));
  if (found.ci95) {
    sentence += found.ci95->low > 0
                    ? fmt::format(" (between {} and {})", format_size(found.ci95->low),
                                  format_size(found.ci95->high))
                    : fmt::format(" (surely from {} on)", format_size(found.ci95->high));
  }
  return found.reason.empty() ? sentence : sentence + ", " + found.reason;
}

namespace {

// ---------------------------------------------------------------- the machine

std::string or_unknown(const std::string& text) {
  return text.empty() ? "unknown" : text;
}

std::string cpu_of(const Environment& environment) {
  std::string text = or_unknown(environment.cpu_model);
  if (environment.cpus > 0) {
    text += fmt::format(", {} {}", environment.cpus, environment.cpus == 1 ? "CPU" : "CPUs");
  }
  if (!environment.virtual_machine) return text;
  return text + (*environment.virtual_machine ? ", virtual machine" : ", not a virtual machine");
}

std::string softirq_accounting_of(const Environment& environment) {
  const std::string option = or_unknown(environment.irq_time_accounting);
  if (environment.irq_time_meaning.empty()) return option;
  return option + ": " + environment.irq_time_meaning;
}

}  // namespace

std::vector<NamedText> environment_of(const Report& report) {
  const Environment& environment = report.environment;
  std::vector<NamedText> facts{
      {"date", or_unknown(environment.date)},
      {"pagewire", or_unknown(environment.pagewire_version)},
      {"kernel", or_unknown(environment.kernel)},
      {"CPU", cpu_of(environment)},
      {"clock source", or_unknown(environment.clock_source)},
      {"IRQ_TIME_ACCOUNTING", softirq_accounting_of(environment)},
      {"TICK_CPU_ACCOUNTING", or_unknown(environment.tick_cpu_accounting)},
      {"HZ", or_unknown(environment.hz)},
      {"TSC", environment.tsc_mhz ? format_number(*environment.tsc_mhz) + " MHz" : "unknown"},
      {"hardware counters", or_unknown(environment.hardware_counters)},
      {"filesystem", or_unknown(environment.filesystem)},
      {"network", or_unknown(environment.network)},
      {"offloads",
       environment.offloads.empty() ? "none to be seen" : joined(environment.offloads, ", ")},
      {"load average before",
       environment.load_average ? format_number(*environment.load_average) : "unknown"},
      {"load", load_of(report)}};
  if (!environment.command_line.empty()) {
    facts.emplace_back("command", joined(environment.command_line, " "));
  }
  return facts;
}

std::string machine_of(const Report& report) {
  const Environment& environment = report.environment;
  std::vector<std::string> known;
  for (const std::string& part :
       {environment.cpu_model, environment.kernel.empty() ? "" : "Linux " + environment.kernel,
        environment.network, environment.filesystem, environment.date}) {
    if (!part.empty()) known.push_back(part);
  }
  return joined(known, ", ");
}

std::string load_of(const Report& report) {
  std::set<std::string> loads;
  for (const Row& row : report.rows) {
    loads.insert(row.offered_gbit_per_s
                     ? fmt::format("offered: {} Gbit/s, CPU at equal load",
                                   format_number(*row.offered_gbit_per_s))
                     : "saturation: each path as fast as it goes, so loads differ");
  }
  return loads.empty() ? "none" : joined({loads.begin(), loads.end()}, "; ");
}

std::vector<std::string> mishaps_of(const Report& report) {
  std::vector<std::string> mishaps;
  std::set<std::string> told;  // a path that is not there is not there in every row
  for (const Row& row : report.rows) {
    for (const Contender& contender : row.contenders) {
      if (!contender.unavailable.empty()) {
        std::string text = fmt::format("{} was not run: {}", contender.name, contender.unavailable);
        if (told.insert(text).second) mishaps.push_back(std::move(text));
      }
      for (const Round& round : contender.rounds) {
        if (round.failed.empty()) continue;
        mishaps.push_back(fmt::format("{}: round {} ({}) failed: {}", row.title, round.number,
                                      contender.name, round.failed));
      }
    }
  }
  return mishaps;
}

namespace {

// ---------------------------------------------------------------- what is missing

/// (contender, row) pairs that were run: what "everybody" means.
using Runs = std::set<std::pair<std::string, const Row*>>;

Missing missing_of(const std::string& reason, const std::vector<Metric>& these, const Runs& runs,
                   const Runs& everybody) {
  Missing missing{.what = {}, .who = {}, .reason = reason};
  for (const Metric metric : these) {
    missing.what += missing.what.empty() ? "" : ", ";
    missing.what += info(metric).title;
  }
  if (runs == everybody) return missing;
  std::vector<std::string> names;
  for (const auto& [name, row] : runs) {
    if (names.empty() || names.back() != name) names.push_back(name);
  }
  missing.who = joined(names, ", ");
  return missing;
}

}  // namespace

std::vector<Missing> missing_figures(const Report& report) {
  Runs everybody;
  std::map<std::string, std::map<Metric, Runs>> by_reason;
  for (const Row& row : report.rows) {
    for (const Contender& contender : row.contenders) {
      if (contender.rounds.empty()) continue;
      everybody.insert({contender.name, &row});
      for (const auto& [metric, summary] : contender.summary) {
        if (!summary.median) by_reason[summary.reason][metric].insert({contender.name, &row});
      }
    }
  }
  std::vector<Missing> missing;
  for (const auto& [reason, by_metric] : by_reason) {
    std::map<Runs, std::vector<Metric>> by_runs;
    for (const auto& [metric, runs] : by_metric) by_runs[runs].push_back(metric);
    for (const auto& [runs, these] : by_runs) {
      missing.push_back(missing_of(reason, these, runs, everybody));
    }
  }
  return missing;
}

std::vector<std::string> missing_sentences_of(const Report& report) {
  std::vector<std::string> sentences;
  for (const Missing& missing : missing_figures(report)) {
    const std::string who = missing.who.empty() ? "" : " (" + missing.who + ")";
    sentences.push_back(missing.what + who + ": " + missing.reason);
  }
  return sentences;
}

std::vector<NamedText> glossary() {
  return {
      {"CPU",
       "run time of the server's process, as percent of one core; user and system are "
       "sampled at clock ticks where the kernel does so."},
      {"softirq", "network work of the kernel on the server's CPU, whoever was charged for it."},
      {"CPU per Gbit",
       "milliseconds of the server's CPU for each gigabit that the client received: "
       "the bill. It is only comparable at equal load."},
      {"vs copy",
       "the same, divided by what reading into memory and sending from there costs "
       "(copy = 1.00); less is cheaper."},
      {"service demand", "microseconds of CPU per KiB, as netperf reports it."},
      {"cycles per Gbit",
       "counted by the CPU where it has counters, else CPU time x TSC frequency "
       "(modelled)."},
      {"copies per byte",
       "how often the CPU copied each byte between user and kernel memory, from "
       "what the calls returned."},
      {"memory traffic",
       "bytes of memory traffic per byte sent, modelled from the copies: a range, "
       "because caches decide."},
      {"CPU in copy functions",
       "share of the server's CPU samples inside kernel functions that "
       "copy or clear memory."},
      {"±",
       "half of the 95% confidence interval of the mean over the rounds (Student's t). Where "
       "two intervals overlap, the difference may be chance."},
      {"measured, counted, modelled",
       "a counter of the kernel or the CPU; counted by pagewire from "
       "what system calls returned; arithmetic on the two."},
      {"n/a", "could not be had; the reason stands under \"what is missing\". It is never 0."},
  };
}

}  // namespace pagewire::bench
