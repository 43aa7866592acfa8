// A space's view of the chip, and its window of persistent handles, on libtpms.
#include "books/view.h"

#include <set>

#include "engine_that_parks.h"

namespace tpmspace::engine {
namespace {

using space::View;
using wire::Numbers;

constexpr Rc kNoSuchHandle1 = 0x000B018B, kNoSuchHandle2 = 0x000B028B, kNoSuchParameter1 = 0x000B01CB;
constexpr Rc kNoSessionsHere = 0x000B0145;
constexpr std::uint32_t kCapHandles = 1, kCapCommands = 2, kCapPcrs = 5, kCapProperties = 6;

Bytes nv_define(std::uint32_t index) {
  constexpr std::uint32_t kReadAndWrite = 0x02060006;
  const Bytes area = Writer().u32(index).u16(kSha256).u32(kReadAndWrite).u16(0).u16(8).take();
  return command(cc::kNVDefineSpace, {kOwner}, password(), Writer().u16(0).tpm2b(area).take());
}
Bytes evict_under(std::uint32_t object, std::uint32_t persistent, ByteView authorizations) {
  return command(cc::kEvictControl, {kOwner, object}, authorizations, Writer().u32(persistent).take());
}
Bytes digest(ByteView data) {
  Bytes out(32);
  (void)EVP_Digest(data.data(), data.size(), out.data(), nullptr, EVP_sha256(), nullptr);
  return out;
}
Bytes hmac(ByteView key, ByteView data) {
  Bytes out(32);
  (void)HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(), nullptr);
  return out;
}
// An authorization whose HMAC is right for the command as the client writes it.
Bytes with_hmac(std::uint32_t session, ByteView nonce_tpm, ByteView key, wire::CommandCode code, ByteView names,
                ByteView parameters, std::uint8_t attributes = 1) {
  const Bytes nonce(16, 0x55);
  const Bytes covered = digest(Writer().u32(code).raw(names).raw(parameters).take());
  const Bytes right = hmac(key, Writer().raw(covered).raw(nonce).raw(nonce_tpm).u8(attributes).take());
  return Writer().u32(session).tpm2b(nonce).u8(attributes).tpm2b(right).take();
}

class Views : public EngineThatParks {
 protected:
  ConnectionId open_with(View view, std::uint64_t owner = 1) {
    space::SpaceLimits limits;
    limits.view = std::make_shared<const View>(std::move(view));
    return open(owner, limits);
  }
  static View everything() {
    return {.commands = Numbers::all(), .persistent = Numbers::all(), .nv = Numbers::all(), .pcrs = Numbers::all()};
  }
  static View window(std::uint32_t base) {
    View out = everything();
    out.persistent_base = base;
    return out;
  }
  // A key of its own under that number.
  Bytes make_persistent(ConnectionId c, std::uint32_t handle) {
    const auto key = primary_with(c, {});
    EXPECT_EQ(run(c, evict_control(key, handle)).code, 0U);
    const auto area = run(c, read_public(handle));
    EXPECT_EQ(area.code, 0U);
    EXPECT_EQ(run(c, flush_context(key)).code, 0U);
    return area.parameters;
  }
  // Each is another key: its `unique` is.
  std::uint32_t primary_with(ConnectionId c, ByteView auth) {
    Bytes area = ecc_signing_template();
    area = Writer().raw(ByteView(area).first(area.size() - 4)).tpm2b(Bytes{++made_}).u16(0).take();
    const Bytes inner = Writer().tpm2b(auth).u16(0).take();
    const auto answer =
        run(c, command(cc::kCreatePrimary, {kOwner}, password(), creation(Writer().tpm2b(inner).take(), area)));
    EXPECT_EQ(answer.code, 0U);
    return answer.handle;
  }
  // As clients page: one at a time.
  std::set<std::uint32_t> walk(ConnectionId c, std::uint32_t capability, std::uint32_t from) {
    std::set<std::uint32_t> out;
    for (int i = 0; i < 1000; ++i) {
      const auto page = run(c, get_capability(capability, from, 1));
      EXPECT_EQ(page.code, 0U);
      wire::Reader in(page.parameters);
      const auto more = *in.u8();
      (void)in.u32();
      const auto count = *in.u32();
      if (count == 1) {
        const std::uint32_t word = *in.u32();
        out.insert(word);
        from = (capability == kCapCommands ? wire::CommandAttributes{word}.code() : word) + 1;
      }
      if (more == 0) return out;
      EXPECT_EQ(count, 1U);
    }
    ADD_FAILURE() << "no end";
    return out;
  }
  std::uint32_t property(ConnectionId c, std::uint32_t which) {
    const auto answer = run(c, get_capability(kCapProperties, which, 1)).parameters;
    wire::Reader in(answer);
    (void)in.take(9);
    EXPECT_EQ(in.u32(), which);
    return in.u32().value_or(0);
  }

