// The commands that are known to crash, hang or disable a TPM: one table, and how each is recognised.
//
// Idea: a row says which commands it is about, how a harmful one is told from a harmless one, and what is answered in
// place of the TPM. A row that holds for every TPM describes what no correct client sends. A row that would hit correct
// clients is bound to the chips that have the fault. What can be told without knowing any object is only in
// the command's bytes; for the rest a row may ask what is known of a key or a session (`Knowledge`).
// A command whose encrypted parameter is malformed (CVE-2023-1017, CVE-2023-1018) never gets here: wire::Command::parse
// refuses it.
// Threads: constant; pure functions. Codes: without a layer; what a TPM without the fault answers, as far as one is
// known. Sources and versions: docs/known-crashes.md, which has a section for each row (a test compares them).
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

// Who made a TPM and what runs in it.
struct Firmware {
  std::string maker;          // TPM_PT_MANUFACTURER without trailing blanks: "STM"
  std::uint32_t version = 0;  // TPM_PT_FIRMWARE_VERSION_1: 0x00490004 is 73.4
  bool operator==(const Firmware&) const = default;
};

// What a row may ask about what the TPM holds.
class Knowledge {
 public:
  Knowledge() = default;
  Knowledge(const Knowledge&) = delete;
  Knowledge& operator=(const Knowledge&) = delete;
  virtual ~Knowledge() = default;

  // TPMI_ALG_PUBLIC of the object behind a handle of the TPM; nullopt: there is none.
  [[nodiscard]] virtual std::optional<std::uint16_t> type_of(std::uint32_t handle) = 0;
  // An object whose private part is not loaded, or may not be.
  [[nodiscard]] virtual bool is_public_only(std::uint32_t handle) = 0;
  // A session that is bound to an entity, or may be.
  [[nodiscard]] virtual bool is_bound(std::uint32_t session) = 0;
};

struct KnownCrash {
  std::string_view name;                    // the heading in docs/known-crashes.md
  std::vector<wire::CommandCode> commands;  // empty: every command that needs an authorization
  // Precondition: the command is one of those.
  bool (*recognised)(const wire::Command& command, Knowledge& knowledge) = nullptr;
  wire::Rc answer = 0;
  std::vector<Firmware> only = {};  // empty: every TPM
};

[[nodiscard]] std::span<const KnownCrash> known_crashes();
[[nodiscard]] bool is_about(const KnownCrash& row, const wire::CommandRow& command);

}  // namespace tpmspace::tpm
