// The file that audit records are appended to; the file can be reopened during a write.
//
// Idea: log rotation moves the file away and has the path opened again. Each record is whole in one file: a record
// being written goes on in the old file, unless the old file takes no more bytes (a full pipe that was moved away);
// then the record is written to the new file from its beginning.
// Threads: `open_anew` from any thread, without waiting; `write` from one thread, and the call may wait.
// Errors: a sentence with the failure; if the file cannot be reopened, the old file stays in use. Source: open(2),
// pipe(7).
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
  // The file for the next write.
  std::shared_ptr<const base::Fd> newest();

  // Constant.
  const std::string path_;
  const base::Fd opened_anew_;  // an eventfd

  std::shared_ptr<const base::Fd> torn_;  // used by the writer: the file that ends in an incomplete line

  std::mutex mutex_;
  std::shared_ptr<const base::Fd> file_;  // guarded by mutex_
};

}  // namespace tpmspace::log
