// tpmspace-bench: all figures of docs/figures.md, measured in one run.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/flood_connect.h"
#include "bench/lab.h"
#include "demo/kit/interrupt.h"

namespace tpmspace::bench {
namespace {

constexpr const char* kUsage = R"(usage: tpmspace-bench [--quick] [--counts | --micro] [--write FILE]
  --quick        fewer repetitions: to see that it works, not to compare
  --counts       only the TPM commands for each client command
  --micro        only what the manager itself takes; needs no TPM and no peers
  --write FILE   also write the page to FILE
)";

struct Options {
  bool quick = false, counts_only = false, micro_only = false;
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
  if (options.counts_only) return true;
  if (!take("times on one CPU", measure_times(lab, Placement::kOneCpu, figures.turns), figures.times_one_cpu))
    return false;
  if (!take("times", measure_times(lab, Placement::kFree, figures.turns), figures.times_free)) return false;
  if (!take("memory and start", measure_footprint(lab, options.quick ? 3 : 25), figures.footprint)) return false;
  ConnectFlood flood;
  if (!take("connections beside a flood", measure_connect_flood(lab, options.quick ? 50 : 500), flood)) return false;
  figures.connect_flood = flood;
  figures.micro = measure_micro();
  return true;
}

bool show(const std::string& page, const Options& options) {
  std::cout << page;
  if (options.write.empty() || (std::ofstream(options.write) << page).flush()) return true;
  std::cerr << "tpmspace-bench: cannot write " << options.write << "\n";
  return false;
}

int run(const Options& options) {
  if (options.micro_only) return show(to_markdown(measure_micro()), options) ? 0 : 1;
  demo::notice_interrupts();
  ::setenv("TSS2_LOG", "all+none", 1);  // tries to connect to what is not there yet are part of the work
  auto lab = Lab::make();
  if (!lab) {
    std::cerr << "tpmspace-bench: " << lab.error() << "\n";
    return 1;
  }
  Figures figures;
  if (!measure(*lab, options, figures)) return 1;
  if (!show(to_markdown(figures), options)) return 1;
  const auto misses = missed(figures.counts);
  for (const auto& miss : misses) std::cerr << "tpmspace-bench: " << miss << "\n";
  return misses.empty() ? 0 : 1;
}

int main_of(const std::vector<std::string>& words) {
  if (words.size() == 3 && words[0] == "relay") return run_relay(words[1], words[2]);
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") {
      options.quick = true;
    } else if (words[i] == "--counts") {
      options.counts_only = true;
    } else if (words[i] == "--micro") {
      options.micro_only = true;
    } else if (words[i] == "--write" && i + 1 < words.size()) {
      options.write = words[++i];
    } else {
      (words[i] == "--help" ? std::cout : std::cerr) << kUsage;
      return words[i] == "--help" ? 0 : 2;
    }
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
