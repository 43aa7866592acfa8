#include "daemon/audit_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "posix/fd.h"
#include "proto/json.h"

namespace tpmspace::daemon {
namespace {

using observe::AuditEvent;
using observe::AuditRecord;

// What only an administrator can cause.
bool is_his_own_doing(AuditEvent event) {
  return event == AuditEvent::kOrder || event == AuditEvent::kPolicy || event == AuditEvent::kDoor;
}

// Calls `text(name, value)` and `number(name, value)` for what the record says.
template <typename Text, typename Number>
void for_each_field(const AuditRecord& record, unsigned held_back, const Text& text, const Number& number) {
  const auto text_if = [&](const char* name, const std::string& value) {
    if (!value.empty()) text(name, value);
  };
  text("event", std::string(name_of(record.event)));
  if (record.uid) number("uid", *record.uid);
  if (record.pid) number("pid", *record.pid);
  if (record.executable) text("executable", *record.executable);
  if (record.cgroup) text("cgroup", *record.cgroup);
  if (record.tpm_namespace) text("namespace", *record.tpm_namespace);
  text_if("door", record.door);
  text_if("chip", record.chip);
  if (record.connection != 0) number("connection", record.connection);
  text_if("command", record.command);
  if (record.code) text("code", fmt::format("0x{:08x}", *record.code));
  if (record.handle) text("handle", fmt::format("0x{:08x}", *record.handle));
  text_if("profile", record.profile);
  if (record.rule) number("rule_line", *record.rule);
  text_if("reason", record.reason);
  if (held_back != 0) number("held_back", held_back);
}

std::string upper(std::string name) {
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return name;
}

observe::AuditRecord record_of_loss(std::uint64_t lost) {
  observe::AuditRecord out;
  out.event = AuditEvent::kLost;
  out.reason = fmt::format("{} records were lost here: nobody took them, or they could not be written", lost);
  return out;
}

// Opening waits for nobody. A pipe with a name is opened for reading, too, so it is there without a reader.
posix::Fd open_file(const std::string& path) {
  struct stat info {};
  const bool is_pipe = ::lstat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode);
  const int access = is_pipe ? O_RDWR : O_WRONLY | O_CREAT | O_APPEND;
  return posix::Fd(::open(path.c_str(), access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600));
}

PatientWriter::Record fields_of(const AuditRecord& record, unsigned held_back) {
  PatientWriter::Record out = {"MESSAGE=" + AuditLog::sentence(record, held_back), "PRIORITY=5",
                               "SYSLOG_IDENTIFIER=tpmspaced"};
  const auto add = [&out](const char* name, const auto& value) {
    out.push_back(fmt::format("TPMSPACE_{}={}", upper(name), value));
  };
  for_each_field(record, held_back, add, add);
  return out;
}

std::optional<std::string> send_to_journal(const PatientWriter::Record& fields) {
  std::vector<iovec> parts;
  parts.reserve(fields.size());
  // It only reads them.
  for (const std::string& field : fields) parts.push_back({const_cast<char*>(field.data()), field.size()});
  const int result = ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
  return result < 0 ? std::optional<std::string>(std::strerror(-result)) : std::nullopt;
}

}  // namespace

AuditLog::AuditLog(Log& log, const std::string& what, Form form, Write write)
    : log_(&log),
      form_(std::move(form)),
      writer_(std::make_unique<PatientWriter>(PatientWriter::Sink{
          .write = std::move(write),
          .loss = [form = form_](std::uint64_t lost) { return form(record_of_loss(lost), 0); },
          .trouble = [&log, what](const std::string& why) { log.error("{} cannot be written: {}", what, why); }})) {}

tl::expected<AuditLog, std::string> AuditLog::open(Log& log, const std::string& where) {
  if (where.empty()) return AuditLog(log);
  if (where == "journal") return AuditLog(log, "the journal", fields_of, send_to_journal);
  const auto file = std::make_shared<posix::Fd>(open_file(where));
  if (!*file)
    return tl::unexpected(
        fmt::format("the audit file {} cannot be opened: {}; \"audit\" is a path, \"journal\", or \"\" for the log",
                    where, std::strerror(errno)));
  return AuditLog(
      log, "the audit file",
      [](const AuditRecord& record, unsigned held_back) {
        return PatientWriter::Record{json(record, held_back, std::chrono::system_clock::now())};
      },
      [file](const PatientWriter::Record& line) { return write_whole(file->get(), line.front()); });
}

void AuditLog::write(const AuditRecord& record) {
  const auto held_back = allowed(record);
  if (!held_back) return;
  if (writer_)
    writer_->put(form_(record, *held_back));
  else
    log_->notice("{}", sentence(record, *held_back));
}

void AuditLog::flush() {
  if (writer_) writer_->flush();
}

std::optional<unsigned> AuditLog::allowed(const AuditRecord& record) {
  if (is_his_own_doing(record.event)) return 0;
  std::uint64_t user = record.uid ? std::uint64_t{*record.uid} + 1 : 0;
  const auto now = RateLimit::Clock::now();
  if (!users_.contains(user) && users_.size() >= kMaxUsers)
    std::erase_if(users_, [now](const auto& one) { return one.second.is_over(now); });
  if (!users_.contains(user) && users_.size() >= kMaxUsers) user = 0;
  return users_[user].allow(now);
}

std::string AuditLog::sentence(const AuditRecord& record, unsigned held_back) {
  std::string out = record.uid ? fmt::format("uid {}", *record.uid) : std::string("tpmspaced");
  if (record.pid) out += fmt::format(", pid {}", *record.pid);
  if (record.executable) out += fmt::format(" ({})", proto::json_string(*record.executable));
  if (record.tpm_namespace) out += fmt::format(", namespace {}", *record.tpm_namespace);
  out += fmt::format(": {}", name_of(record.event));
  if (!record.command.empty()) out += " " + record.command;
  if (record.handle) out += fmt::format(" 0x{:08x}", *record.handle);
  if (record.code) out += fmt::format(" with 0x{:x}", *record.code);
  if (!record.reason.empty()) out += ": " + record.reason;
  if (!record.profile.empty()) out += fmt::format(" (profile {}", record.profile);
  if (!record.profile.empty()) out += record.rule ? fmt::format(", rule on line {})", *record.rule) : ")";
  if (held_back != 0) out += fmt::format(" [{} more before this]", held_back);
  return out;
}

std::string AuditLog::json(const AuditRecord& record, unsigned held_back, std::chrono::system_clock::time_point now) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  std::string out = fmt::format("{{\"time\": \"{:%Y-%m-%dT%H:%M:%S}.{:03}Z\"",
                                fmt::gmtime(static_cast<std::time_t>(milliseconds / 1000)), milliseconds % 1000);
  for_each_field(
      record, held_back,
      [&](const char* name, const std::string& value) {
        out += fmt::format(", \"{}\": {}", name, proto::json_string(value));
      },
      [&](const char* name, auto value) { out += fmt::format(", \"{}\": {}", name, value); });
  return out + "}\n";
}

}  // namespace tpmspace::daemon
