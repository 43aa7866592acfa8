// The model TPM judged by libtpms: both hear the same, and must answer with the same codes, handles and digests.
// Longer: TPMSPACE_DUEL_STEPS, TPMSPACE_DUEL_SEED.
#include "model_tpm.h"

#include <fmt/format.h>

#include "digest.h"
#include "duel.h"
#include "object_slots.h"
#include "steps.h"
#include "wire/command_table.h"

namespace tpmspace::simulation {
namespace {

constexpr std::uint32_t kOwner = 0x40000001;
constexpr std::uint32_t kNull = 0x40000007;
constexpr std::uint32_t kPlatform = 0x4000000C;
const speech::Auths kEmptyPassword = {speech::Auth{}};

// --- generated

Weights weights_of(bool bound_sessions, bool protects) {
  Weights weights;
  weights.bound_sessions = bound_sessions;
  weights.protects = protects;
  weights.lock_resets = protects ? 20 : 0;
  return weights;
}

// Runs until the first difference; "" if there is none.
std::string fight(const std::vector<Step>& steps, bool bound_sessions, bool protects) {
  Duel duel(weights_of(bound_sessions, protects));
  std::size_t at = 0;
  for (const auto& step : steps) {
    const std::string trouble = duel.step(step);
    if (!trouble.empty()) return fmt::format("step {}: {}", at, trouble);
    ++at;
  }
  return {};
}

RC_GTEST_PROP(ModelTpm, AnswersAsLibtpmsDoes, (const std::vector<Step>& steps, bool bound_sessions, bool protects)) {
  const std::string trouble = fight(steps, bound_sessions, protects);
  if (!trouble.empty()) RC_FAIL(trouble);
}

TEST(ModelTpm, AnswersAsLibtpmsDoesInLongRunsFromSeeds) {
  const auto total = number_from_environment("TPMSPACE_DUEL_STEPS", 200'000);
  const auto first = number_from_environment("TPMSPACE_DUEL_SEED", 1);
  constexpr std::size_t kLength = 500;
  for (std::uint64_t seed = first; (seed - first) * kLength < total; ++seed)
    ASSERT_EQ(fight(random_steps(seed, kLength), seed % 2 == 1, seed % 4 < 2), "")
        << "reproduce: TPMSPACE_DUEL_SEED=" << seed << " TPMSPACE_DUEL_STEPS=1 TPMSPACE_DUEL_TRACE=1";
}

TEST(ModelTpm, LongRunsDoEverythingSuccessfullyAtLeastOnce) {
  std::vector<unsigned> successes(kVerbs, 0);
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Duel duel(weights_of(true, seed % 4 == 0));
    for (const auto& step : random_steps(seed, 500)) ASSERT_EQ(duel.step(step), "");
    for (std::size_t verb = 0; verb < kVerbs; ++verb) successes[verb] += duel.successes()[verb];
  }
  for (std::size_t verb = 0; verb < kVerbs; ++verb) EXPECT_GT(successes[verb], 0U) << name_of(static_cast<Verb>(verb));
}

// --- scripted: the same script on both, and the same story must come out

// One client's conversation with one TPM; the responses are the story.
class Conversation {
 public:
  explicit Conversation(wire::Tpm& tpm) : tpm_(tpm) {}

  speech::Heard say(const wire::Bytes& command) {
    auto heard = quietly(command);
    story_.push_back(heard.code);
    story_.push_back(heard.handle);
    return heard;
  }
  // Not part of the story.
  speech::Heard quietly(const wire::Bytes& command) {
    for (int i = 0;; ++i) {
      auto heard = speech::hear(command, tpm_.transact(command, 0).value());
      if (!heard) return {wire::rc::kFailure, 0, {}, {}};
      if (heard->code != wire::rc::kRetry || i == 5) return *heard;
    }
  }
  void add(std::uint32_t value) { story_.push_back(value); }
  void add(const wire::Bytes& bytes) { story_.push_back(static_cast<std::uint32_t>(short_digest({bytes}))); }
  [[nodiscard]] const std::vector<std::uint32_t>& story() const { return story_; }

