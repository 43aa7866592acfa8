// Invariants: conditions that no input can break, so a broken one is a bug in tpmspace.
//
// Idea: two kinds are kept apart. `TPMSPACE_ASSERT` guards what would mix clients: going on could give one client's
// entity or response to another, so the process ends, in every build. `TPMSPACE_HOLDS` guards what can be contained:
// the expression is false, the caller takes a safe way out, and the broken invariant is noted. At the end of a step the
// manager takes the note and repairs the books of its one TPM (space/recovery.h).
// In the builds of the tests `TPMSPACE_HOLDS` also ends the process, unless a test asks for containment.
//
// Threads: each thread has its own note; a TPM's thread owns one TPM, so a note is about one TPM.
// Errors: `TPMSPACE_ASSERT` prints the expression, the file and the line, and aborts.
// Limits: the note has the first place and a count; nothing is written.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace tpmspace::base {

struct BrokenInvariant {
  const char* condition = "";
  const char* file = "";
  int line = 0;
};

// The broken invariants of a thread since the last look.
struct BrokenInvariants {
  std::uint32_t count = 0;
  BrokenInvariant first;
};

namespace invariant_detail {

inline thread_local BrokenInvariants broken;
inline thread_local unsigned containments = 0;

}  // namespace invariant_detail

[[noreturn]] inline void end_by(const BrokenInvariant& what) {
  (void)std::fprintf(stderr, "tpmspace: broken invariant: %s, %s:%d\n", what.condition, what.file, what.line);
  std::abort();
}

// Always false, for TPMSPACE_HOLDS.
inline bool note_broken(const BrokenInvariant& what) {
#ifdef TPMSPACE_ABORT_ON_BROKEN_INVARIANTS
  if (invariant_detail::containments == 0) end_by(what);
#endif
  BrokenInvariants& noted = invariant_detail::broken;
  if (noted.count++ == 0) noted.first = what;
  return false;
}

// Returns the note of this thread, and begins a new one.
[[nodiscard]] inline BrokenInvariants take_broken_invariants() {
  return std::exchange(invariant_detail::broken, {});
}

// For tests: while one exists, a broken invariant is contained in this thread, as in a release.
class ContainBrokenInvariants {
 public:
  ContainBrokenInvariants() { ++invariant_detail::containments; }
  ~ContainBrokenInvariants() { --invariant_detail::containments; }
  ContainBrokenInvariants(const ContainBrokenInvariants&) = delete;
  ContainBrokenInvariants& operator=(const ContainBrokenInvariants&) = delete;
};

}  // namespace tpmspace::base

// The condition must hold; otherwise the process ends.
#define TPMSPACE_ASSERT(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::tpmspace::base::end_by({#condition, __FILE__, __LINE__}))

// Whether the condition holds. False: a broken invariant, which was noted; the caller contains it.
#define TPMSPACE_HOLDS(condition) \
  (static_cast<bool>(condition) || ::tpmspace::base::note_broken({#condition, __FILE__, __LINE__}))
