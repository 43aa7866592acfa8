// The engine with a real TPM behind it (libtpms in the process), one command at a time, in virtual time (it jumps to
// when the engine wants to be woken); commands at the TPM are counted, and the books are checked after every step.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

#include "../../support/tpm_commands.h"
#include "engine/engine.h"
#include "tpm/bring_up.h"
#include "tpm/embedded.h"
#include "wire/response.h"

namespace tpmspace::engine {

using namespace support;
using wire::Rc;

// Counts the commands that reach the TPM, of any sender; and lets a test come between.
class CountingTpm : public wire::Tpm {
 public:
  explicit CountingTpm(wire::Tpm& tpm) : tpm_(tpm) {}
  Answer transact(ByteView bytes, std::uint8_t locality) override {
    ++count;
    if (const auto code = meddle ? meddle(wire::read_header(bytes)->code) : std::nullopt)
      return wire::error_response(*code);
    return tpm_.transact(bytes, locality);
  }
  std::uint64_t count = 0;
  // The TPM's response instead of executing the command.
  std::function<std::optional<Rc>(wire::CommandCode)> meddle;

 private:
  wire::Tpm& tpm_;
};

// The sessions that the bank gives out: the chip's 64, less the sessions kept for rebuilding.
inline constexpr int kToGive = 61;

struct Answered {
  Rc code = 0;
  Bytes parameters;
  std::uint32_t handle = 0;
};

class EngineOnLibtpms : public testing::Test {
 protected:
  void SetUp() override { start(); }

  // Starts again with other limits of the chip.
  void start(std::uint32_t context_gap = 65535, const Config& config = {}) {
    engine_.reset();
    tpm_.reset();
    auto opened = tpm::EmbeddedTpm::open("");
    ASSERT_TRUE(opened) << opened.error();
    tpm_ = std::move(*opened);
    counting_ = std::make_unique<CountingTpm>(*tpm_);
    auto facts = tpm::bring_up(*tpm_, tpm::Kind::kEmbedded);
    ASSERT_TRUE(facts) << facts.error();
    chip_ = {};
    chip_.object_slots = facts->object_slots;
    chip_.loaded_sessions = facts->loaded_sessions;
    chip_.active_sessions = facts->active_sessions;
    chip_.reset_count = facts->reset_count;
    chip_.restart_count = facts->restart_count;
    chip_.context_gap = context_gap;
    chip_.max_auth_fail = facts->max_auth_fail;
    chip_.lockout_interval = facts->lockout_interval;
    chip_.lockout_counter = facts->lockout_counter;
    engine_ =
        std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, config, [this] { return ++now_; });
  }

  ConnectionId open(std::uint64_t owner = 1, const space::SpaceLimits& limits = {}) {
    return engine_->open(space::OwnerId{owner}, limits);
  }

  // Runs one command to its answer.
  Answered run(ConnectionId connection, const Bytes& bytes) {
    auto parsed = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    if (!parsed) return {parsed.error(), {}, 0};
    const wire::Command command = *parsed;
    const Ticket ticket = engine_->submit(connection, command, 0, now_);
    for (int i = 0; i < 1000; ++i) {
      auto step = engine_->step(now_);
      EXPECT_EQ(engine_->check(), std::nullopt) << *engine_->check();
      if (step.idle && step.wake) now_ = std::max(now_, *step.wake);
      if (!step.reply) continue;
      EXPECT_EQ(step.reply->ticket, ticket);
      account_ = *step.account;
      auto response = wire::Response::parse(step.reply->response, command.row(), command.has_sessions());
      EXPECT_TRUE(response) << "malformed response to " << command.row().name;
      if (!response) return {};
      const auto handle = response->handle();
      return {response->code(), wire::to_bytes(response->parameters()), handle ? handle->value : 0};
    }
    ADD_FAILURE() << "no answer";
    return {};
  }
  void idle() {
    while (!engine_->step(now_).idle) {
    }
  }

  std::uint32_t primary(ConnectionId c) {
    const auto made = run(c, create_primary(kOwner, ecc_signing_template()));
    EXPECT_EQ(made.code, 0U);
    return made.handle;
  }
  std::uint32_t session(ConnectionId c, SessionType type = SessionType::kHmac) {
    const auto made = run(c, start_session(type));
    EXPECT_EQ(made.code, 0U);
    return made.handle;
  }
  // TPM commands for `commands` times the round.
  template <typename Round>
  double per_command(int commands, Round round) {
    round();  // warm up
    const auto before = counting_->count;
    round();
    return static_cast<double>(counting_->count - before) / commands;
  }

  std::uint64_t now_ = 1;
  observe::Account account_;  // of the last command that was run
  space::Chip chip_;
  std::unique_ptr<tpm::EmbeddedTpm> tpm_;
  std::unique_ptr<CountingTpm> counting_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace tpmspace::engine
