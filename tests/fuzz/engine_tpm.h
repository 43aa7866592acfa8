// The TPM that the engine fuzzer plays.
//
// Idea: three characters. The liar answers as the input says: plausible, refusing, truncated, garbage, nothing. The
// honest one is the model TPM, so that states are reached which no liar finds. The moody one is the model, but now and
// then the input answers in its place, or spoils its response.
// Threads: one.
#pragma once

#include <cstdint>
#include <memory>

#include "../simulation/model_tpm.h"
#include "../simulation/virtual_clock.h"
#include "books/chip.h"
#include "fuzz.h"
#include "wire/command_table.h"
#include "wire/tpm.h"

namespace tpmspace::fuzz {

enum class Character : std::uint8_t { kLiar, kHonest, kMoody };

class PlayedTpm final : public wire::Tpm {
 public:
  // `input` must outlive this.
  PlayedTpm(Character character, const space::Chip& chip, simulation::VirtualClock& clock, Input& input);

  Answer transact(ByteView command, std::uint8_t locality) override;

  // The model's resetCount and restartCount, as tpm/bring_up asks for them.
  void tell_counters(space::Chip& chip);
  // The model's power fails; a liar has none.
  void power_cycle();
  // From now on the honest answer, if there is one.
  void calm_down() { calm_ = true; }
  [[nodiscard]] bool honest() const { return character_ == Character::kHonest; }
  [[nodiscard]] const simulation::ModelTpm& model() const { return *model_; }
  [[nodiscard]] std::uint64_t transacts() const { return transacts_; }

 private:
  [[nodiscard]] Answer play(ByteView command, std::uint8_t locality);
  [[nodiscard]] Answer lie(ByteView command);
  [[nodiscard]] Bytes plausible(ByteView command);
  [[nodiscard]] Bytes parameters_of(const wire::CommandRow& row, ByteView command);
  [[nodiscard]] std::uint32_t some_handle();

  const Character character_;
  Input& input_;
  std::unique_ptr<simulation::ModelTpm> model_;
  bool calm_ = false;
  std::uint64_t transacts_ = 0;
  std::uint64_t saved_ = 0;  // a liar's contexts are numbered as a TPM's are
};

}  // namespace tpmspace::fuzz
