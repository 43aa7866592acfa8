// The directory of one `run`: socket, logs, the command's FAPI configuration. Removed at the end.
//
// Idea: made by mkdtemp (0700) under $XDG_RUNTIME_DIR, or under /tmp if that directory is missing, not writable, too
// long for a socket's path or has a comma in its name (a TCTI's configuration splits at commas). A cleanup_process
// removes the directory, even if the tool is killed.
// Threads: one. Errors: a sentence.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "tool/cleanup_process.h"

namespace tpmspace::tool {

class Workplace {
 public:
  [[nodiscard]] static tl::expected<Workplace, std::string> make();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string socket() const { return path_ + "/tpm.sock"; }
  [[nodiscard]] std::string notify_socket() const { return path_ + "/notify.sock"; }
  [[nodiscard]] std::string log() const { return path_ + "/tpmspaced.log"; }
  // Empty: the system's configuration must not apply.
  [[nodiscard]] std::string daemon_config() const { return path_ + "/tpmspaced.toml"; }
  [[nodiscard]] std::string fapi() const { return path_ + "/fapi"; }
  [[nodiscard]] std::string fapi_config() const { return path_ + "/fapi-config.json"; }
  // A process with this descriptor open needs the directory: see cleanup_process.h.
  [[nodiscard]] int lease() const { return cleanup_.lease(); }

 private:
  Workplace(std::string path, CleanupProcess cleanup_process)
      : path_(std::move(path)), cleanup_(std::move(cleanup_process)) {}

  std::string path_;
  CleanupProcess cleanup_;
};

}  // namespace tpmspace::tool
