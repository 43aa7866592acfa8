// The commands known to crash, hang or disable a TPM: one table with the test for each.
//
// Idea: a row names its commands, the test for a harmful command, and the response in place of the TPM's. A row for
// every TPM describes commands that no correct client sends. A row that would affect correct clients is limited to the
// chips with the fault. Most tests need only the command's bytes; a row may also ask for facts about a key or session
// (`Knowledge`).
// A command with a malformed encrypted parameter (CVE-2023-1017, CVE-2023-1018) never gets here: wire::Command::parse
// refuses such a command.
// Threads: constant; pure functions.
// Errors: codes without a layer; the response of a TPM without the fault, if known.
// Source: docs/known-crashes.md, with versions and a section for each row (a test compares both).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::tpm {

// The manufacturer and the firmware of a TPM.
struct Firmware {
  std::string maker;          // TPM_PT_MANUFACTURER without trailing blanks: "STM"
  std::uint32_t version = 0;  // TPM_PT_FIRMWARE_VERSION_1: 0x00490004 is 73.4
  bool operator==(const Firmware&) const = default;
};

// Facts about the TPM's entities for the rows.
class Knowledge {
 public:
  Knowledge() = default;
  Knowledge(const Knowledge&) = delete;
  Knowledge& operator=(const Knowledge&) = delete;
  virtual ~Knowledge() = default;

  // TPMI_ALG_PUBLIC of the object behind a TPM handle; nullopt: no object.
  [[nodiscard]] virtual std::optional<std::uint16_t> type_of(std::uint32_t handle) = 0;
  // Whether the private part of the object is not loaded, or may not be.
  [[nodiscard]] virtual bool is_public_only(std::uint32_t handle) = 0;
  // Whether the session is bound to an entity, or may be.
  [[nodiscard]] virtual bool is_bound(std::uint32_t session) = 0;
};

struct KnownCrash {
  std::string_view name;                    // the heading in docs/known-crashes.md
  std::vector<wire::CommandCode> commands;  // empty: every command that needs an authorization
  // Precondition: the command is in `commands`.
  bool (*recognised)(const wire::Command& command, Knowledge& knowledge) = nullptr;
  wire::Rc answer = 0;
  std::vector<Firmware> only = {};  // empty: every TPM
};

[[nodiscard]] std::span<const KnownCrash> known_crashes();
[[nodiscard]] bool is_about(const KnownCrash& row, const wire::CommandRow& command);

}  // namespace tpmspace::tpm
