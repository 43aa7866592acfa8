// The model TPM and libtpms side by side: one client speaks to both, and every difference is a bug of the model.
// Threads: one; there can be only one at a time (libtpms is one machine in a process).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model_tpm.h"
#include "reference_client.h"
#include "tpm/embedded.h"

namespace tpmspace::simulation {

class Duel {
 public:
  // Both are new and started. `limits` must be libtpms' own.
  explicit Duel(const Weights& weights, const ModelTpm::Limits& limits = {});

  // Empty, or the difference. Now and then a step is a power cycle instead of a command.
  [[nodiscard]] std::string step(const Step& step);

  [[nodiscard]] ModelTpm& model() { return model_; }
  [[nodiscard]] tpm::EmbeddedTpm& real() { return *real_; }
  // How often each verb succeeded: a test can see that it tested something.
  [[nodiscard]] const std::vector<unsigned>& successes() const { return successes_; }
  void power_cycle();

 private:
  [[nodiscard]] speech::Heard ask(wire::Tpm& tpm, const wire::Bytes& command);
  [[nodiscard]] std::string power(const Step& step);

  VirtualClock clock_;
  ModelTpm model_;
  std::unique_ptr<tpm::EmbeddedTpm> real_;
  ReferenceClient client_;
  bool object_names_in_policies_ = false;
  std::vector<unsigned> successes_ = std::vector<unsigned>(64, 0);
};

}  // namespace tpmspace::simulation
