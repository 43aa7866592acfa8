// Work, counted as the edges of our code's control flow that were executed. It is the same in each run and on each
// machine, and sees a loop wherever it is.
//
// Idea: the sanitizers' build has a counter for each edge (-fsanitize=fuzzer-no-link), which fuzzers read; a test can
// read them as well. A counter has 8 bits, so compared counts must differ by less than 256 for each edge.
// Threads: one. Include it in one file of a program, and only where TPMSPACE_COUNTS_EDGES is defined.
// Source: clang's SanitizerCoverage, "Inline 8bit-counters".
#pragma once

#if defined(__has_feature)
#if __has_feature(coverage_sanitizer)
#define TPMSPACE_COUNTS_EDGES
#endif
#endif

#ifdef TPMSPACE_COUNTS_EDGES
#include <cstdint>
#include <vector>

namespace tpmspace::support {

class ExecutedEdges {
 public:
  // The counters of this program, which is linked once.
  static inline std::uint8_t *first = nullptr, *last = nullptr;

  // How often each edge is executed meanwhile, modulo 256.
  template <typename Work>
  static std::vector<std::uint8_t> of(Work work) {
    const std::vector<std::uint8_t> before(first, last);
    work();
    std::vector<std::uint8_t> out(first, last);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(out[i] - before[i]);
    return out;
  }
};

}  // namespace tpmspace::support

// Called for each object file before main, with the bounds of all.
extern "C" void __sanitizer_cov_8bit_counters_init(std::uint8_t* first, std::uint8_t* last) {  // NOLINT: its name
  tpmspace::support::ExecutedEdges::first = first;
  tpmspace::support::ExecutedEdges::last = last;
}
#endif
