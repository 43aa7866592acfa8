#include "log/audit_log.h"

#include <fmt/core.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "log/timestamp.h"
#include "peer/owner_numbers.h"
#include "proto/json.h"

namespace tpmspace::log {
namespace {

using observe::AuditEvent;
using observe::AuditRecord;

// Events that only an administrator can cause.
bool is_an_administrators(const AuditRecord& record) {
  return record.by_administrator || record.event == AuditEvent::kOrder || record.event == AuditEvent::kPolicy ||
         record.event == AuditEvent::kListener || record.event == AuditEvent::kChip;
}

// Calls `text(name, value)` and `number(name, value)` for each field of the record.
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
  if (record.in_doubt) text("identity", "in doubt");
  if (record.tpm_namespace) text("namespace", *record.tpm_namespace);
  text_if("listener", record.listener);
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
  out.reason = fmt::format("{} records dropped here: output blocked or not writable", lost);
  return out;
}

observe::AuditRecord record_of_held_back(std::uint64_t owner, const std::string& command, unsigned held_back) {
  observe::AuditRecord out;
  out.event = AuditEvent::kHeldBack;
  out.command = command;
  if (const auto uid = peer::uid_of({.owner = {owner}, .part = {}}); uid != peer::kAllTogether) out.uid = uid;
  out.reason = fmt::format("{} {} not written, because there were too many at a time", held_back,
                           held_back == 1 ? "record was" : "records were");
  return out;
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
  auto file = AuditFile::open(where);
  if (!file)
    return tl::unexpected(
        fmt::format("the audit file {} cannot be opened: {}; \"audit\" is a path, \"journal\", or \"\" for the log",
                    where, file.error()));
  AuditLog out(
      log, "the audit file",
      [](const AuditRecord& record, unsigned held_back) {
        return PatientWriter::Record{json(record, held_back, std::chrono::system_clock::now())};
      },
      [file = *file](const PatientWriter::Record& line) { return file->write(line.front()); });
  out.file_ = std::move(*file);
  return out;
}

void AuditLog::write(const AuditRecord& record, Clock::time_point now) {
  if (const auto held_back = allowed(record, now))
    put(record, *held_back);
  else
    told_();
}

void AuditLog::put(const AuditRecord& record, unsigned held_back) {
  if (writer_)
    writer_->put(form_(record, held_back));
  else
    log_->notice("{}", sentence(record, held_back));
}

bool AuditLog::say_held_back(Clock::time_point now) {
  bool more = false;
  for (auto& [key, limit] : users_) {
    if (const unsigned held_back = limit.take_held_back(now); held_back != 0)
      put(record_of_held_back(key.first, key.second, held_back), held_back);
    more = more || limit.held_back() != 0;
  }
  return more;
}

void AuditLog::open_anew() {
  if (!file_) return;
  if (const auto why = file_->open_anew())
    log_->error("the audit file {} cannot be opened anew, so the old file gets further records: {}", file_->path(),
                *why);
}

void AuditLog::last_words() {
  say_held_back(Clock::time_point::max());
  flush();
}

void AuditLog::flush() {
  if (writer_) writer_->flush();
}

std::optional<unsigned> AuditLog::allowed(const AuditRecord& record, Clock::time_point now) {
  if (is_an_administrators(record)) return 0;
  // All users of a shared owner have the records of a single user.
  const std::uint64_t owner = record.owner != 0 ? record.owner : record.uid ? std::uint64_t{*record.uid} + 1 : 0;
  Key key{owner, record.event == AuditEvent::kChanged ? record.command : ""};
  if (!users_.contains(key) && users_.size() >= kMaxUsers)
    std::erase_if(users_, [now](const auto& one) { return one.second.is_over(now); });
  if (!users_.contains(key) && users_.size() >= kMaxUsers) key = {};
  const auto out = users_[key].allow(now);
  if (!out) count_held_back(key.first);
  return out;
}

void AuditLog::count_held_back(std::uint64_t owner) {
  ++held_back_;
  const bool is_known = held_back_by_owner_.contains(owner) || held_back_by_owner_.size() < kMaxUsers;
  ++held_back_by_owner_[is_known ? owner : 0];
}

std::uint64_t AuditLog::held_back_of(std::uint64_t owner) const {
  const auto found = held_back_by_owner_.find(owner);
  return found == held_back_by_owner_.end() ? 0 : found->second;
}

std::string AuditLog::most_held_back() const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> most(kMostNamed);
  const auto more = [](const auto& a, const auto& b) { return a.second > b.second; };
  most.erase(
      std::partial_sort_copy(held_back_by_owner_.begin(), held_back_by_owner_.end(), most.begin(), most.end(), more),
      most.end());
  std::string out;
  for (const auto& [owner, count] : most) {
    const auto uid = peer::uid_of({.owner = {owner}, .part = {}});
    const std::string who = owner == 0                  ? "others"
                            : uid == peer::kAllTogether ? fmt::format("owner {}", owner)
                                                        : fmt::format("uid {}", uid);
    out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", who, count);
  }
  return out;
}

std::string AuditLog::sentence(const AuditRecord& record, unsigned held_back) {
  std::string out = record.uid ? fmt::format("uid {}", *record.uid) : std::string("tpmspaced");
  if (record.pid) out += fmt::format(", pid {}", *record.pid);
  if (record.executable) out += fmt::format(" ({})", proto::json_string(*record.executable));
  if (record.in_doubt) out += ", identity in doubt";
  if (record.tpm_namespace) out += fmt::format(", namespace {}", *record.tpm_namespace);
  out += fmt::format(": {}", name_of(record.event));
  if (!record.command.empty()) out += " " + record.command;
  if (record.handle) out += fmt::format(" 0x{:08x}", *record.handle);
  if (record.code) out += fmt::format(" with 0x{:08x}", *record.code);
  if (!record.reason.empty()) out += ": " + record.reason;
  if (!record.profile.empty()) out += fmt::format(" (profile {}", record.profile);
  if (!record.profile.empty()) out += record.rule ? fmt::format(", rule on line {})", *record.rule) : ")";
  if (held_back != 0 && record.event != AuditEvent::kHeldBack) out += fmt::format(" [{} more before this]", held_back);
  return out;
}

std::string AuditLog::json(const AuditRecord& record, unsigned held_back, std::chrono::system_clock::time_point now) {
  std::string out = fmt::format("{{\"time\": \"{}\"", timestamp(now));
  for_each_field(
      record, held_back,
      [&](const char* name, const std::string& value) {
        out += fmt::format(", \"{}\": {}", name, proto::json_string(value));
      },
      [&](const char* name, auto value) { out += fmt::format(", \"{}\": {}", name, value); });
  return out + "}\n";
}

}  // namespace tpmspace::log
