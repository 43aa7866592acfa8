// The configuration, read again beside the event loop.
//
// Idea: reading is slow where the name service must be asked who "alice" is (a directory server may take seconds), so a
// thread does it, and its result, a value, comes back to the loop. One reading at a time: the file may have changed
// since one began, so whoever asks meanwhile waits for another one after it, with all the others who ask.
// Threads: belongs to the event loop; `read` runs in a thread of its own, which shares nothing but the place for its
// result and what is constant, and is left behind if it still reads at the end (`any_left_behind`). Limits: one reading
// under way and one after it; a connection asks once at a time. Errors: a thread that cannot be made is a reading that
// failed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "config/config.h"
#include "config/policy_file.h"
#include "host/tpm_thread.h"
#include "loop/event_loop.h"
#include "peer/subordinate_ids.h"

namespace tpmspace::daemon {

class Rereading {
 public:
  struct Read {
    guard::Access access;
    peer::SubordinateIds subordinates;
    std::vector<config::PendingKey> pending;
    bool has_file = true;  // false: there is none, so all is as without one
  };
  using Result = tl::expected<Read, std::string>;
  using Reader = std::function<Result()>;
  // `for_whom`: who asked for it; 0 is a signal.
  using Done = std::function<void(Result result, const std::vector<host::ClientId>& for_whom)>;

  Rereading(loop::EventLoop& loop, Reader reader, Done done);
  void ask(host::ClientId client);
  // Whether some still reads: then the process must end without its static objects, which it may be using.
  [[nodiscard]] static bool any_left_behind();

 private:
  struct Place;
  void begin();
  void take();

  // Constant.
  const Reader reader_;
  const Done done_;

  std::shared_ptr<Place> place_;
  bool under_way_ = false;
  std::vector<host::ClientId> for_whom_;  // that one is
  std::vector<host::ClientId> waiting_;   // for another one
  loop::Watch result_;
};

}  // namespace tpmspace::daemon
