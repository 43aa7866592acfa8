#include "tool/clients.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include "client/connection.h"
#include "client/socket_path.h"
#include "proto/json.h"
#include "tool/doctor.h"
#include "tool/exit_code.h"
#include "tool/machine.h"
#include "tool/sessions.h"
#include "tool/status.h"
#include "tool/time_limits.h"
#include "wire/rc.h"

namespace tpmspace::tool {
namespace {

using proto::ClientEntry;
using proto::RefusedCommand;
using proto::Who;
using proto::WhoReport;

constexpr std::size_t kWidth = 80;
constexpr const char* kClientRow = "{:<6}{:<12}{:<9}{:>9}{:>10}{:>10}{:>9}{:>10}\n";

std::string clients_error(const client::Error& error) {
  if (error.code != wire::from_manager(wire::rc::kDisabled)) return error.what;
  return error.what + ": this connection is narrowed, so tpmspaced shows it no other connection";
}

std::string pid_text(std::uint32_t pid) {
  return pid == 0 ? "-" : std::to_string(pid);
}

// "nginx.service", "container 1a2b..., pod 3c4d...": where the process runs; empty: unknown.
std::string place_text(const Who& who) {
  std::vector<std::string> parts;
  if (!who.container.empty()) parts.push_back("container " + who.container.substr(0, 12));
  if (!who.pod.empty()) parts.push_back("pod " + who.pod);
  if (parts.empty() && !who.unit.empty()) parts.push_back("unit " + who.unit);
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Words in lines of kWidth, the first and the following ones indented.
std::string wrapped(std::string_view text, std::size_t first, std::size_t indent) {
  std::string out, line(first, ' ');
  std::istringstream words{std::string(text)};
  bool is_begin = true;
  for (std::string word; words >> word; is_begin = false) {
    if (!is_begin && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line.assign(indent, ' ');
      is_begin = true;
    }
    line += (is_begin ? "" : " ") + word;
  }
  return out + line + "\n";
}

std::string refusal_text(const RefusedCommand& refusal) {
  const std::string command = refusal.command.empty() ? "a command" : refusal.command;
  return fmt::format("{} ago: {}, {}; {}", age_text(refusal.ago), command, wire::describe(refusal.code),
                     refusal.reason);
}

std::string describe(const ClientEntry& client, const std::string& program) {
  const Who& who = client.who;
  std::vector<std::string> parts = {program.empty() ? "unknown program" : program};
  if (const auto place = place_text(who); !place.empty()) parts.push_back(place);
  if (!who.tpm_namespace.empty()) parts.push_back("namespace " + who.tpm_namespace);
  parts.push_back("listener " + who.listener);
  if (who.chip != "main") parts.push_back("chip " + who.chip);
  parts.push_back("profile " + who.profile);
  parts.push_back("connected for " + age_text(client.age));
  if (!client.waits_for.empty()) parts.push_back("waits for " + client.waits_for);
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string row(const ClientEntry& client, const std::string& program) {
  constexpr std::size_t kIndent = 6;
  std::string out =
      fmt::format(kClientRow, client.connection, user_name(client.who.uid), pid_text(client.who.pid), client.commands,
                  duration_text(client.tpm_time), client.waits_for.empty() ? "-" : age_text(client.waiting),
                  client.objects, client.sessions);
  out += wrapped(describe(client, program), kIndent, kIndent + 2);
  if (client.refusal) out += wrapped("last refused " + refusal_text(*client.refusal), kIndent, kIndent + 2);
  return out;
}

std::string json_text(const std::string& text) {
  return text.empty() ? "null" : proto::json_string(text);
}

std::string json_refusal(const std::optional<RefusedCommand>& refusal) {
  if (!refusal) return "null";
  return fmt::format(R"({{"ago_ns": {}, "command": {}, "code": "0x{:08x}", "reason": {}}})", refusal->ago,
                     json_text(refusal->command), refusal->code, proto::json_string(refusal->reason));
}

std::string json_who(const Who& who, const std::string& program) {
  return fmt::format(
      R"("uid": {}, "user": {}, "pid": {}, "program": {}, "unit": {}, "container": {}, "pod": {}, "namespace": {}, )"
      R"("listener": {}, "profile": {}, "chip": {})",
      who.uid, proto::json_string(user_name(who.uid)), who.pid == 0 ? "null" : std::to_string(who.pid),
      json_text(program), json_text(who.unit), json_text(who.container), json_text(who.pod),
      json_text(who.tpm_namespace), proto::json_string(who.listener), proto::json_string(who.profile),
      proto::json_string(who.chip));
}

std::string json_row(const ClientEntry& client, const std::string& program) {
  return fmt::format(
      R"({{"connection": {}, {}, "age_ns": {}, "commands": {}, "tpm_time_ns": {}, "waits_for": {}, "waiting_ns": {}, )"
      R"("objects": {}, "sessions": {}, "last_refusal": {}}})",
      client.connection, json_who(client.who, program), client.age, client.commands, client.tpm_time,
      json_text(client.waits_for), client.waits_for.empty() ? "null" : std::to_string(client.waiting), client.objects,
      client.sessions, json_refusal(client.refusal));
}

std::string known_program(const ClientEntry& client, const ProgramOf& program) {
  const Who& who = client.who;
  if (!who.executable.empty() || who.pid == 0) return who.executable;
  return program(who.pid, who.uid, client.age);
}

std::string line(std::string_view name, const std::string& text) {
  constexpr std::size_t kName = 14;
  const std::string whole = fmt::format("{:<{}}", name, kName);
  std::string out = wrapped(text, kName, kName);
  return whole + out.substr(kName);
}

// All pages, up to the limit.
tl::expected<proto::Clients, client::Error> all_clients(client::Connection& connection) {
  proto::Clients out;
  std::uint64_t after = 0;
  while (out.clients.size() < kMostShown) {
    auto page = connection.clients(after, kAnswerMs);
    if (!page) return tl::make_unexpected(page.error());
    out.total = page->total;
    if (page->clients.empty()) break;
    after = page->clients.back().connection;
    std::move(page->clients.begin(), page->clients.end(), std::back_inserter(out.clients));
  }
  return out;
}

// The process's first start after boot, in nanoseconds; proc(5), field 22 of stat, behind the name in parentheses.
std::optional<std::uint64_t> start_of(const std::string& stat) {
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  constexpr int kStartTime = 20;  // counted from field 3
  std::string field;
  for (int i = 0; i < kStartTime; ++i)
    if (!(fields >> field)) return std::nullopt;
  const auto ticks = std::strtoull(field.c_str(), nullptr, 10);
  const long per_second = sysconf(_SC_CLK_TCK);
  if (per_second <= 0) return std::nullopt;
  return ticks * (1'000'000'000ULL / static_cast<std::uint64_t>(per_second));
}

std::uint64_t since_boot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::string program_of(std::uint32_t pid, std::uint32_t uid, std::uint64_t age) {
  constexpr std::uint64_t kTick = 10'000'000;  // the precision of a start time
  const std::string process = fmt::format("/proc/{}", pid);
  struct stat info {};
  if (stat(process.c_str(), &info) != 0 || info.st_uid != uid) return "";
  const auto start = start_of(first_line(process + "/stat"));
  const std::uint64_t now = since_boot();
  if (!start || now < age || *start > now - age + kTick) return "";  // another process has the number by now
  std::array<char, 4096> path{};
  const ssize_t n = readlink((process + "/exe").c_str(), path.data(), path.size());
  return n > 0 ? std::string(path.data(), static_cast<std::size_t>(n)) : first_line(process + "/comm");
}

std::string clients_text(const proto::Clients& clients, const ProgramOf& program) {
  if (clients.clients.empty()) return "no clients\n";
  std::string out =
      fmt::format(kClientRow, "conn", "user", "pid", "commands", "TPM time", "waiting", "objects", "sessions");
  for (const ClientEntry& client : clients.clients) out += row(client, known_program(client, program));
  if (clients.total > clients.clients.size())
    out += fmt::format("and {} more\n", clients.total - clients.clients.size());
  return out;
}

std::string clients_json(const proto::Clients& clients, const ProgramOf& program) {
  std::string rows;
  for (const ClientEntry& client : clients.clients)
    rows += (rows.empty() ? "\n    " : ",\n    ") + json_row(client, known_program(client, program));
  return fmt::format("{{\n  \"total\": {},\n  \"clients\": [{}]\n}}\n", clients.total, rows);
}

std::string report_text(const WhoReport& report) {
  const Who& who = report.who;
  std::string out = line("user", fmt::format("{} (uid {})", user_name(who.uid), who.uid));
  if (who.pid != 0)
    out += line("process", fmt::format("{}{}", who.pid, who.executable.empty() ? "" : ", " + who.executable));
  if (const auto place = place_text(who); !place.empty()) out += line("runs in", place);
  if (!who.tpm_namespace.empty()) out += line("namespace", who.tpm_namespace);
  out += line("listener", who.listener);
  if (who.chip != "main") out += line("chip", who.chip);
  out += line("profile", who.profile);
  for (const std::string& reason : report.reasons) out += line("rule", reason);
  out += line("may", report.administers ? "use the TPM as the profile allows, and give orders to tpmspaced"
                                        : "use the TPM as the profile allows");
  if (report.refusal) out += line("last refused", refusal_text(*report.refusal));
  return out + report.text;
}

std::string report_json(const WhoReport& report) {
  std::string reasons;
  for (const std::string& reason : report.reasons)
    reasons += (reasons.empty() ? "" : ", ") + proto::json_string(reason);
  return fmt::format("{{{}, \"administers\": {}, \"reasons\": [{}], \"last_refusal\": {}}}\n",
                     json_who(report.who, report.who.executable), report.administers, reasons,
                     json_refusal(report.refusal));
}

int show_clients(const ManagerPlace& manager, bool json) {
  auto connection = connect_to_administer(manager);
  if (!connection) return fail(connection.error().what);
  const auto clients = all_clients(*connection);
  if (!clients) return fail(clients_error(clients.error()));
  return print(json ? clients_json(*clients, program_of) : clients_text(*clients, program_of)) ? kExitOk : kExitFailure;
}

int show_whoami(const ManagerPlace& manager, bool json) {
  auto connection = connect_to(manager);
  if (!connection) return fail(connection.error().what);
  const auto report = connection->who({}, kAnswerMs);
  if (!report) return fail(clients_error(report.error()));
  if (!print(json ? report_json(*report) : report_text(*report))) return kExitFailure;
  for (const char* variable : {"TPM2TOOLS_TCTI", "TSS2_TCTI"})
    if (const char* tcti = std::getenv(variable); tcti != nullptr && *tcti != '\0')
      if (const auto note = note_of_other_manager(variable, tcti, client::default_socket_path(), socket_of(manager)))
        print_error(*note);
  return kExitOk;
}

int explain_process(const ManagerPlace& manager, std::uint32_t pid, const std::vector<std::string>& words) {
  auto connection = connect_to_administer(manager);
  if (!connection) return fail(connection.error().what);
  if (words.size() > proto::kMaxWords) return fail("the command has too many words");
  const auto report = connection->who({.pid = pid, .words = words}, kAnswerMs);
  if (!report && report.error().code == wire::from_manager(wire::rc::kValue))
    return fail(
        fmt::format("process {} is not connected to tpmspaced, or belongs to another user: `tpmspace clients` lists "
                    "the clients; to ask about a client that is not connected, give its facts, as in --as uid=33",
                    pid));
  if (!report) return fail(clients_error(report.error()));
  if (report->outcome == WhoReport::Outcome::kCannotBeSaid) return fail(report->text);
  if (!print(report_text(*report))) return kExitFailure;
  if (report->connections > 1)
    print_error(fmt::format("process {} has {} connections; this is the newest one", pid, report->connections));
  return report->outcome == WhoReport::Outcome::kRefused ? kExitRefused : kExitOk;
}

}  // namespace tpmspace::tool
