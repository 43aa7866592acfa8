#include "tpm/latency.h"

#include <atomic>
#include <thread>

#include "support.h"

namespace tpmspace::tpm {
namespace {

using namespace test;
using namespace std::chrono_literals;

Bytes create(ByteView public_area, bool encrypted) {
  // A decrypt session hides the contents of inSensitive, not the length.
  const Bytes secret(20, encrypted ? 0xEE : 0x00);
  return authorised(cc::kCreate, 0x80000000, wire::Writer().tpm2b(secret).tpm2b(public_area).u16(0).u32(0).bytes());
}
Bytes sign(std::uint16_t scheme) {
  return authorised(cc::kSign, 0x80000000, wire::Writer().tpm2b(Bytes(32, 1)).u16(scheme).u16(0x000B).bytes());
}
Bytes context_of(std::uint32_t saved_handle) {
  return context_load(wire::Writer().u64(1).u32(saved_handle).u32(0x40000007).u16(0).bytes());
}

TEST(Latency, FiguresFollowTheCommandAndItsAlgorithm) {
  const struct {
    const char* name;
    Bytes command;
    Timer::Duration slb9670, st33ktpm2x;
  } cases[] = {
      {"RSA primary", create_primary(rsa_template()), 2196ms, 1944ms},
      {"ECC primary", create_primary(ecc_template()), 150ms, 150ms},
      {"RSA key", create(rsa_template(), false), 2196ms, 1944ms},
      {"ECC key under a decrypt session", create(ecc_template(), true), 150ms, 150ms},
      {"keygen that is cut off", authorised(cc::kCreate, 0x80000000), 2196ms, 1944ms},
      {"RSASSA", sign(0x0014), 163ms, 91ms},
      {"ECDSA", sign(0x0018), 69ms, 25ms},
      {"the key's own scheme", sign(0x0010), 163ms, 91ms},
      {"RSA encryption", plain(cc::kRSAEncrypt, Bytes(4, 0)), 8900us, 6500us},
      {"object comes back", context_of(0x80000000), 33ms, 33ms},
      {"session comes back", context_of(0x02000001), 12ms, 12ms},
      {"object is saved", context_save(0x80000001), 30ms, 30ms},
      {"session is saved", context_save(0x03000001), 12ms, 12ms},
      {"flush", flush(0x80000000), 3200us, 3200us},
      {"salted session", start_session(0, Bytes(256, 1)), 85ms, 85ms},
      {"plain session", start_session(), 12ms, 12ms},
      {"no command at all", {0x80}, 4ms, 4ms},
      {"unknown command", plain(0x20000001), 4ms, 4ms},
      {"sign without its handle", plain(cc::kSign), 4ms, 4ms},
  };
  for (const auto& row : cases) {
    EXPECT_EQ(latency_of(ChipModel::kSlb9670, row.command), row.slb9670) << row.name;
    EXPECT_EQ(latency_of(ChipModel::kSt33ktpm2x, row.command), row.st33ktpm2x) << row.name;
  }
}

// A SlowTpm over a script, with everything in reach.
struct SlowRig {
  explicit SlowRig(ScriptedTpm::Script script) {
    auto scripted = std::make_unique<ScriptedTpm>(std::move(script));
    auto fake = std::make_unique<FakeTimer>();
    inner = scripted.get();
    timer = fake.get();
    slow = std::make_unique<SlowTpm>(std::move(scripted), ChipModel::kSlb9670, std::move(fake));
  }
  ScriptedTpm* inner = nullptr;
  FakeTimer* timer = nullptr;
  std::unique_ptr<SlowTpm> slow;
};

TEST(Latency, ACommandTakesTheChipsTimeAndThenTheTpmsAnswer) {
  SlowRig rig(always(rc::kSuccess));
  const auto began = rig.timer->now();
  EXPECT_EQ(code_of(rig.slow->transact(create_primary(rsa_template()), 3)), rc::kSuccess);
  EXPECT_EQ(rig.timer->now() - began, 2196ms);
  EXPECT_EQ(rig.inner->sent, std::vector<Bytes>{create_primary(rsa_template())});
  EXPECT_EQ(rig.inner->localities, std::vector<std::uint8_t>{3});
}

TEST(Latency, TheTpmsOwnTimeIsPartOfTheFigureNotAddedToIt) {
  FakeTimer* timer = nullptr;
  SlowRig rig([&timer](ByteView) -> Answer {
    timer->advance(400ms);
    return wire::error_response(rc::kSuccess);
  });
  timer = rig.timer;
  for (int i = 0; i < 20; ++i) (void)rig.slow->transact(create_primary(rsa_template()), 0);
  const auto began = rig.timer->now();
  (void)rig.slow->transact(create_primary(rsa_template()), 0);
  EXPECT_EQ(rig.timer->now() - began, 2196ms);
}

TEST(Latency, ACancelDuringTheDelayIsAnsweredCanceledAndTheTpmSeesNothing) {
  SlowRig rig(always(rc::kSuccess));
  rig.timer->during_wait = [&] { rig.slow->cancel(); };
  EXPECT_EQ(code_of(rig.slow->transact(create_primary(rsa_template()), 0)), rc::kCanceled);
  EXPECT_TRUE(rig.inner->sent.empty());
  EXPECT_EQ(rig.inner->cancels, 0);
  rig.timer->during_wait = nullptr;
  EXPECT_EQ(code_of(rig.slow->transact(get_random(), 0)), rc::kSuccess) << "the cancel was for the command before";
}

TEST(Latency, ACancelWhileNothingRunsIsForgotten) {
  SlowRig rig(always(rc::kSuccess));
  rig.slow->cancel();
  EXPECT_EQ(code_of(rig.slow->transact(get_random(), 0)), rc::kSuccess);
  EXPECT_EQ(rig.inner->cancels, 0);
}

TEST(Latency, ACancelInsideTheTpmIsPassedOnAndItsAnswerStands) {
  SlowTpm* slow = nullptr;
  ScriptedTpm* inner = nullptr;
  SlowRig rig([&](ByteView) -> Answer {
    slow->cancel();
    return wire::error_response(inner->cancels > 0 ? rc::kCanceled : rc::kSuccess);
  });
  slow = rig.slow.get();
  inner = rig.inner;
  EXPECT_EQ(code_of(rig.slow->transact(get_random(), 0)), rc::kCanceled);
  EXPECT_EQ(rig.inner->cancels, 1);
}

TEST(Latency, HangingUpEndsTheDelayAndEverythingAfter) {
  SlowRig rig(always(rc::kSuccess));
  rig.timer->during_wait = [&] { rig.slow->hang_up(); };
  for (int i = 0; i < 2; ++i) {
    const auto answer = rig.slow->transact(get_random(), 0);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, ErrorKind::kGone);
    rig.timer->during_wait = nullptr;
  }
  EXPECT_TRUE(rig.inner->sent.empty());
  EXPECT_GE(rig.inner->hang_ups, 1);
}

// With real time and real threads: the wait is far longer than any test run, so only the cancel can end it.
TEST(Latency, ACancelFromAnotherThreadWakesARealWait) {
  class EndlessTimer final : public Timer {
   public:
    Time now() const override { return real_.now(); }
    bool wait_until(Time) override { return real_.wait_until(real_.now() + 24h); }
    void wake() override { real_.wake(); }
    void clear() override { real_.clear(); }

   private:
    SteadyTimer real_;
  };
  SlowTpm slow(std::make_unique<ScriptedTpm>(always(rc::kSuccess)), ChipModel::kSlb9670,
               std::make_unique<EndlessTimer>());
  std::atomic<bool> done = false;
  std::thread canceller([&] {
    while (!done) {
      slow.cancel();
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(code_of(slow.transact(create_primary(rsa_template()), 0)), rc::kCanceled);
  done = true;
  canceller.join();
}

}  // namespace
}  // namespace tpmspace::tpm
