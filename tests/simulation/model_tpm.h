// A TPM made of bookkeeping: all properties that matter to a resource manager, and no cryptography.
//
// Idea: the manager's rules are about slots, numbers, contexts and resets, so exactly those are modelled, check for
// check in the reference code's order; model_tpm_test.cc holds the model against libtpms. A key is an id, an
// authorization is right if it equals the (usually empty) auth value, an HMAC is right only where a real one may be
// empty. Time passes on a virtual clock, faults are injected where a FaultPlan says. With `Limits::endless()` it is the
// private TPM with room for everything that a client of the manager is promised. Threads: one, and `cancel` does
// nothing. Units: entities, bytes, nanoseconds of virtual time. Source: TPM 2.0 library, Parts 1 to 4;
// docs/tpm-behaviour.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "chip_state.h"
#include "faults.h"
#include "session_slots.h"
#include "virtual_clock.h"
#include "wire/tpm.h"

namespace tpmspace::simulation {

struct ModelState;

class ModelTpm final : public wire::Tpm {
 public:
  struct Limits {
    std::uint32_t object_slots = 3;
    std::uint32_t loaded_sessions = 3;
    std::uint32_t active_sessions = 64;
    std::uint32_t context_gap = 65535;  // or 255
    std::uint32_t max_command = 4096;
    std::uint32_t max_response = 4096;
    std::size_t context_padding = 0;  // bytes added to every saved context
    // The values after Clear: so many wrong tries lock the TPM, each is forgotten after so long. 0: none is counted.
    std::uint32_t max_tries = 3, recovery_seconds = 1000;
    std::uint32_t shelf = 0;  // of the chip's persistent objects: the one that this TPM knows
    // Copies of persistent objects take the last slot, not the first free one, so that they never shift a new handle.
    bool copies_at_the_top = false;
    // A client holds a saved copy of everything in it: a TPM Restart takes only stClear objects, a Resume nothing.
    bool all_saved = false;

    // Every 0x80xxxxxx is a slot, every session may be loaded, no client is locked out.
    [[nodiscard]] static Limits endless() {
      Limits limits;
      limits.object_slots = 1U << 24;
      limits.loaded_sessions = limits.active_sessions = 256;
      limits.copies_at_the_top = true;
      limits.recovery_seconds = 0;
      return limits;
    }
  };

  // Powered, not started. Without `chip` it is a chip of its own.
  ModelTpm(const Limits& limits, VirtualClock& clock, const std::shared_ptr<ChipState>& chip = nullptr);
  ~ModelTpm() override;

  Answer transact(wire::ByteView command, std::uint8_t locality) override;

  // Power lost and back: 0x100 until Startup.
  void power_cycle();
  [[nodiscard]] FaultPlan& faults() { return faults_; }
  void set_faults(FaultPlan plan) { faults_ = std::move(plan); }

  // Notices losses of a shared chip since this model's last command, without a command.
  void catch_up();
  // The contents of the TPM, for assertions. Handles as the TPM itself knows them.
  [[nodiscard]] std::vector<std::uint32_t> loaded_objects() const;
  [[nodiscard]] std::vector<std::uint32_t> loaded_sessions() const;
  [[nodiscard]] std::vector<std::uint32_t> saved_session_numbers() const;
  [[nodiscard]] bool is_active(std::uint32_t session_number) const;
  [[nodiscard]] bool is_saved(std::uint32_t session_number) const;
  // Whether a wrong authorization of that object is counted. False: there is none.
  [[nodiscard]] bool is_protected(std::uint32_t object) const;
  // The object at `from` has been at `to` all the time. Precondition: one is there, and nothing is at `to`.
  void move_object(std::uint32_t from, std::uint32_t to);
  [[nodiscard]] const ChipState& chip() const;
  [[nodiscard]] std::uint64_t transacts() const { return transacts_; }
  [[nodiscard]] bool gone() const { return gone_; }

  // Moves a saved session over from another model, as two connections to one chip would share it. `context`: the blob
  // that the other gave for it. The blob that loads it here; nullopt if that one would not load there.
  [[nodiscard]] std::optional<wire::Bytes> adopt_session(ModelTpm& from, wire::ByteView context);

 private:
  [[nodiscard]] wire::Bytes execute(wire::ByteView command, std::uint8_t locality);
  [[nodiscard]] Answer spoil(const Fault& fault, wire::ByteView command, std::uint8_t locality);

  VirtualClock& clock_;
  std::unique_ptr<ModelState> state_;
  FaultPlan faults_;
  std::uint64_t transacts_ = 0;
  bool gone_ = false;
};

}  // namespace tpmspace::simulation
