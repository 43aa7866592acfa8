// The engine with a model TPM behind it, one command at a time, in virtual time; a test may come between the two.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "../support/meddled_tpm.h"
#include "engine/engine.h"
#include "model_tpm.h"
#include "speech.h"
#include "tpm/bring_up.h"

namespace tpmspace::simulation {

class EngineOnModelTpm : public testing::Test {
 protected:
  explicit EngineOnModelTpm(const ModelTpm::Limits& limits = {}) : model_(limits, clock_) {
    const auto facts = tpm::bring_up(model_, tpm::Kind::kEmbedded);
    EXPECT_TRUE(facts);
    chip_.reset_count = facts->reset_count;
    chip_.restart_count = facts->restart_count;
    chip_.context_gap = limits.context_gap;
    engine_ = std::make_unique<engine::Engine>(meddler_, wire::CommandTable::builtin(), chip_, engine::Config{},
                                               [this] { return clock_.now(); });
  }

  // The answer, when its turn has come.
  speech::Heard say(engine::ConnectionId who, const wire::Bytes& bytes) {
    auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), chip_.max_command);
    EXPECT_TRUE(command);
    const auto ticket = engine_->submit(who, std::move(*command), 0, clock_.now());
    for (int i = 0; i < 1000; ++i) {
      const auto step = engine_->step(clock_.now());
      if (step.reply && step.reply->ticket == ticket) return speech::hear(bytes, step.reply->response).value();
    }
    ADD_FAILURE() << "no answer";
    return {};
  }

  VirtualClock clock_;
  ModelTpm model_;
  support::MeddledTpm meddler_{model_};
  space::Chip chip_;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace tpmspace::simulation
