// Reloads the configuration beside the event loop.
//
// Idea: reading is slow if the name service must look up "alice" (a directory server may take seconds), so a thread
// reads, and the resulting value comes back to the loop. Only one reading runs at a time: the file may have changed
// since the reading began, so all clients that ask meanwhile share one further reading afterwards.
// Threads: belongs to the event loop; `read` runs in a separate thread, which shares only constants and the place for
// the result, and is left behind if still reading at the end (`any_left_behind`).
// Limits: one reading under way and one afterwards; a connection asks once at a time.
// Errors: if no thread can be made, the reading fails.
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
    bool has_file = true;  // false: no file exists, so the defaults apply
  };
  using Result = tl::expected<Read, std::string>;
  using Reader = std::function<Result()>;
  // `for_whom`: the clients that asked; 0 is a signal.
  using Done = std::function<void(Result result, const std::vector<host::ClientId>& for_whom)>;

  Rereading(loop::EventLoop& loop, Reader reader, Done done);
  void ask(host::ClientId client);
  // Whether a thread still reads: then the process must end without destroying its static objects, which the thread may
  // use.
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
  std::vector<host::ClientId> for_whom_;  // the clients of the running reading
  std::vector<host::ClientId> waiting_;   // the clients of the next reading
  loop::Watch result_;
};

}  // namespace tpmspace::daemon
