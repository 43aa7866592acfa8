// Writes for callers that must not wait: a separate thread writes the records, however long a write takes.
//
// Idea: `put` queues a record and returns; the thread writes the records in order, and waits when a pipe is full or
// journald is stopped. If too many bytes are unwritten, new records are lost until half of the bytes are written; then
// a record with the number of lost records takes their place. At the end the thread is left behind if it still waits,
// so the thread uses only the state shared with the writer.
// Threads: every method from any thread. The thread calls the functions of a `Sink`; the caller of `put` calls `loss`,
// too. `loss` and `trouble` must not call this writer, and `trouble` is not called after the writer's destruction.
// Limits: limits::kMaxUnwritten bytes; limits::kLastWords for unwritten records at the end.
// Errors: unwritable records are lost and counted; `trouble` gets the reason, once until writing works again.
// `std::system_error` if the thread cannot be made.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace tpmspace::log {

class PatientWriter {
 public:
  using Record = std::vector<std::string>;  // a line, or the fields of an entry
  struct Sink {
    // May wait. Returns the failure in words.
    std::function<std::optional<std::string>(const Record& record)> write;
    // The record about lost records.
    std::function<Record(std::uint64_t lost)> loss;
    std::function<void(const std::string& why)> trouble = [](const std::string&) {};
  };
  explicit PatientWriter(Sink sink);
  PatientWriter(const PatientWriter&) = delete;
  PatientWriter& operator=(const PatientWriter&) = delete;
  ~PatientWriter();

  void put(Record record);
  // Waits until all records are written, at most limits::kLastWords.
  void flush();
  // Lost records since the start.
  [[nodiscard]] std::uint64_t lost() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

// Writes the whole text, also to a non-blocking descriptor. Returns the failure in words.
[[nodiscard]] std::optional<std::string> write_whole(int fd, std::string_view text);

}  // namespace tpmspace::log