  speech::Heard primary(std::uint32_t hierarchy, speech::Template kind, std::uint64_t individual = 1) {
    return say(speech::create_primary(hierarchy, kEmptyPassword, kind, individual, {}));
  }
  speech::Heard session(speech::SessionKind kind) { return say(speech::start_auth_session(kNull, kNull, kind)); }
  wire::Bytes save(std::uint32_t handle) { return say(speech::context_save(handle)).parameters; }
  speech::Heard load(const wire::Bytes& context) { return say(speech::context_load(context)); }
  speech::Heard flush(std::uint32_t handle) { return say(speech::flush_context(handle)); }

 private:
  wire::Tpm& tpm_;
  std::vector<std::uint32_t> story_;
};

using Script = void (*)(Conversation&, Duel&);

void expect_same_story(Script script) {
  const auto story_of = [&](bool real) {
    Duel duel(Weights{});  // there can be only one at a time
    Conversation conversation(real ? static_cast<wire::Tpm&>(duel.real()) : duel.model());
    script(conversation, duel);
    return conversation.story();
  };
  EXPECT_EQ(story_of(false), story_of(true));
}

TEST(ModelTpm, SessionsOfAllKindsShareOneNumberSpaceLowestFirst) {
  expect_same_story([](Conversation& c, Duel&) {
    c.session(speech::SessionKind::kHmac);
    const auto policy = c.session(speech::SessionKind::kPolicy);
    c.session(speech::SessionKind::kTrial);
    c.session(speech::SessionKind::kHmac);  // SESSION_MEMORY
    c.flush(0x02000001);                    // the type byte does not matter
    c.flush(policy.handle);
    c.session(speech::SessionKind::kPolicy);
    c.add(c.say(speech::get_capability(1, 0x02000000, 10)).parameters);
    c.add(c.say(speech::get_capability(1, 0x03000000, 10)).parameters);
  });
}

TEST(ModelTpm, RunsOutOfActiveSessions) {
  expect_same_story([](Conversation& c, Duel&) {
    for (int i = 0; i < 66; ++i) {
      const auto started = c.session(speech::SessionKind::kHmac);
      if (started.ok()) c.save(started.handle);
    }
  });
}

TEST(ModelTpm, ObjectSlotsAreNeededAsInTheTable) {  // docs/tpm-behaviour.md, "Object slots"
  expect_same_story([](Conversation& c, Duel&) {
    const auto parent = c.primary(kOwner, speech::Template::kParent);
    c.say(speech::evict_control(kOwner, parent.handle, kEmptyPassword, 0x81000000));
    const auto key = c.primary(kOwner, speech::Template::kHmacKey);
    c.say(speech::evict_control(kOwner, key.handle, kEmptyPassword, 0x81000001));
    const auto made = c.say(speech::create(parent.handle, kEmptyPassword, speech::Template::kSealed, 3, {}));
    const auto wrapped = wire::Writer().tpm2b(made.tpm2b(0)).tpm2b(made.tpm2b(1)).take();
    c.flush(key.handle);
    for (int loaded = 1; loaded <= 3; ++loaded) {
      const auto flush_made = [&](const speech::Heard& heard) {
        if (heard.ok() && heard.handle != 0) c.flush(heard.handle);
      };
      c.say(speech::create(parent.handle, kEmptyPassword, speech::Template::kSealed, 4, {}));
      c.say(speech::create(0x81000000, kEmptyPassword, speech::Template::kSealed, 4, {}));
      flush_made(c.say(speech::load(parent.handle, kEmptyPassword, wrapped)));
      flush_made(c.say(speech::load(0x81000000, kEmptyPassword, wrapped)));
      flush_made(c.say(speech::create_loaded(parent.handle, kEmptyPassword, speech::Template::kSealed, 4, {})));
      flush_made(c.say(speech::create_loaded(0x81000000, kEmptyPassword, speech::Template::kSealed, 4, {})));
      flush_made(c.say(speech::hmac_start(0x81000001, kEmptyPassword, {})));
      flush_made(c.say(speech::hash_sequence_start({}, false)));
      flush_made(c.say(speech::load_external(kNull, 5, true)));
      c.say(speech::sign(0x81000001, kEmptyPassword, sha256({text("x")})));
      c.say(speech::read_public(0x81000007));  // not there, and not even looked for without a slot
      flush_made(c.say(speech::start_auth_session(kNull, 0x81000001, speech::SessionKind::kHmac)));
      c.primary(kOwner, speech::Template::kHmacKey);
    }
  });
}

TEST(ModelTpm, AnOldSequenceContextLoadsWithItsOldState) {  // tpm-behaviour 14
  expect_same_story([](Conversation& c, Duel&) {
    const auto sequence = c.say(speech::hash_sequence_start({}, false));
    const auto old = c.save(sequence.handle);
    c.say(speech::sequence_update(sequence.handle, kEmptyPassword, wire::Bytes{1, 2, 3}));
    const auto second = c.load(old);
    c.add(c.say(speech::sequence_complete(second.handle, kEmptyPassword, {})).tpm2b(0));
    c.add(c.say(speech::sequence_complete(sequence.handle, kEmptyPassword, {})).tpm2b(0));
  });
}

// Which contexts load after which way of starting again (tpm-behaviour 16).
void save_and_start_again(Conversation& c, Duel& duel, bool orderly, bool state) {
  std::vector<wire::Bytes> contexts;
  for (const auto hierarchy : {kOwner, kNull, kPlatform}) {
    const auto made = c.primary(hierarchy, speech::Template::kHmacKey);
    contexts.push_back(c.save(made.handle));
    c.flush(made.handle);
  }
  const auto st_clear = c.primary(kOwner, speech::Template::kStClearKey);
  contexts.push_back(c.save(st_clear.handle));
  contexts.push_back(c.save(c.session(speech::SessionKind::kHmac).handle));
  const auto loaded = c.session(speech::SessionKind::kPolicy);
  if (orderly) c.say(speech::shutdown(true));
  duel.power_cycle();
  c.say(speech::read_clock());
  c.say(speech::startup(state));
  for (const auto& context : contexts) {
    const auto back = c.load(context);
    if (back.ok()) c.flush(back.handle);
  }
  c.flush(loaded.handle);
}

TEST(ModelTpm, ContextsOutliveARestartAndAResumeButNoReset) {
  expect_same_story([](Conversation& c, Duel& duel) { save_and_start_again(c, duel, false, false); });
  expect_same_story([](Conversation& c, Duel& duel) { save_and_start_again(c, duel, true, false); });
  expect_same_story([](Conversation& c, Duel& duel) { save_and_start_again(c, duel, true, true); });
}

TEST(ModelTpm, ClearKillsOwnerContextsAndSwitchingOffDoesNot) {
  expect_same_story([](Conversation& c, Duel&) {
    const auto key = c.primary(kOwner, speech::Template::kHmacKey);
    const auto context = c.save(key.handle);
    c.say(speech::hierarchy_control(kPlatform, kEmptyPassword, kOwner, false));
    c.say(speech::read_public(key.handle));
    c.load(context);
    c.say(speech::hierarchy_control(kPlatform, kEmptyPassword, kOwner, true));
    c.flush(c.load(context).handle);
    c.say(speech::clear(kPlatform, kEmptyPassword));
    c.load(context);
  });
}

// Saves one session over and over while another one, saved before, grows old. Returns how many saves went well.
std::uint32_t saves_until_the_gap_closes(Conversation& c, wire::Bytes& oldest, std::uint32_t& young) {
  const auto first = c.session(speech::SessionKind::kHmac);
  young = c.session(speech::SessionKind::kHmac).handle;
  oldest = c.save(first.handle);
  for (std::uint32_t saves = 0;; ++saves) {
    const auto saved = c.quietly(speech::context_save(young));
    if (!saved.ok()) {
      c.add(saved.code);
      return saves;
    }
    c.quietly(speech::context_load(saved.parameters));
  }
}

void close_the_gap_and_open_it_again(Conversation& c, Duel&) {
  wire::Bytes oldest;
  std::uint32_t young = 0;
  c.add(saves_until_the_gap_closes(c, oldest, young));
  c.session(speech::SessionKind::kHmac);  // there is a slot beyond the last one
  c.session(speech::SessionKind::kHmac);  // the last slot is for refreshing
  const auto refreshed = c.load(oldest);
  c.save(refreshed.handle);
  c.save(young);
}

TEST(ModelTpm, TheContextGapClosesAndOpensAsOnLibtpms) {
  expect_same_story(close_the_gap_and_open_it_again);
}

TEST(ModelTpm, AnOldChipsGapClosesAfter255Contexts) {  // tpm-behaviour 25
  ModelTpm::Limits limits;
  limits.context_gap = 255;
  VirtualClock clock;
  ModelTpm model(limits, clock);
  Conversation c(model);
  c.say(speech::startup(false));
  wire::Bytes oldest;
  std::uint32_t young = 0;
  const std::uint32_t saves = saves_until_the_gap_closes(c, oldest, young);
  // The values 0 to 3 of the eight bits stand for "free" and "loaded".
  EXPECT_EQ(saves, 256U - limits.loaded_sessions - 2);
  EXPECT_EQ(c.story().back(), wire::rc::kContextGap);
  const auto refreshed = c.load(oldest);
  EXPECT_TRUE(refreshed.ok());
  EXPECT_FALSE(c.save(refreshed.handle).empty());
  EXPECT_FALSE(c.save(young).empty());
}

// --- features of the model alone

TEST(ModelTpm, HasNoNvIndices) {
  expect_same_story([](Conversation& c, Duel&) {
    c.say(speech::nv_read_public(0x01500000));
    c.say(speech::nv_read_public(0x81000000));
  });
}

// --- wrong tries

constexpr std::uint32_t kLockoutCounter = 0x20E;

// A protected key with a password, wrongly used once.
speech::Heard guess(Conversation& c) {
  const auto key =
      c.say(speech::create_primary(kOwner, kEmptyPassword, speech::Template::kProtectedKey, 1, wire::Bytes{7}));
  auto heard = c.say(speech::sign(key.handle, kEmptyPassword, sha256({text("to sign")})));
  c.flush(key.handle);
  return heard;
}

TEST(ModelTpm, LocksWhenTooManyTriesWereWrong) {  // tpm-behaviour 33
  expect_same_story([](Conversation& c, Duel&) {
    for (int i = 0; i < 5; ++i) guess(c);
    EXPECT_EQ(guess(c).code, wire::rc::kLockout);
    c.say(speech::dictionary_attack_parameters(7, 1000));
    EXPECT_NE(guess(c).code, wire::rc::kLockout);
    c.say(speech::dictionary_attack_lock_reset());
    c.add(c.say(speech::get_capability(6, kLockoutCounter, 3)).parameters);
    c.say(speech::clear(kPlatform, kEmptyPassword));
    c.add(c.say(speech::get_capability(6, kLockoutCounter, 3)).parameters);
  });
}

TEST(ModelTpm, CountsNothingWithoutARecoveryTime) {
  expect_same_story([](Conversation& c, Duel&) {
    c.say(speech::dictionary_attack_parameters(3, 0));
    for (int i = 0; i < 5; ++i) guess(c);
    c.add(c.say(speech::get_capability(6, kLockoutCounter, 1)).parameters);
  });
}

TEST(ModelTpm, CuttingThePowerCostsATryIfSomethingProtectedWasUsed) {
  expect_same_story([](Conversation& c, Duel& duel) {
    const auto restart = [&](const wire::Bytes& goodbye) {
      if (!goodbye.empty()) c.say(goodbye);
      duel.power_cycle();
      c.say(speech::startup(false));
      c.add(c.say(speech::get_capability(6, kLockoutCounter, 1)).parameters);
    };
    restart({});
    guess(c);
    restart({});
    guess(c);
    restart(speech::shutdown(false));
    restart({});
  });
}

// On libtpms in real time, so no more is asked than that it happens.
TEST(ModelTpm, ForgetsOneTryEachRecoveryTime) {
  const auto counts = [](bool real) {
    Duel duel(Weights{});
    Conversation c(real ? static_cast<wire::Tpm&>(duel.real()) : duel.model());
    c.say(speech::dictionary_attack_parameters(9, real ? 1 : 1000));
    guess(c);
    guess(c);
    std::vector<wire::Bytes> seen;
    for (int i = 0; i < 100'000'000;
         ++i) {  // libtpms answers a million in less than the second that it takes to forget
      auto count = c.quietly(speech::get_capability(6, kLockoutCounter, 1)).parameters;
      if (seen.empty() || count != seen.back()) seen.push_back(count);
      if (count.back() == 0) break;
    }
    return seen;
  };
  EXPECT_EQ(counts(true), counts(false));
}

class SharedChip : public testing::Test {
 protected:
  SharedChip() { static_cast<void>(first_.transact(speech::startup(false), 0)); }

