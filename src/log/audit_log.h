// The destination of audit records: the journal, with a field for each value, or a file, one JSON object a line.
//
// Idea: a record is never lost silently. Records that a client can cause are bounded for each user
// (limits::kLinesPerPeriod in a period); the next record of the user has the number of held-back records, or a separate
// record has the number when the period is over (`say_held_back`, requested by `on_held_back`) or at the end. Commands
// that change the TPM are counted separately, each command by itself, so that a user cannot hide a change behind many
// other commands. Administrators' acts are always written.
// Without a sink the records are lines of the log. The reader of the records may be slow: no caller waits until records
// are written (patient_writer.h), and a record "lost" counts the lost records.
// Threads: belongs to the event loop. Limits: kMaxUsers users (and, for changes, commands) are counted at a time;
// further users share one count.
// Errors: if a file cannot be opened, `open` fails; a failed write is logged once; if a file cannot be reopened, the
// old file stays in use. Fields: docs/audit.md. Source: systemd.journal-fields(7); RFC 8259.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "log/audit_file.h"
#include "log/log.h"
#include "log/patient_writer.h"
#include "observe/audit.h"

namespace tpmspace::log {

class AuditLog {
 public:
  static constexpr std::size_t kMaxUsers = 4096;

  // `where`: "journal", a path, or "" for lines of the log.
  [[nodiscard]] static tl::expected<AuditLog, std::string> open(Log& log, const std::string& where);

  using Clock = RateLimit::Clock;
  void write(const observe::AuditRecord& record, Clock::time_point now = Clock::now());
  // `told` is called when a record is held back, and must arrange that `say_held_back` is called after
  // limits::kLinePeriod, and again as long as the result is true.
  void on_held_back(std::function<void()> told) { told_ = std::move(told); }
  // Writes the counts of users whose period is over. Returns whether records of other users are still held back.
  bool say_held_back(Clock::time_point now = Clock::now());
  // Reopens the file by its name, which may denote a new file now (log rotation).
  void open_anew();
  // Writes the counts of held-back records, and waits until all records are written, at most limits::kLastWords.
  void last_words();
  void flush();
  // Lost records since the start.
  [[nodiscard]] std::uint64_t lost() const { return writer_ ? writer_->lost() : 0; }
  // Records held back since the start: of all users; of one owner.
  [[nodiscard]] std::uint64_t held_back() const { return held_back_; }
  [[nodiscard]] std::uint64_t held_back_of(std::uint64_t owner) const;
  // "uid 33: 120, uid 1000: 4": the users with the most held-back records, at most kMostNamed.
  static constexpr std::size_t kMostNamed = 8;
  [[nodiscard]] std::string most_held_back() const;

  // The sentence for people; and the line of JSON, with its end of line.
  [[nodiscard]] static std::string sentence(const observe::AuditRecord& record, unsigned held_back);
  [[nodiscard]] static std::string json(const observe::AuditRecord& record, unsigned held_back,
                                        std::chrono::system_clock::time_point now);

 private:
  // The form of a record in the sink.
  using Form = std::function<PatientWriter::Record(const observe::AuditRecord& record, unsigned held_back)>;
  using Write = std::function<std::optional<std::string>(const PatientWriter::Record& record)>;
  // Writes lines of the log.
  explicit AuditLog(Log& log) : log_(&log) {}
  // `what`: the sink's name for people.
  AuditLog(Log& log, const std::string& what, Form form, Write write);

  // The number of records held back before this record; nullopt: hold this record back, too.
  [[nodiscard]] std::optional<unsigned> allowed(const observe::AuditRecord& record, Clock::time_point now);
  void put(const observe::AuditRecord& record, unsigned held_back);

  // An owner, 0 for all owners above kMaxUsers; and the command, for changes.
  using Key = std::pair<std::uint64_t, std::string>;
  void count_held_back(std::uint64_t owner);

  Log* log_;
  Form form_;
  std::shared_ptr<AuditFile> file_;  // null: not a file
  std::function<void()> told_ = [] {};
  std::unique_ptr<PatientWriter> writer_;  // null: lines of the log
  std::map<Key, RateLimit> users_;
  std::uint64_t held_back_ = 0;
  std::map<std::uint64_t, std::uint64_t> held_back_by_owner_;  // 0: as in Key
};

}  // namespace tpmspace::log
