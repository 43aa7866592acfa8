// The counters behind `status`: the event loop's knowledge, without asking the TPM's thread.
//
// Idea: each step's account arrives with the step's response and is added here; so status is answered at once, even
// while the TPM works for ten seconds.
// Threads: belongs to the event loop. Units: as in proto/status_fields.inc; all counts since the daemon started. Sizes:
// one entry for each command code ever sent to the TPM: bounded by the command table.
#pragma once

#include <cstdint>
#include <map>

#include "engine/engine.h"
#include "observe/account.h"
#include "proto/status.h"
#include "wire/rc.h"

namespace tpmspace::host {

class StatusCounters {
 public:
  // `delivered`: the step's response reaches the client.
  void add(const observe::Account& account, bool delivered);
  void add_snapshot(const engine::Snapshot& snapshot) { snapshot_ = snapshot; }
  // A client's command was answered by the loop.
  void add_early_answer(wire::Rc code);
  // `n` commands are in the engine.
  void add_queue_length(std::uint64_t n);

  void fill(proto::Status& status) const;

 private:
  void count_answer(wire::Rc code);

  proto::Status sums_;  // only the sums' fields are used
  std::map<std::uint32_t, proto::CommandUse> by_code_;
  engine::Snapshot snapshot_;
};

}  // namespace tpmspace::host
