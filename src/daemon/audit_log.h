// Where audit records go: the journal, with a field for each thing they say, or a file, one JSON object a line.
//
// Idea: a record is never lost silently. What a client can cause is bounded for each user (kRecordsPerPeriod in a
// period); the next record of that user says how many were held back. Administrators' acts are always written.
// Without a sink the records are lines of the log.
// Threads: belongs to the event loop. Limits: kMaxUsers users are counted at a time; beyond that they share one count.
// Errors: a file that cannot be opened is said when it is asked for; one that cannot be written is said once in the
// log. Fields: docs/audit.md. Source: systemd.journal-fields(7); RFC 8259.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "daemon/log.h"
#include "observe/audit.h"
#include "posix/fd.h"

namespace tpmspace::daemon {

class AuditLog {
 public:
  static constexpr std::size_t kMaxUsers = 4096;

  // `where`: "journal", a path, or "" for lines of the log.
  [[nodiscard]] static tl::expected<AuditLog, std::string> open(Log& log, const std::string& where);

  void write(const observe::AuditRecord& record);

  // The sentence that people read; and the line of JSON, with its end of line.
  [[nodiscard]] static std::string sentence(const observe::AuditRecord& record, unsigned held_back);
  [[nodiscard]] static std::string json(const observe::AuditRecord& record, unsigned held_back,
                                        std::chrono::system_clock::time_point now);

 private:
  enum class Sink : std::uint8_t { kLog, kJournal, kFile };
  AuditLog(Log& log, Sink sink, posix::Fd file) : log_(&log), sink_(sink), file_(std::move(file)) {}

  // How many were held back before this one; nullopt: this one is, too.
  [[nodiscard]] std::optional<unsigned> allowed(const observe::AuditRecord& record);
  void to_file(const std::string& line);
  void to_journal(const observe::AuditRecord& record, unsigned held_back);

  Log* log_;
  Sink sink_;
  posix::Fd file_;
  bool trouble_said_ = false;
  std::map<std::uint64_t, RateLimit> users_;  // uid + 1; 0: whoever is too many
};

}  // namespace tpmspace::daemon
