#include "daemon/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>

namespace tpmspace::daemon {
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

std::string prefix(LogLevel level, bool for_a_person) {
  if (!for_a_person) return fmt::format("<{}>tpmspaced: ", static_cast<unsigned>(level));
  const bool is_news = level == LogLevel::kNotice || level == LogLevel::kInfo;
  return is_news ? "tpmspaced: " : fmt::format("tpmspaced: {}: ", name_of(level));
}

}  // namespace

Log::Log(LogLevel level, int fd)
    : level_(level),
      for_a_person_(::isatty(fd) == 1),
      // Without `trouble`: a log that cannot be written has nobody left to be told.
      writer_({.write = [fd](const PatientWriter::Record& line) { return write_whole(fd, line.front()); },
               .loss =
                   [for_a_person = for_a_person_](std::uint64_t lost) {
                     return PatientWriter::Record{
                         prefix(LogLevel::kWarning, for_a_person) +
                         fmt::format("{} lines of the log were lost here: nobody took them\n", lost)};
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
  std::string line = prefix(level, for_a_person_);
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

}  // namespace tpmspace::daemon
