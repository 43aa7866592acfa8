// tpmspace-bench: all figures of docs/figures.md, measured in one run.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/lab.h"
#include "demo/kit/interrupt.h"

namespace tpmspace::bench {
namespace {

constexpr const char* kUsage =
    R"(usage: tpmspace-bench [--quick] [--only counts | --only micro | --only floods | --flood TEXT] [--write FILE]
  --quick        fewer repetitions: to see that it works, not to compare
  --only counts  only the TPM commands for each client command
  --only micro   only what the manager itself takes; needs no TPM and no peers
  --only floods  only the effect of one user's flood on another; needs root and swtpm
  --flood TEXT   only the floods whose description contains TEXT; cannot be written
  --write FILE   also write the page to FILE; with "--only micro" or "--only floods", that section of it
)";

struct Options {
  bool quick = false;
  std::string only;
  std::string flood;
  std::string write;
};

template <typename Rows>
bool take(const char* what, tl::expected<Rows, std::string> measured, Rows& into) {
  std::cerr << "tpmspace-bench: " << what << (measured ? "" : " failed: " + measured.error()) << "\n";
  if (measured) into = std::move(*measured);
  return measured.has_value();
}

bool measure(Lab& lab, const Options& options, Figures& figures) {
  figures.has_abrmd = lab.has(Peer::kAbrmd);
  figures.versions =
      lab.version(Peer::kTpmspace) + "; " + lab.version(Peer::kAbrmd) + "; swtpm is " + lab.version(Peer::kDirect);
  figures.turns = options.quick ? 5 : 25;
  if (!figures.has_abrmd)
    std::cerr << "tpmspace-bench: SKIPPED: tpm2-abrmd (it, its TCTI or dbus-daemon is not installed)\n";
  if (!take("counts", count_commands(lab), figures.counts)) return false;
  if (options.only == "counts") return true;
  if (!take("times on one CPU", measure_times(lab, Placement::kOneCpu, figures.turns), figures.times_one_cpu))
    return false;
  if (!take("times", measure_times(lab, Placement::kFree, figures.turns), figures.times_free)) return false;
  if (!take("memory and start", measure_footprint(lab, options.quick ? 3 : 25), figures.footprint)) return false;
  figures.micro = measure_micro();
  return take("floods", measure_floods(lab, options.quick), figures.floods);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool show(std::string page, const Options& options, bool is_section = false) {
  std::cout << page;
  if (is_section && !options.write.empty()) page = with_section(text_of(options.write), page);
  if (options.write.empty() || (std::ofstream(options.write) << page).flush()) return true;
  std::cerr << "tpmspace-bench: cannot write " << options.write << "\n";
  return false;
}

bool all_hold(const std::vector<std::string>& misses) {
  for (const auto& miss : misses) std::cerr << "tpmspace-bench: " << miss << "\n";
  return misses.empty();
}

int run(const Options& options) {
  if (options.only == "micro") return show(to_markdown(measure_micro()), options, true) ? 0 : 1;
  demo::notice_interrupts();
  ::setenv("TSS2_LOG", "all+none", 1);  // attempts to connect before the server is there are part of the work
  auto lab = Lab::make();
  if (!lab) {
    std::cerr << "tpmspace-bench: " << lab.error() << "\n";
    return 1;
  }
  Figures figures;
  if (options.only == "floods") {
    if (!take("floods", measure_floods(*lab, options.quick, options.flood), figures.floods)) return 1;
    return show(to_markdown(figures.floods), options, true) && all_hold(missed(figures.floods)) ? 0 : 1;
  }
  if (!measure(*lab, options, figures)) return 1;
  if (!show(to_markdown(figures), options)) return 1;
  const bool counts_hold = all_hold(missed(figures.counts)), floods_hold = all_hold(missed(figures.floods));
  return counts_hold && floods_hold ? 0 : 1;
}

bool is_part(const std::string& word) {
  return word == "counts" || word == "micro" || word == "floods";
}

int main_of(const std::vector<std::string>& words) {
  if (words.size() == 3 && words[0] == "relay") return run_relay(words[1], words[2]);
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") {
      options.quick = true;
    } else if (words[i] == "--only" && i + 1 < words.size() && is_part(words[i + 1])) {
      options.only = words[++i];
    } else if (words[i] == "--flood" && i + 1 < words.size()) {
      options.only = "floods";
      options.flood = words[++i];
    } else if (words[i] == "--write" && i + 1 < words.size()) {
      options.write = words[++i];
    } else {
      (words[i] == "--help" ? std::cout : std::cerr) << kUsage;
      return words[i] == "--help" ? 0 : 2;
    }
  }
  if (!options.flood.empty() && !options.write.empty()) {
    std::cerr << "tpmspace-bench: --flood measures a part of a section: without --write\n";
    return 2;
  }
  return run(options);
}

}  // namespace
}  // namespace tpmspace::bench

int main(int argc, char** argv) {
  try {
    return tpmspace::bench::main_of({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << "tpmspace-bench: " << e.what() << "\n";
    return 1;
  }
}
