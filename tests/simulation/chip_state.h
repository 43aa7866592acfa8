// The parts of a TPM that belong to no client: hierarchies, PCRs, persistent objects, wrong tries, reset counts.
//
// Idea: this part stands alone so that several model TPMs can share it. The world compares every client with a private
// TPM; all private TPMs share one ChipState, so that a Clear or an extended PCR of one client is there for all, as on
// the one chip they really share. An instance notices at its next command that a hierarchy was emptied (`epoch`) or the
// chip restarted (`resets`, `restarts`). Threads: none. Source: TPM 2.0 library, Part 1, 12 (start-up), 14
// (hierarchies), 17 (PCR), 19.8 (dictionary attack protection).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "object_slots.h"
#include "wire/bytes.h"
#include "wire/handle.h"

namespace tpmspace::simulation {

inline constexpr std::size_t kPcrs = 24;
inline constexpr std::uint32_t kSavedPcrs = 16;  // the first PCRs survive a Resume
inline constexpr std::uint32_t kFirstPlatformPersistent = 0x81800000;

struct HierarchyState {
  bool enabled = true;
  std::uint32_t seed = 0;   // changes with every new seed: other primary keys
  std::uint32_t proof = 0;  // changes with every new proof: saved contexts die
  std::uint64_t epoch = 0;  // changes whenever the loaded objects of this hierarchy are flushed
};

// The chip's count of wrong authorizations of protected entities, and its limit.
struct TryCount {
  std::uint32_t failed = 0, max = 3;
  std::uint64_t recovery = 0;          // nanoseconds until one is forgotten; 0: nothing is counted
  std::uint64_t lockout_recovery = 0;  // likewise, of lockoutAuth; no client here tries lockoutAuth wrongly
  std::uint64_t since = 0;             // that time began
  // Something protected was used since the start; and that is written down, so that a disorderly end costs a try.
  bool protected_used = false, marked = false;

  void recover(std::uint64_t now) {
    if (recovery == 0) failed = 0;
    if (failed == 0) return;
    const std::uint64_t recovered = (now - since) / recovery;
    failed -= static_cast<std::uint32_t>(std::min<std::uint64_t>(failed, recovered));
    since += recovered * recovery;
  }
};

// Persistent objects, by handle. A chip has one shelf of them, 0. Others are for private TPMs of clients that have
// numbers of their own for some of one chip's objects.
using Shelf = std::map<std::uint32_t, Object>;

struct ChipState {
  std::uint64_t serial = 1;  // of the chip: other serials have other keys
  bool running = false;      // Startup was done since power came
  HierarchyState owner, endorsement, platform, null;
  bool platform_nv_enabled = true;
  std::map<std::uint32_t, Shelf> shelves;
  TryCount tries;
  std::array<wire::Bytes, kPcrs> pcrs{};  // SHA-256 bank
  std::uint32_t pcr_counter = 0;

  std::uint32_t reset_count = 0;  // TPMS_CLOCK_INFO; Clear zeroes both
  std::uint32_t restart_count = 0;
  std::uint64_t total_resets = 0;     // never zeroed: part of every saved context
  std::uint64_t clear_count = 0;      // TPM Restarts since the reset: part of stClear contexts
  std::uint64_t restarts = 0;         // Restarts and Resumes, ever
  std::uint64_t object_contexts = 0;  // sequence number of saved objects

  // Null: not a hierarchy.
  [[nodiscard]] HierarchyState* find(std::uint32_t handle) {
    switch (static_cast<wire::Hierarchy>(handle)) {
      case wire::Hierarchy::kOwner:
        return &owner;
      case wire::Hierarchy::kEndorsement:
        return &endorsement;
      case wire::Hierarchy::kPlatform:
        return &platform;
      case wire::Hierarchy::kNull:
        return &null;
    }
    return nullptr;
  }
  [[nodiscard]] HierarchyState& of(wire::Hierarchy hierarchy) { return *find(static_cast<std::uint32_t>(hierarchy)); }
};

}  // namespace tpmspace::simulation