  std::uint8_t made_ = 0;
};

// --- lists

// It goes through the sieve, and nothing that the chip has is hidden.
TEST_F(Views, AViewThatHidesNothingShowsTheChip) {
  const auto all = open();
  View view = everything();
  view.commands = ~Numbers::one(0x10001FFF);
  view.persistent = ~Numbers::one(0x81654321);
  view.nv = ~Numbers::one(0x01654321);
  const auto c = open_with(view);
  for (const std::uint32_t handle : {0x81000001U, 0x81000002U, 0x81010001U}) (void)make_persistent(all, handle);
  for (const std::uint32_t index : {0x01000000U, 0x01500001U, 0x01500002U, 0x01FFFFFFU})
    EXPECT_EQ(run(all, nv_define(index)).code, 0U);
  const std::pair<std::uint32_t, std::vector<std::uint32_t>> questions[] = {
      {kCapCommands,
       {0, 0x11E, 0x11F, 0x120, 0x121, 0x144, 0x150, 0x193, 0x194, 0x197, 0x199, 0x1000, 0x10120, 0x1FFFFFFF,
        0x20000000, 0x20000120, 0x20000144, 0x2000FFFF, 0xFFFFFFFF}},
      {kCapHandles,
       {0x81000000, 0x81000001, 0x81000002, 0x81000003, 0x81010001, 0x81010002, 0x81FFFFFF, 0x01000000, 0x01000001,
        0x01500002, 0x01FFFFFE, 0x01FFFFFF, 0x11000000, 0x12000000, 0x00000000, 0x40000000, 0x90000000, 0xFF000000}},
      {kCapPcrs, {0, 1}},
      {kCapProperties, {0, 0x100, 0x129, 0x12A, 0x12B, 0x200, 0x202, 0x208, 0x209, 0x20A, 0x300}},
      {0, {0, 1}},
      {3, {0, 0x11F}},
      {4, {0, 0x11F}},
      {8, {0}},
      {0x77, {0}},
  };
  for (const auto& [capability, properties] : questions)
    for (const std::uint32_t property : properties)
      for (const std::uint32_t count : {0U, 1U, 2U, 3U, 64U, 127U, 253U, 254U, 255U, 1000U, UINT32_MAX}) {
        const auto plain = run(all, get_capability(capability, property, count));
        const auto seen = run(c, get_capability(capability, property, count));
        EXPECT_EQ(seen.code, plain.code) << std::hex << capability << ' ' << property << ' ' << count;
        EXPECT_EQ(seen.parameters, plain.parameters) << std::hex << capability << ' ' << property << ' ' << count;
      }
}

TEST_F(Views, AHiddenHandleNeverAppears) {
  const auto all = open();
  View view;
  view.commands = Numbers{{0x11F, 0x121}, {0x12E, 0x131}, {0x144, 0x144}, {0x17A, 0x17C}, {0x20000000, 0x2FFFFFFF}};
  view.persistent = Numbers{{0x81000002, 0x81000003}};
  view.nv = Numbers{{0x01500000, 0x0150FFFF}};
  const auto c = open_with(view);
  for (const std::uint32_t handle : {0x81000001U, 0x81000002U, 0x81010001U}) (void)make_persistent(all, handle);
  for (const std::uint32_t index : {0x01400000U, 0x01500001U, 0x01500002U, 0x01600000U})
    EXPECT_EQ(run(all, nv_define(index)).code, 0U);

  EXPECT_EQ(walk(c, kCapHandles, 0x81000000), (std::set<std::uint32_t>{0x81000002}));
  EXPECT_EQ(walk(c, kCapHandles, 0x01000000), (std::set<std::uint32_t>{0x01500001, 0x01500002}));
  std::set<std::uint32_t> expected;
  for (const std::uint32_t word : walk(all, kCapCommands, 0))
    if (view.commands.contains(wire::CommandAttributes{word}.code())) expected.insert(word);
  EXPECT_EQ(walk(c, kCapCommands, 0), expected);
  EXPECT_EQ(property(c, 0x129), expected.size());
  EXPECT_EQ(property(c, 0x12A) + property(c, 0x12B), expected.size());
  EXPECT_EQ(property(c, 0x202), 2U);
  EXPECT_EQ(property(c, 0x208), 1U);
  EXPECT_EQ(property(all, 0x202), 4U);
  EXPECT_EQ(property(all, 0x208), 3U);

  // A new view holds from the next command on.
  space::SpaceLimits blind;
  blind.view = std::make_shared<const View>();
  engine_->set_limits(c, blind);
  const Bytes nothing = Writer().u8(0).u32(kCapHandles).u32(0).take();
  EXPECT_EQ(run(c, get_capability(kCapHandles, 0x01000000, 254)).parameters, nothing);
  EXPECT_EQ(run(c, get_capability(kCapHandles, 0x81000000, 254)).parameters, nothing);
  EXPECT_TRUE(walk(c, kCapCommands, 0).empty());
}

TEST_F(Views, AClientWithoutPcrsSeesNoneAllocated) {
  View one = everything(), none = everything();
  one.pcrs = Numbers::one(7);
  none.pcrs = {};
  const auto banks = run(open(), get_capability(kCapPcrs, 0, 1)).parameters;
  EXPECT_EQ(run(open_with(one), get_capability(kCapPcrs, 0, 1)).parameters, banks);
  const auto hidden = run(open_with(none), get_capability(kCapPcrs, 0, 1)).parameters;
  ASSERT_EQ(hidden.size(), banks.size());
  wire::Reader in(hidden);
  (void)in.take(5);
  const auto count = *in.u32();
  ASSERT_GT(count, 0U);
  for (std::uint32_t i = 0; i < count; ++i) {
    (void)in.u16();
    const auto size = *in.u8();
    EXPECT_EQ(wire::to_bytes(*in.take(size)), Bytes(size));
  }
}

TEST_F(Views, AnAnswerUnderASessionCannotBeSifted) {
  View view = everything();
  view.commands = Numbers{{0x11F, 0x17A}};
  const auto c = open_with(view);
  const auto audit = session(c);
  const auto ask = [&](std::uint32_t capability, std::uint32_t property) {
    return run(c, command(cc::kGetCapability, {}, authorization(audit, 0x81),
                          Writer().u32(capability).u32(property).u32(10).take()))
        .code;
  };
  const auto before = counting_->count;
  EXPECT_EQ(ask(kCapCommands, 0), kNoSessionsHere);
  EXPECT_EQ(counting_->count, before) << "the TPM did not see it";
  EXPECT_EQ(ask(kCapHandles, 0x81000000), 0U) << "nothing of these is hidden";
  EXPECT_EQ(ask(kCapPcrs, 0), 0U);
  EXPECT_EQ(ask(kCapProperties, 0x100), 0U);
}

TEST_F(Views, ATpmThatLostPowerIsStartedForAListAsForAnythingElse) {
  View view = everything();
  view.commands = Numbers{{0x11F, 0x17A}};
  const auto c = open_with(view);
  const auto listed = walk(c, kCapCommands, 0);
  ASSERT_TRUE(tpm_->power_cycle());
  EXPECT_EQ(walk(c, kCapCommands, 0), listed);
}

// --- the window

TEST_F(Views, TwoWindowsHaveDifferentKeysUnderOneNumber) {
  const auto a = open_with(window(0x81100000), 1), b = open_with(window(0x81120000), 2), all = open(3);
  const auto of_chip = make_persistent(all, 0x81000001);
  const auto of_a = make_persistent(a, 0x81000001);
  const auto of_b = make_persistent(b, 0x81000001);
  EXPECT_NE(of_a, of_b);
  EXPECT_NE(of_a, of_chip);
  EXPECT_EQ(run(all, read_public(0x81100001)).parameters, of_a);
  EXPECT_EQ(run(all, read_public(0x81120001)).parameters, of_b);
  EXPECT_EQ(run(all, read_public(0x81000001)).parameters, of_chip);
  for (const auto c : {a, b}) {
    EXPECT_EQ(run(c, sign(0x81000001)).code, 0U);
    EXPECT_EQ(walk(c, kCapHandles, 0x81000000), (std::set<std::uint32_t>{0x81000001}));
    EXPECT_EQ(property(c, 0x208), 1U);
    EXPECT_EQ(run(c, read_public(0x81000002)).code, 0x18BU) << "not there, says the TPM";
  }
  // One goes; the others stay.
  EXPECT_EQ(run(a, evict_control(0x81000001, 0x81000001)).code, 0U);
  EXPECT_EQ(run(a, read_public(0x81000001)).code, 0x18BU);
  EXPECT_EQ(run(b, read_public(0x81000001)).parameters, of_b);
  EXPECT_EQ(run(all, read_public(0x81000001)).parameters, of_chip);
  EXPECT_EQ(property(a, 0x208), 0U);
  EXPECT_EQ(property(all, 0x208), 2U);
}

TEST_F(Views, AHandleOutsideOfTheWindowDoesNotExist) {
  const auto a = open_with(window(0x81100000), 1), all = open(2);
  (void)make_persistent(all, 0x81000001);
  (void)make_persistent(all, 0x81120000);  // the first one behind it
  const auto key = primary(a);
  const auto before = counting_->count;
  for (const std::uint32_t handle : {0x81020000U, 0x81100001U, 0x81120000U, 0x81FFFFFFU, 0x81800000U}) {
    EXPECT_EQ(run(a, read_public(handle)).code, kNoSuchHandle1);
    EXPECT_EQ(run(a, command(cc::kCertify, {key, handle}, join({password(), password()}),
                             Writer().u16(0).u16(kAlgNull).take()))
                  .code,
              kNoSuchHandle2);
    EXPECT_EQ(run(a, start_session(SessionType::kHmac, handle)).code, kNoSuchHandle1);
    EXPECT_EQ(run(a, start_session(SessionType::kHmac, kNull, handle)).code, kNoSuchHandle2);
    EXPECT_EQ(run(a, evict_control(key, handle)).code, kNoSuchParameter1);
    EXPECT_EQ(run(a, evict_control(handle, 0x81000001)).code, kNoSuchHandle2);
  }
  EXPECT_EQ(run(a, evict_control(key, 0x80000000)).code, 0x000B01C4U);
  EXPECT_EQ(run(a, command(cc::kEvictControl, {kOwner, key}, password(), Bytes(3))).code, 0x000B01DAU);
  EXPECT_EQ(run(a, command(cc::kEvictControl, {kOwner, key}, password(), Bytes(5))).code, 0x000B0095U);
  EXPECT_EQ(counting_->count, before) << "the TPM saw none of it";
  EXPECT_EQ(run(a, evict_control(key, 0x8101FFFF)).code, 0U) << "the last one of the window";
  EXPECT_EQ(run(all, read_public(0x8111FFFF)).code, 0U);
}

// Part 1, 16: a Name does not depend on the handle, so checks of Names hold.
TEST_F(Views, AnHmacHoldsThroughTheWindow) {
  const auto a = open_with(window(0x81100000));
  const Bytes auth{'s', 'e', 's', 'a', 'm', 'e'};
  const auto key = primary_with(a, auth);
  ASSERT_EQ(run(a, evict_control(key, 0x81000005)).code, 0U);
  const auto name = name_of(a, 0x81000005);
  const Bytes parameters =
      wire::to_bytes(wire::Command::parse(sign(0x81000005), wire::CommandTable::builtin(), 4096)->parameters());
  const auto started = run(a, start_session(SessionType::kHmac));
  const auto signed_with = [&](ByteView value, ByteView nonce) {
    return run(a, sign(0x81000005, with_hmac(started.handle, nonce, value, cc::kSign, name, parameters))).code;
  };
  EXPECT_EQ(signed_with(Bytes{1}, nonce_in(started)), 0x9A2U) << "the TPM checks it";
  EXPECT_EQ(signed_with(auth, nonce_in(started)), 0U);
  // Salted with it, or bound to it: a session's handles.
  EXPECT_EQ(run(a, start_session(SessionType::kHmac, kNull, 0x81000005)).code, 0U);
}

TEST_F(Views, AnHmacWithAKeyOverANumberOfTheWindowIsRefused) {
  const auto a = open_with(window(0x81100000)), all = open(2);
  const auto key = primary(a), plain_key = primary(all);
  const auto started = run(a, start_session(SessionType::kHmac)), plain = run(all, start_session(SessionType::kHmac));
  const Bytes number = Writer().u32(0x81000001).take();
  const auto covered = [&](ConnectionId c, std::uint32_t object, const Answered& session, std::uint8_t attributes,
                           const Bytes& secret = {}) {
    const Bytes names = Writer().u32(kOwner).raw(name_of(c, object)).take();
    return with_hmac(session.handle, nonce_in(session), secret, cc::kEvictControl, names, number, attributes);
  };
  // Without a window it is nobody's business.
  EXPECT_EQ(run(all, evict_under(plain_key, 0x81000001, covered(all, plain_key, plain, 0))).code, 0U);
  const auto authorized = covered(a, key, started, 1, {'x'});
  const auto before = counting_->count;
  EXPECT_EQ(run(a, evict_under(key, 0x81000001, authorized)).code, kNoSessionsHere);
  EXPECT_EQ(run(a, evict_under(key, 0x81000001, join({password(), authorization(started.handle, 0x81)}))).code,
            kNoSessionsHere)
      << "an audit";
  EXPECT_LE(counting_->count - before, 2U) << "it asks for Names, and nothing else";
  // Nothing covers it: an empty HMAC, as Part 1, 17.6.5 allows where the key is empty.
  EXPECT_EQ(run(a, evict_under(key, 0x81000001, authorization(started.handle))).code, 0U);
  EXPECT_EQ(run(a, evict_under(0x81000001, 0x81000001, password())).code, 0U);
  // A window onto the chip's own numbers changes nothing.
  const auto same = open_with(window(0x81000000), 3);
  const auto its_key = primary(same);
  const auto its_session = run(same, start_session(SessionType::kHmac));
  EXPECT_EQ(run(all, evict_control(0x81000001, 0x81000001)).code, 0U);
  EXPECT_EQ(run(same, evict_under(its_key, 0x81000001, covered(same, its_key, its_session, 0))).code, 0U);
}

// As tpm2-tools do it: an HMAC session for every authorization, also for an empty one.
TEST_F(Views, AnHmacWithoutAKeyIsPutRight) {
  const auto a = open_with(window(0x81100000));
  const auto key = primary(a);
  const Bytes names = Writer().u32(kOwner).raw(name_of(a, key)).take(), number = Writer().u32(0x81000001).take();
  const auto started = run(a, start_session(SessionType::kHmac));
  const auto response = answer_to(
      a,
      evict_under(key, 0x81000001, with_hmac(started.handle, nonce_in(started), {}, cc::kEvictControl, names, number)));
  ASSERT_TRUE(response && response->ok());
  const Bytes covered = digest(Writer().u32(0).u32(cc::kEvictControl).take());
  EXPECT_EQ(UnsealWithHmac::hmac_of(*response),
            hmac({}, Writer().raw(covered).raw(UnsealWithHmac::nonce_of(*response)).raw(Bytes(16, 0x55)).u8(1).take()));
  EXPECT_EQ(run(a, read_public(0x81000001)).code, 0U);
  // Where the owner has an authorization, the TPM finds an empty one wrong.
  const auto other = run(a, start_session(SessionType::kHmac));
  ASSERT_EQ(run(a, command(cc::kHierarchyChangeAuth, {kOwner}, password(), Writer().tpm2b(Bytes{'x'}).take())).code,
            0U);
  EXPECT_EQ(run(a, evict_under(0x81000001, 0x81000001,
                               with_hmac(other.handle, nonce_in(other), {}, cc::kEvictControl, names, number)))
                .code,
            0x9A2U);
}

// EvictControl has no TPM2B: no session can encrypt its parameter.
TEST_F(Views, TheNumberCannotBeEncrypted) {
  const auto a = open_with(window(0x81100000)), all = open(2);
  for (const auto c : {a, all}) {
    const auto key = primary(c);
    const auto decrypts = session(c);
    EXPECT_EQ(
        wire::base_code(run(c, evict_under(key, 0x81000001, join({password(), authorization(decrypts, 0x21)}))).code),
        wire::rc::kAttributes);
  }
}

TEST_F(Views, APolicyAuthorizesThroughTheWindow) {
  const auto a = open_with(window(0x81100000));
  const auto key = primary(a);
  const auto started = run(a, start_session(SessionType::kPolicy));
  const auto policy = started.handle;
  const auto step = [&] { ASSERT_EQ(run(a, policy_command_code(policy, cc::kEvictControl)).code, 0U); };
  step();
  const auto wanted = run(a, policy_get_digest(policy)).parameters;
  ASSERT_EQ(run(a, command(cc::kSetPrimaryPolicy, {kOwner}, password(), Writer().raw(wanted).u16(kSha256).take())).code,
            0U);
  const auto name = name_of(a, key);

  // As tpm2-tss before 4.2 does it: an HMAC with an empty key.
  const Bytes names = Writer().u32(kOwner).raw(name).take(), number = Writer().u32(0x81000001).take();
  const auto authorized = [&](ByteView nonce) {
    return with_hmac(policy, nonce, {}, cc::kEvictControl, names, number);
  };
  const auto before = counting_->count;
  EXPECT_EQ(run(a, evict_under(key, 0x81000001, authorized(Bytes(16)))).code, 0x000B09A2U);
  EXPECT_LE(counting_->count - before, 2U) << "it asks for Names, and nothing else";
  const auto response = answer_to(a, evict_under(key, 0x81000001, authorized(nonce_in(started))));
  ASSERT_TRUE(response && response->ok());
  const Bytes covered = digest(Writer().u32(0).u32(cc::kEvictControl).take());
  EXPECT_EQ(UnsealWithHmac::hmac_of(*response),
            hmac({}, Writer().raw(covered).raw(UnsealWithHmac::nonce_of(*response)).raw(Bytes(16, 0x55)).u8(1).take()));

  // As newer TPMs do: none. The key is persistent now, and is taken out by its own number.
  step();
  EXPECT_EQ(run(a, evict_under(0x81000001, 0x81000001, authorization(policy))).code, 0U);
  EXPECT_EQ(run(a, read_public(0x81000001)).code, 0x18BU);
  // With a password in the policy.
  ASSERT_EQ(run(a, policy_restart(policy)).code, 0U);
  step();
  ASSERT_EQ(run(a, policy_password(policy)).code, 0U);
  const auto other = run(a, policy_get_digest(policy)).parameters;
  ASSERT_EQ(run(a, command(cc::kSetPrimaryPolicy, {kOwner}, password(), Writer().raw(other).u16(kSha256).take())).code,
            0U);
  EXPECT_EQ(run(a, evict_under(key, 0x81000001, authorization(policy))).code, 0U);
  // With an authorization value in it, an HMAC has a secret.
  EXPECT_EQ(run(a, policy_command_code(policy, cc::kEvictControl)).code, 0U);
  ASSERT_EQ(run(a, policy_auth_value(policy)).code, 0U);
  EXPECT_EQ(run(a, evict_under(key, 0x81000002, authorized(nonce_in(started)))).code, kNoSessionsHere);
}

// The manager repeats a session's commands on the same key.
TEST_F(Views, AParkedPolicyIsMadeAgainWithTheKeyOfItsWindow) {
  const auto a = open_with(window(0x81100000)), all = open(2);
  (void)make_persistent(all, 0x81000001);
  (void)make_persistent(a, 0x81000001);
  const auto steps = [&](std::uint32_t trial) {
    const Bytes no_signature = Writer().u16(0x0018).u16(kSha256).tpm2b(Bytes(32, 1)).tpm2b(Bytes(32, 2)).take();
    ASSERT_EQ(run(a, command(cc::kPolicySigned, {0x81000001, trial}, {},
                             Writer().u16(0).u16(0).u16(0).u32(0).raw(no_signature).take()))
                  .code,
              0U);
  };
  const auto reference = session(a, SessionType::kTrial);
  steps(reference);
  ASSERT_EQ(run(a, policy_command_code(reference, cc::kUnseal)).code, 0U);
  const auto expected = run(a, policy_get_digest(reference)).parameters;
  ASSERT_EQ(run(a, flush_context(reference)).code, 0U);

  const auto trial = session(a, SessionType::kTrial);
  steps(trial);
  crowd_passes();
  ASSERT_TRUE(is_parked(a, trial));
  EXPECT_EQ(run(a, policy_command_code(trial, cc::kUnseal)).code, 0U);
  EXPECT_FALSE(is_parked(a, trial));
  EXPECT_EQ(run(a, policy_get_digest(trial)).parameters, expected);
}

// The Names in the HMAC checked here are Names of the window's handles.
TEST_F(Views, AnHmacThatIsPutRightIsOfTheWindowsKey) {
  const auto a = open_with(window(0x81100000)), all = open(2);
  (void)make_persistent(all, 0x81000001);
  const auto started = run(a, start_session(SessionType::kPolicy));
  const auto policy = started.handle;
  ASSERT_EQ(run(a, policy_command_code(policy, cc::kUnseal)).code, 0U);
  const auto object = sealed_with(a, policy);
  ASSERT_EQ(run(a, evict_control(object, 0x81000001)).code, 0U);
  const UnsealWithHmac unseals{.object = 0x81000001, .session = policy, .name = name_of(a, 0x81000001)};
  crowd_passes();
  ASSERT_TRUE(is_parked(a, policy));
  EXPECT_TRUE(is_secret(run(a, unseals.bytes(nonce_in(started)))));
}

TEST_F(Views, BooksKeepTheView) {
  View view = window(0x81100000);
  view.commands = Numbers{{0x11F, 0x17A}};
  const auto a = open_with(view);
  const auto of_a = make_persistent(a, 0x81000001);
  const auto listed = walk(a, kCapCommands, 0);
  const auto image = engine_->save_books();
  auto second =
      std::make_unique<Engine>(*counting_, wire::CommandTable::builtin(), chip_, Config{}, [this] { return ++now_; });
  ASSERT_TRUE(second->restore_books(image));
  engine_ = std::move(second);
  EXPECT_EQ(run(a, read_public(0x81000001)).parameters, of_a);
  EXPECT_EQ(run(a, read_public(0x81100001)).code, kNoSuchHandle1);
  EXPECT_EQ(walk(a, kCapCommands, 0), listed);
}

}  // namespace
}  // namespace tpmspace::engine
