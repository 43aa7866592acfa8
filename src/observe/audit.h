// An audit record: something that was refused, changed, taken away or ordered, as a value. No I/O.
//
// Idea: who, what, why, and which rule. What does not apply is empty. How it is written: log/audit_log.h.
// Threads: a value. Octets that a client can choose (executable, cgroup) are as the kernel has them: whoever shows them
// escapes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tpmspace::observe {

enum class AuditEvent : std::uint8_t {
  kRefused,    // the guard refused a command
  kChanged,    // a command that affects all users was sent to the TPM
  kLockout,    // the lockout guard answered one
  kReclaimed,  // a session was taken from its owner
  kOrder,      // an administrator's order about sessions
  kPolicy,     // the configuration was read again, or could not be
  kListener,   // a listener was made or taken away
  kNarrowed,   // a connection gave rights away
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
  // Who. The owner is for limits of records, and not told; 0: the uid is.
  std::uint64_t owner = 0;
  std::optional<std::uint32_t> uid = {};
  std::optional<std::int32_t> pid = {};
  std::optional<std::string> executable = {}, cgroup = {};
  bool in_doubt = false;  // it could be several clients, and has the least of what they would get
  std::optional<std::string> tpm_namespace = {};
  std::string listener = {};
  std::string chip = {};  // which TPM
  std::uint64_t connection = 0;
  // What.
  std::string command = {};                  // "TPM2_Clear"
  std::optional<std::uint32_t> code = {};    // what the client was answered
  std::optional<std::uint32_t> handle = {};  // of what it is about: a session; what the command changes
  // Why.
  std::string profile = {};
  std::optional<int> rule = {};   // the line it was written in
  std::string reason = {};        // a sentence without its full stop
  bool by_administrator = false;  // not told: such a record is never held back

  bool operator==(const AuditRecord&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

}  // namespace tpmspace::observe
