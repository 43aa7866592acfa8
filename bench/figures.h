// All figures as one page of Markdown.
//
// Idea: ratios hold from machine to machine; absolute numbers are marked. All numbers were measured in this run, except
// Linux's column, which says so.
// Threads: values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/counts.h"
#include "bench/floods.h"
#include "bench/footprint.h"
#include "bench/micro.h"
#include "bench/ratios.h"

namespace tpmspace::bench {

struct Figures {
  std::string versions;  // of the peers
  bool has_abrmd = false;
  unsigned turns = 0;
  std::vector<CountRow> counts;
  std::vector<RatioRow> times_one_cpu, times_free;
  std::vector<FootprintRow> footprint;
  std::vector<MicroRow> micro;
  std::vector<FloodRow> floods;
};

[[nodiscard]] std::string to_markdown(const Figures& figures);
// Sections of it.
[[nodiscard]] std::string to_markdown(const std::vector<MicroRow>& micro);
[[nodiscard]] std::string to_markdown(const std::vector<FloodRow>& floods);
// The page with that section in the place of its own of that name, or at its end if it has none.
[[nodiscard]] std::string with_section(const std::string& page, const std::string& section);
// The figures that must hold (the counts of the acceptance), as sentences; none: all hold.
[[nodiscard]] std::vector<std::string> missed(const std::vector<CountRow>& counts);

}  // namespace tpmspace::bench
