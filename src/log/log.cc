#include "log/log.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "log/timestamp.h"

namespace tpmspace::log {
namespace {

struct LevelName {
  LogLevel level;
  std::string_view name;
};
constexpr std::array<LevelName, 5> kLevels{{{LogLevel::kError, "error"},
                                            {LogLevel::kWarning, "warning"},
                                            {LogLevel::kNotice, "notice"},
                                            {LogLevel::kInfo, "info"},
                                            {LogLevel::kDebug, "debug"}}};

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

// systemd sets JOURNAL_STREAM to "DEVICE:INODE" of the stream that leads to the journal. A program that redirects
// standard error still inherits the variable, so the descriptor itself is compared.
bool is_journal(int fd) {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || ::fstat(fd, &info) != 0) return false;
  return stream == fmt::format("{}:{}", info.st_dev, info.st_ino);
}

std::string prefix(LogLevel level, bool for_the_journal) {
  if (for_the_journal) return fmt::format("<{}>tpmspaced: ", static_cast<unsigned>(level));
  return fmt::format("{} tpmspaced: {}: ", timestamp(std::chrono::system_clock::now()), name_of(level));
}

}  // namespace

Log::Log(LogLevel level, int fd)
    : level_(level),
      for_the_journal_(is_journal(fd)),
      // Without `trouble`: if the log cannot be written, there is no other place for a report.
      writer_({.write = [fd](const PatientWriter::Record& line) { return write_whole(fd, line.front()); },
               .loss =
                   [for_the_journal = for_the_journal_](std::uint64_t lost) {
                     return PatientWriter::Record{prefix(LogLevel::kWarning, for_the_journal) +
                                                  fmt::format("{} log lines dropped here: output blocked\n", lost)};
                   }}) {}

std::optional<LogLevel> log_level_from(std::string_view name) {
  for (const auto& entry : kLevels)
    if (entry.name == name) return entry.level;
  return std::nullopt;
}

std::string_view name_of(LogLevel level) {
  for (const auto& entry : kLevels)
    if (entry.level == level) return entry.name;
  return "?";
}

void Log::write_line(LogLevel level, std::string_view text) {
  std::string line = prefix(level, for_the_journal_);
  line += text.substr(0, limits::kMaxLine);
  std::replace_if(line.begin(), line.end(), is_control, '?');
  line += '\n';
  writer_.put({std::move(line)});
}

std::string held_back_text(unsigned held_back) {
  return held_back == 0 ? "" : fmt::format(" ({} more such before this)", held_back);
}

unsigned RateLimit::take_held_back(Clock::time_point now) {
  const bool is_over = period_begin_ && now - *period_begin_ >= limits::kLinePeriod;
  return is_over ? std::exchange(held_back_, 0U) : 0;
}

std::optional<unsigned> RateLimit::allow(Clock::time_point now) {
  if (!period_begin_ || now - *period_begin_ >= limits::kLinePeriod) {
    period_begin_ = now;
    in_period_ = 0;
  }
  if (in_period_ >= limits::kLinesPerPeriod) {
    ++held_back_;
    return std::nullopt;
  }
  ++in_period_;
  return std::exchange(held_back_, 0U);
}

}  // namespace tpmspace::log