  VirtualClock clock_;
  std::shared_ptr<ChipState> chip_ = std::make_shared<ChipState>();
  ModelTpm first_{ModelTpm::Limits::endless(), clock_, chip_};
  ModelTpm second_{ModelTpm::Limits::endless(), clock_, chip_};
};

TEST_F(SharedChip, AClearOnOneEmptiesTheOther) {
  Conversation one(first_);
  Conversation two(second_);
  const auto key = one.primary(kOwner, speech::Template::kHmacKey);
  ASSERT_TRUE(two.say(speech::clear(kPlatform, kEmptyPassword)).ok());
  EXPECT_EQ(one.say(speech::read_public(key.handle)).code, 0x910U);
}

TEST_F(SharedChip, ASessionSavedOnOneMovesToTheOtherOnce) {
  Conversation one(first_);
  Conversation two(second_);
  two.session(speech::SessionKind::kHmac);
  const auto session = one.session(speech::SessionKind::kPolicy);
  ASSERT_TRUE(one.say(speech::policy_plain(wire::cc::kPolicyPassword, session.handle)).ok());
  const auto digest = one.say(speech::policy_plain(wire::cc::kPolicyGetDigest, session.handle)).parameters;
  const auto context = one.save(session.handle);
  const auto moved = second_.adopt_session(first_, context);
  ASSERT_TRUE(moved);
  EXPECT_FALSE(second_.adopt_session(first_, context));
  EXPECT_EQ(one.load(context).code, 0x1CBU);
  const auto here = two.load(*moved);
  EXPECT_EQ(here.handle, 0x03000001U);
  EXPECT_EQ(two.say(speech::policy_plain(wire::cc::kPolicyGetDigest, here.handle)).parameters, digest);
}

TEST(ModelTpmFaults, AnAnswerInTheTpmsPlaceChangesNothing) {
  VirtualClock clock;
  ModelTpm model({}, clock);
  Conversation c(model);
  c.say(speech::startup(false));
  model.faults().script({Fault{Fault::Kind::kAnswer, wire::rc::kRetry}});
  EXPECT_EQ(model.transact(speech::start_auth_session(kNull, kNull, speech::SessionKind::kHmac), 0).value(),
            (wire::Bytes{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22}));
  EXPECT_TRUE(model.loaded_sessions().empty());
}

TEST(ModelTpmFaults, ALostAnswerIsLostAfterTheCommandWasDone) {
  VirtualClock clock;
  ModelTpm model({}, clock);
  Conversation c(model);
  c.say(speech::startup(false));
  model.faults().script({Fault{Fault::Kind::kDoneThenLost}});
  c.say(speech::start_auth_session(kNull, kNull, speech::SessionKind::kHmac));
  EXPECT_EQ(model.loaded_sessions().size(), 1U);
}

}  // namespace
}  // namespace tpmspace::simulation
