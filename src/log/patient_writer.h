// Writes for those who must not wait: a thread of its own puts records where they go, however long that takes.
//
// Idea: `put` leaves a record and goes on; the thread writes one after the other, and waits when a pipe is full or
// journald is stopped. When too much is unwritten, new records are lost until half of it is written; then a record that
// says how many were lost stands where they are missing. The thread is left behind at the end if it still waits, so it
// uses nothing but what it shares with the writer.
// Threads: every method from any thread. The functions of a `Sink` are called by the thread, `loss` also by whoever
// puts; `loss` and `trouble` must not come back to this writer, and `trouble` is not called once the writer is gone.
// Limits: limits::kMaxUnwritten octets; limits::kLastWords for what is unwritten at the end.
// Errors: what cannot be written is lost, and counted as such; why is told by `trouble`, once until writing works
// again. `std::system_error` if the thread cannot be made.
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
    // May wait. What was wrong, in words.
    std::function<std::optional<std::string>(const Record& record)> write;
    // The record that says so.
    std::function<Record(std::uint64_t lost)> loss;
    std::function<void(const std::string& why)> trouble = [](const std::string&) {};
  };
  explicit PatientWriter(Sink sink);
  PatientWriter(const PatientWriter&) = delete;
  PatientWriter& operator=(const PatientWriter&) = delete;
  ~PatientWriter();

  void put(Record record);
  // Waits until all is written, at most limits::kLastWords.
  void flush();
  // Ever.
  [[nodiscard]] std::uint64_t lost() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

// All of it, also to a descriptor that does not wait by itself. What was wrong, in words.
[[nodiscard]] std::optional<std::string> write_whole(int fd, std::string_view text);

}  // namespace tpmspace::log
