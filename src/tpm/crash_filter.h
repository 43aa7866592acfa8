// The decorator that keeps away from a TPM what is known to crash, hang or disable it.
//
// Idea: `known_crashes` says what that is and what is answered in its place, with our layer. Most rows can be told by
// the command alone; for some a key or a session must be known: it is learnt from what passes (seen_entities.h), else
// the TPM is asked. A row for certain chips asks the TPM once who made it.
// Threads: as backend.h. Costs: commands that some row is about are parsed once more; what is asked is asked once for
// each key, and only if a command looks harmful for one kind of key.
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
  // What is answered in place of the TPM; nullopt: it is asked.
  [[nodiscard]] std::optional<wire::Rc> refusal_of(const wire::Command& command);
  [[nodiscard]] bool is_for_this_tpm(const KnownCrash& row);
  [[nodiscard]] std::optional<std::uint16_t> type_of(std::uint32_t handle) override;
  [[nodiscard]] bool is_public_only(std::uint32_t handle) override;
  [[nodiscard]] bool is_bound(std::uint32_t session) override { return !seen_.is_unbound(session); }
  [[nodiscard]] std::optional<Firmware> ask_firmware();

  const std::unique_ptr<BackEnd> inner_;
  // Of the transacting thread.
  SeenEntities seen_;
  std::optional<Firmware> firmware_;  // nullopt: not asked yet
  // What the TPM answered to a question in place of what was asked: a warning, which is the client's answer then.
  std::optional<Answer> no_word_;
};

}  // namespace tpmspace::tpm
