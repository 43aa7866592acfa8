// The decorator that keeps commands known to crash, hang or disable a TPM away from the TPM.
//
// Idea: `known_crashes` lists these commands and the response in place of the TPM's, from layer 11. Most rows need only
// the command; some need facts about a key or session, which come from earlier commands (seen_entities.h) or from a
// question to the TPM. For rows about certain chips, the TPM is asked once for its manufacturer.
// Threads: as backend.h.
// Limits: commands that a row concerns are parsed once more; each key causes at most one question, and only if a
// command looks harmful for one kind of key.
#pragma once

#include <memory>
#include <optional>

#include "tpm/backend.h"
#include "tpm/known_crashes.h"
#include "tpm/seen_entities.h"

namespace tpmspace::tpm {

class CrashFilter final : public BackEnd, private Knowledge {
 public:
  explicit CrashFilter(std::unique_ptr<BackEnd> inner) : inner_(std::move(inner)) {}

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void cancel() override { inner_->cancel(); }
  void hang_up() override { inner_->hang_up(); }

 private:
  // The response code in place of the TPM's; nullopt: the command goes to the TPM.
  [[nodiscard]] std::optional<wire::Rc> refusal_of(const wire::Command& command);
  [[nodiscard]] bool is_for_this_tpm(const KnownCrash& row);
  [[nodiscard]] std::optional<std::uint16_t> type_of(std::uint32_t handle) override;
  [[nodiscard]] bool is_public_only(std::uint32_t handle) override;
  [[nodiscard]] bool is_bound(std::uint32_t session) override { return !seen_.is_unbound(session); }
  [[nodiscard]] std::optional<Firmware> ask_firmware();

  const std::unique_ptr<BackEnd> inner_;
  // Used by the transacting thread.
  SeenEntities seen_;
  std::optional<Firmware> firmware_;  // nullopt: not asked yet
  // A warning with which the TPM answered a question of the filter; the client gets this answer.
  std::optional<Answer> no_word_;
};

}  // namespace tpmspace::tpm
