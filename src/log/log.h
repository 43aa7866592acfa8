// The log: the only component that makes log lines.
//
// Idea: if standard error is the journal, a line is "<N>tpmspaced: sentence", with the journal's priority N; the
// journal adds the time. Otherwise (a terminal, a file, a pipe) a line is "2026-11-30T09:22:39.123Z tpmspaced: warning:
// sentence". The time is the event's, even if the line is written later: the caller does not wait for the write
// (patient_writer.h). Control characters are replaced, so that text from outside cannot fake a line, a time or a
// priority. A command's body is never logged.
// Threads: every method from any thread; a `RateLimit` belongs to one thread, and its times are passed in. Errors:
// none; unwritable lines are lost, and the next written line has the number of lost lines. `RateLimit` bounds the lines
// that clients can cause.
// Source: sd-daemon(3) for the priorities, systemd.exec(5) for JOURNAL_STREAM, RFC 3339 for the time.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "log/patient_writer.h"

namespace tpmspace::log {

enum class LogLevel : std::uint8_t { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6, kDebug = 7 };

// "error", "warning", "notice", "info", "debug".
[[nodiscard]] std::optional<LogLevel> log_level_from(std::string_view name);
[[nodiscard]] std::string_view name_of(LogLevel level);

class Log {
 public:
  explicit Log(LogLevel level, int fd = 2);

  void set_level(LogLevel level) { level_ = level; }
  [[nodiscard]] bool wants(LogLevel level) const { return level <= level_.load(std::memory_order_relaxed); }

  // Waits until all lines are written, at most limits::kLastWords.
  void flush() { writer_.flush(); }
  // Lost lines since the start.
  [[nodiscard]] std::uint64_t lost() const { return writer_.lost(); }

  template <typename... Args>
  void error(fmt::format_string<Args...> text, Args&&... args) {
    print(LogLevel::kError, text, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> text, Args&&... args) {
    print(LogLevel::kWarning, text, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void notice(fmt::format_string<Args...> text, Args&&... args) {
    print(LogLevel::kNotice, text, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> text, Args&&... args) {
    print(LogLevel::kInfo, text, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void debug(fmt::format_string<Args...> text, Args&&... args) {
    print(LogLevel::kDebug, text, std::forward<Args>(args)...);
  }

 private:
  template <typename... Args>
  void print(LogLevel level, fmt::format_string<Args...> text, Args&&... args) {
    if (wants(level)) write_line(level, fmt::format(text, std::forward<Args>(args)...));
  }
  void write_line(LogLevel level, std::string_view text);

  std::atomic<LogLevel> level_;
  const bool for_the_journal_;
  PatientWriter writer_;
};

// " (3 more such before this)"; empty for 0.
[[nodiscard]] std::string held_back_text(unsigned held_back);

class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether a line may be written at `now`: then the number of lines held back since the last line.
  [[nodiscard]] std::optional<unsigned> allow(Clock::time_point now);
  // The number of lines held back since the last line, if the period is over at `now`; the caller reports the number.
  [[nodiscard]] unsigned take_held_back(Clock::time_point now);
  [[nodiscard]] unsigned held_back() const { return held_back_; }
  // The period is over, and no unreported lines were held back.
  [[nodiscard]] bool is_over(Clock::time_point now) const {
    return held_back_ == 0 && (!period_begin_ || now - *period_begin_ >= limits::kLinePeriod);
  }

 private:
  std::optional<Clock::time_point> period_begin_;
  unsigned in_period_ = 0;
  unsigned held_back_ = 0;
};

}  // namespace tpmspace::log
