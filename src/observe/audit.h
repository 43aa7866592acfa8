// An audit record: a refusal, a change, a reclaim or an order, as a value. No I/O.
//
// Idea: the user, the action, the reason and the rule. Inapplicable fields are empty. log/audit_log.h defines the
// written form.
// Threads: a value. Bytes that a client can choose (executable, cgroup) are as the kernel has them: any program must
// escape these bytes before display.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tpmspace::observe {

enum class AuditEvent : std::uint8_t {
  kRefused,    // the guard refused a command
  kChanged,    // a command with effects for all users was sent to the TPM
  kLockout,    // the lockout guard answered a command
  kReclaimed,  // a session was reclaimed from its owner
  kOrder,      // an administrator's order about sessions
  kPolicy,     // the configuration was read again, or reading failed
  kListener,   // a listener was added or removed
  kNarrowed,   // a connection gave up rights
  kChip,       // an administrator chose a TPM
  kHeldBack,   // records were not written, because one user causes too many
  kLost,       // records could not be written
};
[[nodiscard]] constexpr std::string_view name_of(AuditEvent event) {
  switch (event) {
    case AuditEvent::kRefused:
      return "refused";
    case AuditEvent::kChanged:
      return "changed";
    case AuditEvent::kLockout:
      return "lockout";
    case AuditEvent::kReclaimed:
      return "reclaimed";
    case AuditEvent::kOrder:
      return "order";
    case AuditEvent::kPolicy:
      return "policy";
    case AuditEvent::kListener:
      return "listener";
    case AuditEvent::kNarrowed:
      return "narrowed";
    case AuditEvent::kChip:
      return "chip";
    case AuditEvent::kHeldBack:
      return "held_back";
    case AuditEvent::kLost:
      return "lost";
  }
  return "";
}

struct AuditRecord {
  AuditEvent event = AuditEvent::kRefused;
  // The client. The owner serves only to limit records, and is not written; 0: use the uid.
  std::uint64_t owner = 0;
  std::optional<std::uint32_t> uid = {};
  std::optional<std::int32_t> pid = {};
  std::optional<std::string> executable = {}, cgroup = {};
  bool in_doubt = false;  // several clients are possible; the connection has the least rights of all of them
  std::optional<std::string> tpm_namespace = {};
  std::string listener = {};
  std::string chip = {};  // the TPM's name
  std::uint64_t connection = 0;
  // The event.
  std::string command = {};                  // "TPM2_Clear"
  std::optional<std::uint32_t> code = {};    // the response code for the client
  std::optional<std::uint32_t> handle = {};  // a session, or the target of the command
  // Why.
  std::string profile = {};
  std::optional<int> rule = {};   // the line of the rule
  std::string reason = {};        // a sentence without its full stop
  bool by_administrator = false;  // not written: such a record is never held back

  bool operator==(const AuditRecord&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

}  // namespace tpmspace::observe
