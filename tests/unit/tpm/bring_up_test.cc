#include "tpm/bring_up.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "support.h"
#include "tpm/embedded.h"
#include "tpm/open.h"

namespace tpmspace::tpm {
namespace {

using namespace test;

std::unique_ptr<EmbeddedTpm> embedded() {
  auto tpm = EmbeddedTpm::open("");
  EXPECT_TRUE(tpm) << tpm.error();
  return tpm ? std::move(*tpm) : nullptr;
}

// Two objects, two loaded sessions (an HMAC and a policy session), five saved sessions.
void leave_things_behind(wire::Tpm& tpm) {
  ASSERT_EQ(code_of(tpm.transact(startup(), 0)), rc::kSuccess);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(code_of(tpm.transact(create_primary(ecc_template()), 0)), rc::kSuccess);
  for (int i = 0; i < 5; ++i) {
    const auto session = tpm.transact(start_session(i % 2 == 0 ? 1 : 0), 0);
    ASSERT_EQ(code_of(session), rc::kSuccess);
    ASSERT_EQ(code_of(tpm.transact(context_save(handle_in(session)), 0)), rc::kSuccess);
  }
  ASSERT_EQ(code_of(tpm.transact(start_session(1), 0)), rc::kSuccess);
  ASSERT_EQ(code_of(tpm.transact(start_session(0), 0)), rc::kSuccess);
}

TEST(BringUp, StartsAFreshTpmAndKnowsItsLimits) {
  const auto tpm = embedded();
  ASSERT_TRUE(tpm);
  const auto facts = bring_up(*tpm, Kind::kEmbedded);
  ASSERT_TRUE(facts) << facts.error();
  EXPECT_TRUE(facts->started);
  EXPECT_EQ(facts->flushed, 0U);
  EXPECT_EQ(facts->object_slots, 3U);
  EXPECT_EQ(facts->loaded_sessions, 3U);
  EXPECT_EQ(facts->active_sessions, 64U);
  EXPECT_EQ(facts->active_max, 64U);
  EXPECT_EQ(facts->context_gap, 65535U);
  EXPECT_EQ(facts->max_command, 4096U);
  EXPECT_EQ(facts->max_response, 4096U);
  EXPECT_EQ(facts->max_auth_fail, 3U);
  EXPECT_EQ(facts->lockout_interval, 1000U);
  EXPECT_EQ(facts->lockout_counter, 0U);
  EXPECT_EQ(facts->manufacturer, "IBM");
  EXPECT_NE(facts->vendor.find("SW"), std::string::npos) << facts->vendor;
  EXPECT_EQ(facts->vendor.find("  "), std::string::npos) << facts->vendor << ": its parts are filled up with spaces";
  EXPECT_NE(facts->firmware, 0U);
  const auto has = [&](wire::CommandCode code) {
    return std::any_of(facts->commands.begin(), facts->commands.end(),
                       [code](std::uint32_t word) { return wire::CommandAttributes{word}.code() == code; });
  };
  EXPECT_TRUE(has(cc::kNVUndefineSpaceSpecial)) << "the first";
  EXPECT_TRUE(has(cc::kCertifyX509)) << "one of the last";
  EXPECT_GT(facts->commands.size(), 100U);
}

TEST(BringUp, EmptiesATpmThatIsOursAlone) {
  for (const Kind kind : {Kind::kEmbedded, Kind::kSwtpm}) {
    const auto tpm = embedded();
    ASSERT_TRUE(tpm);
    leave_things_behind(*tpm);
    const auto facts = bring_up(*tpm, kind);
    ASSERT_TRUE(facts) << facts.error();
    EXPECT_FALSE(facts->started);
    EXPECT_EQ(facts->flushed, 9U);
    EXPECT_EQ(facts->object_slots, 3U);
    EXPECT_EQ(facts->loaded_sessions, 3U);
    EXPECT_EQ(facts->active_sessions, 64U);
    EXPECT_EQ(facts->foreign_loaded.size() + facts->foreign_saved, 0U);
  }
}

TEST(BringUp, LeavesOthersTheirSessionsOnADeviceAndCountsThemOut) {
  const auto tpm = embedded();
  ASSERT_TRUE(tpm);
  leave_things_behind(*tpm);
  const auto facts = bring_up(*tpm, Kind::kDevice);
  ASSERT_TRUE(facts) << facts.error();
  EXPECT_EQ(facts->flushed, 2U);
  EXPECT_EQ(facts->object_slots, 3U);
  EXPECT_EQ(facts->foreign_loaded.size(), 2U);
  EXPECT_EQ(facts->foreign_saved, 5U);
  EXPECT_EQ(facts->loaded_sessions, 1U);
  EXPECT_EQ(facts->active_sessions, 57U);
  EXPECT_EQ(facts->active_max, 64U);
  EXPECT_EQ(code_of(tpm->transact(flush(0x02000000), 0)), rc::kSuccess) << "still there";
}

TEST(BringUp, ReportsResetsSinceTheTpmWasMade) {
  const auto tpm = embedded();
  ASSERT_TRUE(tpm);
  const auto first = bring_up(*tpm, Kind::kEmbedded);
  ASSERT_TRUE(first) << first.error();
  ASSERT_TRUE(tpm->power_cycle());
  const auto second = bring_up(*tpm, Kind::kEmbedded);
  ASSERT_TRUE(second) << second.error();
  EXPECT_TRUE(second->started);
  EXPECT_EQ(second->reset_count, first->reset_count + 1);
}

// The embedded TPM, on which one GetCapability gives at most `most` items.
ScriptedTpm paging(EmbeddedTpm& tpm, std::uint32_t most) {
  return ScriptedTpm([&tpm, most](ByteView command) {
    Bytes copy = wire::to_bytes(command);
    if (wire::read_header(copy)->code == cc::kGetCapability) wire::put_u32(copy, 18, most);
    return tpm.transact(copy, 0);
  });
}

TEST(BringUp, ReadsListsThatComeInPages) {
  const auto tpm = embedded();
  ASSERT_TRUE(tpm);
  leave_things_behind(*tpm);
  const auto whole = bring_up(*tpm, Kind::kDevice);
  ScriptedTpm paged = paging(*tpm, 3);
  const auto pieces = bring_up(paged, Kind::kDevice);
  ASSERT_TRUE(whole && pieces) << pieces.error();
  EXPECT_EQ(pieces->commands, whole->commands);
  EXPECT_EQ(pieces->active_sessions, whole->active_sessions);
  EXPECT_EQ(pieces->foreign_saved, 5U);
  EXPECT_EQ(pieces->vendor, whole->vendor);
  const auto emptied = bring_up(paged, Kind::kEmbedded);
  ASSERT_TRUE(emptied) << emptied.error();
  EXPECT_EQ(emptied->flushed, 7U);
  EXPECT_EQ(emptied->active_sessions, 64U);
}

TEST(BringUp, WorksThroughTheWholeChain) {
  const auto tpm = open_tpm({EmbeddedSpec{}, {}});
  ASSERT_TRUE(tpm) << tpm.error();
  const auto facts = bring_up(**tpm, Kind::kEmbedded);
  ASSERT_TRUE(facts) << facts.error();
  EXPECT_EQ(facts->object_slots, 3U);
}

TEST(BringUp, SaysThatATpmIsInFailureMode) {
  ScriptedTpm tpm(always(rc::kFailure));
  const auto facts = bring_up(tpm, Kind::kDevice);
  ASSERT_FALSE(facts);
  EXPECT_NE(facts.error().find("failure mode"), std::string::npos) << facts.error();
}

TEST(BringUp, ReportsWhyTheTpmDoesNotAnswer) {
  ScriptedTpm tpm([](ByteView) -> Answer {
    return tl::unexpected(wire::Tpm::Error{ErrorKind::kGone, "it went away"});
  });
  const auto facts = bring_up(tpm, Kind::kDevice);
  ASSERT_FALSE(facts);
  EXPECT_NE(facts.error().find("it went away"), std::string::npos) << facts.error();
}

// A TPM that is sound but for its answer to GetCapability of one kind.
ScriptedTpm::Script lying(EmbeddedTpm& tpm, std::uint32_t capability,
                          const std::function<Bytes(std::uint32_t from)>& lie) {
  return [&tpm, capability, lie](ByteView command) -> Answer {
    wire::Reader reader(command);
    (void)reader.take(6);
    const bool asks = reader.u32() == cc::kGetCapability;
    const auto which = reader.u32(), from = reader.u32();
    if (asks && which == capability) return wire::success_response(lie(*from));
    return tpm.transact(command, 0);
  };
}
Bytes list_of(bool more, std::uint32_t capability, const std::vector<std::uint32_t>& words) {
  wire::Writer writer;
  writer.u8(more ? 1 : 0).u32(capability).u32(static_cast<std::uint32_t>(words.size()));
  for (const std::uint32_t word : words) writer.u32(word);
  return writer.take();
}

TEST(BringUp, IsNotHeldForEverByATpmThatLies) {
  const struct {
    const char* name;
    std::uint32_t capability;
    std::function<Bytes(std::uint32_t)> lie;
  } cases[] = {
      {"handles that never end", 1, [](std::uint32_t from) { return list_of(true, 1, {from}); }},
      {"handles that do not go away", 1, [](std::uint32_t) { return list_of(false, 1, {0x80000000}); }},
      {"persistent objects among the transient", 1, [](std::uint32_t) { return list_of(false, 1, {0x81000001}); }},
      {"an NV index among the sessions", 1,
       [](std::uint32_t from) { return from >> 24 == 2 ? list_of(false, 1, {0x01000001}) : list_of(false, 1, {}); }},
      {"the same handle again and again", 1, [](std::uint32_t) { return list_of(true, 1, {0x80000000}); }},
      {"long pages that never end", 2,
       [](std::uint32_t from) {
         std::vector<std::uint32_t> words(254);
         std::iota(words.begin(), words.end(), from);
         return list_of(true, 2, words);
       }},
      {"commands that never end", 2, [](std::uint32_t from) { return list_of(true, 2, {from}); }},
      {"commands out of order", 2,
       [](std::uint32_t) {
         return list_of(false, 2, {0x150, 0x140});
       }},
      {"another list than asked for", 2, [](std::uint32_t) { return list_of(false, 6, {0x150}); }},
      {"a count that is not the list's", 2, [](std::uint32_t) { return Bytes{0, 0, 0, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF}; }},
      {"nothing at all", 2, [](std::uint32_t) { return Bytes{}; }},
  };
  for (const auto& row : cases) {
    const auto real = embedded();
    ASSERT_TRUE(real);
    ScriptedTpm tpm(lying(*real, row.capability, row.lie));
    const auto facts = bring_up(tpm, Kind::kEmbedded);
    EXPECT_FALSE(facts) << row.name;
    EXPECT_LT(tpm.sent.size(), 10'000U) << row.name;
    for (const Bytes& command : tpm.sent)
      if (wire::read_header(command)->code == cc::kFlushContext) {
        EXPECT_TRUE(command[10] == 0x80 || command[10] == 2 || command[10] == 3) << row.name;
      }
  }
}

TEST(BringUp, RefusesATpmWithoutRoomOrBuffers) {
  // Pairs of TPM_PT and value, ascending.
  const std::vector<std::uint32_t> none;
  const std::vector<std::uint32_t> tiny = {0x10E, 3, 0x110, 3, 0x111, 64, 0x11E, 8, 0x11F, 8};
  const std::vector<std::uint32_t> no_slot = {0x10E, 0, 0x110, 3, 0x111, 64, 0x11E, 4096, 0x11F, 4096};
  for (const auto& words : {none, tiny, no_slot}) {
    const auto real = embedded();
    ASSERT_TRUE(real);
    ScriptedTpm tpm(lying(*real, 6, [&words](std::uint32_t from) {
      wire::Writer writer;
      const bool fixed = from == 0x100;
      writer.u8(0).u32(6).u32(fixed ? static_cast<std::uint32_t>(words.size() / 2) : 0);
      if (fixed)
        for (const std::uint32_t word : words) writer.u32(word);
      return writer.take();
    }));
    EXPECT_FALSE(bring_up(tpm, Kind::kEmbedded));
  }
}

TEST(BringUp, RefusesAResponseThatIsNotAsLongAsItSays) {
  const auto real = embedded();
  ASSERT_TRUE(real);
  ScriptedTpm tpm([&real](ByteView command) {
    Answer answer = real->transact(command, 0);
    if (wire::read_header(command)->code == cc::kStartup) answer->push_back(0);
    return answer;
  });
  const auto facts = bring_up(tpm, Kind::kEmbedded);
  ASSERT_FALSE(facts);
  EXPECT_NE(facts.error().find("malformed"), std::string::npos) << facts.error();
}

TEST(BringUp, SurvivesGarbage) {
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    ScriptedTpm tpm([&random](ByteView) -> Answer {
      Bytes noise(random() % 64);
      for (auto& byte : noise) byte = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 4);
      // Often enough with a header that is right, so that it gets further than the first check.
      if (random() % 8 != 0) return wire::success_response(noise);
      return noise;
    });
    EXPECT_FALSE(bring_up(tpm, Kind::kEmbedded)) << "seed " << seed;
    ASSERT_LT(tpm.sent.size(), 10'000U) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tpmspace::tpm
