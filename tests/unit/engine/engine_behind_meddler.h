// The engine on libtpms, with a test between the two; time passes only while a command is at the TPM, or when a test
// says so.
#pragma once

#include <memory>
#include <vector>

#include "../../support/meddled_tpm.h"
#include "engine_on_libtpms.h"

namespace tpmspace::engine {

class EngineBehindMeddler : public EngineOnLibtpms {
 protected:
  static constexpr Time kMillisecond = 1'000'000, kSecond = 1'000'000'000;

  void SetUp() override {
    EngineOnLibtpms::SetUp();
    remake();
  }

  // `keep_free`: as for a chip that others use as well.
  void remake(std::uint32_t keep_free = 0) {
    engine_.reset();
    meddler_ = std::make_unique<MeddledTpm>(*tpm_);
    meddler_->on_command = [this] { now_ += kMillisecond; };
    space::Chip chip = chip_;
    chip.keep_free_objects = chip.keep_free_sessions = keep_free;
    engine_ =
        std::make_unique<Engine>(*meddler_, wire::CommandTable::builtin(), chip, Config{}, [this] { return now_; });
  }

  Ticket submit(ConnectionId connection, const Bytes& bytes) {
    auto command = wire::Command::parse(bytes, wire::CommandTable::builtin(), 4096);
    EXPECT_TRUE(command);
    return engine_->submit(connection, std::move(*command), 0, now_);
  }

  // Steps until there is nothing more to do for so long; the books are right after each.
  void rest_for(Time time) {
    const Time end = now_ + time;
    for (int i = 0; i < 10'000 && now_ < end; ++i) {
      const auto step = engine_->step(now_);
      ASSERT_EQ(engine_->check(), std::nullopt) << *engine_->check();
      if (step.idle) now_ = step.wake ? std::min(end, std::max(now_, *step.wake)) : end;
    }
    ASSERT_GE(now_, end) << "the engine finds no rest";
  }

  // The TPM's own list of its contents.
  std::vector<std::uint32_t> held(std::uint32_t first) {
    const auto answer = tpm_->transact(get_capability(1, first, 64), 0);
    wire::Reader in(*answer);
    (void)in.take(wire::kHeaderSize + 5);
    std::vector<std::uint32_t> out(in.u32().value_or(0));
    for (auto& handle : out) handle = in.u32().value_or(0);
    return out;
  }
  std::size_t objects_held() { return held(0x80000000).size(); }
  std::size_t sessions_held() { return held(0x02000000).size() + held(0x03000000).size(); }

  // The Name of the object of a client's handle; empty: no object.
  Bytes public_of(ConnectionId connection, std::uint32_t handle) {
    const auto answer = run(connection, read_public(handle));
    return answer.code == 0 ? answer.parameters : Bytes{};
  }
  // A key that no other test key is like.
  std::uint32_t key_of_its_own(ConnectionId connection, std::uint8_t individual) {
    const auto made = run(connection, unlike_others(individual));
    EXPECT_EQ(made.code, 0U);
    return made.handle;
  }
  static Bytes unlike_others(std::uint8_t individual) {
    const Bytes usual = ecc_signing_template();
    const Bytes unique(32, individual);  // the data for a primary key, in the place of a point
    const auto without_point = ByteView(usual).first(usual.size() - 4);
    return create_primary(kOwner, Writer().raw(without_point).tpm2b(unique).tpm2b(unique).take());
  }

  std::unique_ptr<MeddledTpm> meddler_;
};

}  // namespace tpmspace::engine
