// The file that audit records are appended to, and that can be opened anew while somebody writes.
//
// Idea: whoever rotates records moves the file away and has it opened again by its name. A record is in one file whole:
// one that is being written goes on in the old file, unless that takes no more (a full pipe that was moved away); then
// it is written to the new one from its beginning.
// Threads: `open_anew` any thread, it waits for nobody; `write` one thread, and it may wait. Errors: what was wrong, in
// words; a file that cannot be opened anew leaves the old one. Source: open(2), pipe(7).
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/fd.h"

namespace tpmspace::log {

class AuditFile {
 public:
  [[nodiscard]] static tl::expected<std::shared_ptr<AuditFile>, std::string> open(std::string path);
  [[nodiscard]] std::optional<std::string> open_anew();
  [[nodiscard]] std::optional<std::string> write(std::string_view line);
  [[nodiscard]] const std::string& path() const { return path_; }

  AuditFile(std::string path, base::Fd file, base::Fd opened_anew);

 private:
  // The one that is to be written to from now on.
  std::shared_ptr<const base::Fd> newest();

  // Constant.
  const std::string path_;
  const base::Fd opened_anew_;  // an eventfd

  std::shared_ptr<const base::Fd> torn_;  // of the writer: the file in which a line is not whole

  std::mutex mutex_;
  std::shared_ptr<const base::Fd> file_;  // guarded by it
};

}  // namespace tpmspace::log
