#include "guard/verdict.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "allocations.h"
#include "guard/shipped.h"
#include "profiles.h"

namespace tpmspace::guard {
namespace {

using namespace support;
using wire::Rc;
namespace rc = wire::rc;

constexpr std::uint32_t kIndex = 0x01500016, kOtherIndex = 0x01500017, kCertificate = 0x01C00002;
constexpr std::uint32_t kKey = 0x81000001, kEndorsementKey = 0x81010001, kPlatformKey = 0x81800001;
constexpr std::uint32_t kTransient = 0x80000000, kSession = 0x03000000;
constexpr Rc kYes = rc::kSuccess;

Bytes nv(wire::CommandCode code, std::uint32_t authority, std::uint32_t index, ByteView parameters = {}) {
  return command(code, {authority, index}, password(), parameters);
}
Bytes nv_read(std::uint32_t authority, std::uint32_t index) {
  return nv(cc::kNVRead, authority, index, Writer().u16(8).u16(0).take());
}
Bytes nv_write(std::uint32_t authority, std::uint32_t index) {
  return nv(cc::kNVWrite, authority, index, Writer().tpm2b(Bytes(8)).u16(0).take());
}
Bytes nv_define(std::uint32_t index) {
  const Bytes area = Writer().u32(index).u16(kSha256).u32(0x02020002).u16(0).u16(8).take();
  return command(cc::kNVDefineSpace, {kOwner}, password(), Writer().u16(0).tpm2b(area).take());
}
Bytes nv_define2(std::uint32_t index) {
  const Bytes area = Writer().u8(0x01).u32(index).u16(kSha256).u32(0x02020002).u16(0).u16(8).take();
  return command(cc::kNVDefineSpace2, {kOwner}, password(), Writer().u16(0).tpm2b(area).take());
}
Bytes policy_secret(std::uint32_t authority) {
  return command(cc::kPolicySecret, {authority, kSession}, password(), Writer().u16(0).u16(0).u16(0).u32(0).take());
}
Bytes event_complete(std::uint32_t pcr) {
  return command(cc::kEventSequenceComplete, {pcr, kTransient}, join({password(), password()}), Writer().u16(0).take());
}
Bytes selection(std::uint8_t first_byte) {
  return Writer().u32(2).u16(0x0004).u8(3).u8(0).u8(0).u8(0).u16(kSha256).u8(3).u8(first_byte).u8(0).u8(0).take();
}
Bytes pcr_read(ByteView pcrs) {
  return command(cc::kPCRRead, {}, {}, pcrs);
}
Bytes quote(std::uint32_t key, ByteView scheme, ByteView pcrs) {
  return command(cc::kQuote, {key}, password(), Writer().tpm2b(Bytes(20)).raw(scheme).raw(pcrs).take());
}
Bytes no_scheme() {
  return Writer().u16(kAlgNull).take();
}
Bytes anonymous_scheme() {
  return Writer().u16(0x001A).u16(kSha256).u16(1).take();
}
Bytes policy_pcr(ByteView pcrs) {
  return command(cc::kPolicyPCR, {kSession}, {}, Writer().tpm2b(Bytes(32)).raw(pcrs).take());
}
Bytes create_with_pcrs(std::uint32_t parent, ByteView pcrs) {
  return command(cc::kCreate, {parent}, password(),
                 Writer().raw(sensitive()).tpm2b(ecc_signing_template()).u16(0).raw(pcrs).take());
}
Bytes sign_with(ByteView scheme) {
  return command(cc::kSign, {kTransient}, password(),
                 Writer().tpm2b(Bytes(32)).raw(scheme).u16(0x8024).u32(kNull).u16(0).take());
}
Bytes load_external(std::uint32_t hierarchy) {
  return command(cc::kLoadExternal, {}, {}, Writer().u16(0).tpm2b(ecc_signing_template()).u32(hierarchy).take());
}
Bytes hash(std::uint32_t hierarchy) {
  return command(cc::kHash, {}, {}, Writer().tpm2b(Bytes(3)).u16(kSha256).u32(hierarchy).take());
}
Bytes sign_handle(wire::CommandCode code, std::uint32_t key) {
  return command(code, {key}, password(), Writer().tpm2b(Bytes(32)).raw(no_scheme()).take());
}

struct VerdictCase {
  std::string what;
  Bytes bytes;
  Rc expected = kYes;
};

void check(const Profile& profile, const std::vector<VerdictCase>& cases, std::uint8_t locality = 0) {
  for (const auto& [what, bytes, expected] : cases) {
    const Verdict verdict = judge(profile, parsed(bytes), locality);
    EXPECT_EQ(verdict.rc, expected) << profile.name << ": " << what << ": " << fmt::format("{:#x}, ", verdict.rc)
                                    << sentence(verdict);
    EXPECT_EQ(verdict.allowed(), expected == kYes) << what;
  }
}

TEST(Verdict, SafeAllowsTheToolsEverydayCommands) {
  check(safe(), {
                    {"random", get_random()},
                    {"capabilities", get_capability(6, 0x100, 1)},
                    {"a primary key of the owner", create_primary(kOwner)},
                    {"of the endorsement hierarchy", create_primary(kEndorsement)},
                    {"of the null hierarchy", create_primary(kNull)},
                    {"a key under it", create(kTransient)},
                    {"a key under the machine's storage root key", create(kKey)},
                    {"loading it there", load(kKey, {})},
                    {"signing", sign(kTransient)},
                    {"unsealing", unseal(kTransient, authorization(kSession))},
                    {"a policy session", start_session(SessionType::kPolicy)},
                    {"one salted to the storage root key", start_session(SessionType::kHmac, kKey)},
                    {"one bound to a key of its own", start_session(SessionType::kHmac, kNull, kTransient)},
                    {"one bound to the owner", start_session(SessionType::kHmac, kNull, kOwner)},
                    {"the policy of an endorsement key", policy_secret(kEndorsement)},
                    {"a policy with a PIN", policy_secret(kIndex)},
                    {"a PCR policy", policy_pcr(selection(0xFF))},
                    {"PCRs", pcr_read(selection(0xFF))},
                    {"a quote", quote(kTransient, no_scheme(), selection(0x81))},
                    {"the public area of a persistent key", read_public(kKey)},
                    {"a session bound to one, as tpm2-pkcs11 does", start_session(SessionType::kHmac, kKey, kKey)},
                    {"of the platform's too", read_public(kPlatformKey)},
                    {"an NV index by its own authorization", nv_read(kIndex, kIndex)},
                    {"the endorsement certificate", nv_read(kCertificate, kCertificate)},
                    {"a hash", hash_start()},
                    {"its end", sequence_complete(kTransient)},
                    {"the end of an event that is none", event_complete(kNull)},
                    {"somebody's public key", load_external(kNull)},
                    {"saving", context_save(kTransient)},
                    {"flushing", flush_context(kTransient)},
                });
}

TEST(Verdict, SafeRefusesObjectsOfOthers) {
  check(safe(),
        {
            {"the platform", create_primary(kPlatform), 0x185},
            {"an object there", load_external(kPlatform), 0x3C5},
            {"a ticket of the platform", hash(kPlatform), 0x3C5},
            {"somebody's persistent key", sign_handle(cc::kSign, kKey), 0x18B},
            {"the same to quote with", quote(kKey, no_scheme(), selection(1)), 0x18B},
            {"to unseal", unseal(kKey), 0x18B},
            {"to be certified", command(cc::kCertify, {kKey, kTransient}, join({password(), password()}), {}), 0x18B},
            {"to certify with", command(cc::kCertify, {kTransient, kKey}, join({password(), password()}), {}), 0x28B},
            {"to authorize a policy", policy_secret(kKey), 0x18B},
            {"the platform's as a parent", create(kPlatformKey), 0x18B},
            {"to bind a session to it", start_session(SessionType::kHmac, kNull, kPlatformKey), 0x28B},
            {"the platform's as a salt key", start_session(SessionType::kHmac, kPlatformKey), 0x18B},
            {"to have it saved", context_save(kKey), 0x18B},
            {"NV by the owner, whose authorization is empty", nv_read(kOwner, kIndex), 0x149},
            {"by the platform", nv_read(kPlatform, kIndex), 0x185},
            {"compared by the owner", command(cc::kPolicyNV, {kOwner, kIndex, kSession}, password(), {}), 0x149},
            {"authorizing by the owner", command(cc::kPolicyAuthorizeNV, {kOwner, kIndex, kSession}, password(), {}),
             0x149},
            {"certified by the owner",
             command(cc::kNVCertify, {kTransient, kOwner, kIndex}, join({password(), password()}), {}), 0x149},
            {"writing", nv_write(kIndex, kIndex), rc::kCommandCode},
            {"locking for reading", nv(cc::kNVReadLock, kIndex, kIndex), rc::kCommandCode},
            {"making persistent", evict_control(kTransient, kKey), rc::kCommandCode},
            {"clearing", clear(), rc::kCommandCode},
            {"starting", startup_clear(), rc::kCommandCode},
        });
}

TEST(Verdict, OnlyTheAdministratorTouchesTheLockout) {
  const std::vector<VerdictCase> attacks = {
      {"PolicySecret", policy_secret(kLockout), 0x185},
      {"bind", start_session(SessionType::kHmac, kNull, kLockout), 0x285},
      {"bind of a policy session", start_session(SessionType::kPolicy, kNull, kLockout), 0x285},
      {"salt", start_session(SessionType::kHmac, kLockout), 0x185},
  };
  for (const Profile* profile : shipped_profiles())
    for (auto one : attacks) {
      if (profile == &admin()) one.expected = kYes;
      check(*profile, {one});
    }
}

// Every command, every place of its handle area, with any other handles.
TEST(Verdict, RefusesTheLockoutAndThePlatformInEveryPlace) {
  for (const auto& row : wire::CommandTable::builtin().rows())
    for (std::size_t place = 0; place < row.handles; ++place)
      for (const auto forbidden : {wire::kLockoutHandle, kPlatform})
        for (const auto other : {kTransient, kOwner, kIndex, kSession}) {
          std::vector<std::uint32_t> handles(row.handles, other);
          handles[place] = forbidden;
          const auto one = parsed(command_of(row, handles, Bytes(64)));
          for (const Profile* profile : {&safe(), &storage(), &attest(), &provision()})
            EXPECT_FALSE(judge(*profile, one, 0).allowed())
                << profile->name << ", " << row.name << ", handle " << place + 1;
        }
}

TEST(Verdict, EventSequenceCompleteOnAPcrExtendsIt) {
  check(safe(), {{"a PCR", event_complete(16), rc::kPcr}, {"PCR 0", event_complete(0), rc::kPcr}});
  Profile guests = admin();
  guests.pcr_extend = Numbers::one(16);
  const Bytes digests = Writer().u32(0).take();
  check(guests, {
                    {"the one it may", event_complete(16)},
                    {"another", event_complete(7), rc::kPcr},
                    {"PCR_Extend", command(cc::kPCRExtend, {16}, password(), digests)},
                    {"PCR_Extend of another", command(cc::kPCRExtend, {7}, password(), digests), rc::kPcr},
                    {"PCR_Event of another", command(cc::kPCREvent, {7}, password(), Writer().u16(0).take()), rc::kPcr},
                    {"resetting", command(cc::kPCRReset, {16}, password(), {})},
                });
}

TEST(Verdict, PcrsAreSelectedInParameters) {
  Profile profile = safe();
  profile.pcr_read = {{0, 6}};
  const Bytes all_but = selection(0x7F), seven = selection(0x80);
  check(profile,
        {
            {"PCR_Read", pcr_read(all_but)},
            {"PCR_Read of 7", pcr_read(seven), rc::kPcr},
            {"Quote", quote(kTransient, no_scheme(), all_but)},
            {"Quote of 7", quote(kTransient, no_scheme(), seven), rc::kPcr},
            {"Quote of 7, with a scheme", quote(kTransient, Writer().u16(0x18).u16(kSha256).take(), seven), rc::kPcr},
            {"PolicyPCR", policy_pcr(all_but)},
            {"PolicyPCR with 7", policy_pcr(seven), rc::kPcr},
            {"Create", create_with_pcrs(kTransient, all_but)},
            {"Create with 7", create_with_pcrs(kTransient, seven), rc::kPcr},
            {"beyond what any TPM has", pcr_read(Writer().u32(1).u16(kSha256).u8(9).raw(Bytes(9)).take()), 0x1C4},
            {"too many banks", pcr_read(Writer().u32(17).take()), 0x1D5},
            {"cut off", pcr_read(Writer().u32(1).u16(kSha256).u8(3).u8(0).take()), 0x1DA},
            {"missing", policy_pcr({}), 0x2DA},
            {"a digest that is cut off", command(cc::kPolicyPCR, {kSession}, {}, Writer().u16(9).take()), 0x1DA},
        });
}

TEST(Verdict, ASignatureThatSpendsACommitmentNeedsCommit) {
  const std::vector<VerdictCase> cases = {
      {"Sign", sign_with(anonymous_scheme()), 0x2D2},
      {"Quote", quote(kTransient, anonymous_scheme(), selection(1)), 0x2D2},
      {"GetTime",
       command(cc::kGetTime, {kEndorsement, kTransient}, join({password(), password()}),
               Writer().u16(0).raw(anonymous_scheme()).take()),
       0x2D2},
      {"CertifyCreation",
       command(cc::kCertifyCreation, {kTransient, kTransient}, password(),
               Writer().u16(0).u16(0).raw(anonymous_scheme()).take()),
       0x3D2},
  };
  check(safe(), cases);
  for (auto one : cases) {
    one.expected = kYes;
    check(attest(), {one});
  }
}

TEST(Verdict, NvIsJudgedByIndexAndUse) {
  Profile unit = provision();
  unit.nv_read = {{kIndex, kOtherIndex}};
  unit.nv_by_owner = Numbers::one(kIndex);
  unit.nv_write = unit.nv_lock = unit.nv_define = Numbers::one(kIndex);
  unit.nv_authorize = {};
  check(unit, {
                  {"reading by the owner", nv_read(kOwner, kIndex)},
                  {"another by the owner", nv_read(kOwner, kOtherIndex), 0x149},
                  {"another by itself", nv_read(kOtherIndex, kOtherIndex)},
                  {"by another, which it may not authorize with", nv_read(kOtherIndex, kIndex), 0x149},
                  {"writing", nv_write(kIndex, kIndex)},
                  {"writing another", nv_write(kOtherIndex, kOtherIndex), 0x149},
                  {"defining", nv_define(kIndex)},
                  {"defining another", nv_define(kOtherIndex), 0x149},
                  {"defining, rev. 1.83", nv_define2(kIndex)},
                  {"defining another, rev. 1.83", nv_define2(kOtherIndex), 0x149},
                  {"removing", nv(cc::kNVUndefineSpace, kOwner, kIndex)},
                  {"removing another", nv(cc::kNVUndefineSpace, kOwner, kOtherIndex), 0x149},
                  {"locking", nv(cc::kNVWriteLock, kIndex, kIndex)},
                  {"locking another", nv(cc::kNVReadLock, kOtherIndex, kOtherIndex), 0x149},
                  {"a policy with it", policy_secret(kIndex), 0x149},
                  {"a definition cut off",
                   command(cc::kNVDefineSpace, {kOwner}, password(), Writer().u16(0).u16(14).take()), 0x2DA},
              });
  unit.commands = Numbers::all();
  const Bytes lock_all = command(cc::kNVGlobalWriteLock, {kOwner}, password(), {});
  check(unit, {{"locking all", lock_all, 0x149}});
  unit.nv_lock = Numbers::all();
  check(unit, {{"locking all", lock_all}});
}

TEST(Verdict, PersistentKeysAreListedByUse) {
  Profile server = safe();
  server.persistent_use = Numbers::one(kKey);
  server.persistent_parent = {};
  check(server, {
                    {"its TLS key", sign(kKey)},
                    {"another", sign(kEndorsementKey), 0x18B},
                    {"as a parent", create(kKey), 0x18B},
                    {"what CreateLoaded makes under it", command(cc::kCreateLoaded, {kKey}, password(), {}), 0x18B},
                });
  check(attest(), {{"the endorsement key", command(cc::kActivateCredential, {kTransient, kEndorsementKey},
                                                   join({password(), password()}), {})},
                   {"the owner's", sign(kKey), 0x18B}});
  check(provision(),
        {
            {"making persistent", evict_control(kTransient, kKey)},
            {"under the platform's numbers", evict_control(kTransient, kPlatformKey), 0x1CB},
            {"removing one", evict_control(kKey, kKey)},
            {"removing the platform's", evict_control(kPlatformKey, kPlatformKey), 0x28B},
            {"by the platform",
             command(cc::kEvictControl, {kPlatform, kTransient}, password(), Writer().u32(kKey).take()), 0x185},
            {"the owner's authorization", command(cc::kHierarchyChangeAuth, {kOwner}, password(), {})},
            {"the lockout's", command(cc::kHierarchyChangeAuth, {kLockout}, password(), {}), 0x185},
            {"the number missing", command(cc::kEvictControl, {kOwner, kTransient}, password(), {}), 0x1DA},
        });
}

TEST(Verdict, HierarchyControlNamesItsHierarchyInAParameter) {
  Profile profile = admin();
  profile.hierarchies = profile.hierarchies - Numbers::one(kEndorsement);
  check(profile,
        {{"owner", hierarchy_control(kOwner, false)}, {"endorsement", hierarchy_control(kEndorsement, false), 0x1C5}});
}

TEST(Verdict, AParameterThatMustBeSeenMayNotBeEncrypted) {
  const Bytes decrypting = authorization(0x02000000, 0x21), plain = authorization(0x02000001);
  const Bytes to = Writer().u32(kKey).take();
  check(provision(),
        {
            {"EvictControl", command(cc::kEvictControl, {kOwner, kTransient}, join({plain, decrypting}), to), 0xA82},
            {"the first session", command(cc::kEvictControl, {kOwner, kTransient}, decrypting, to), 0x982},
        });
  // Encryption covers the contents of the first TPM2B: the rest is readable.
  Profile profile = safe();
  profile.pcr_read = {};
  const Bytes quoted = Writer().tpm2b(Bytes(20, 0xEE)).raw(no_scheme()).raw(selection(1)).take();
  check(profile, {{"Quote", command(cc::kQuote, {kTransient}, decrypting, quoted), rc::kPcr}});
}

TEST(Verdict, AParameterThatIsAllowedCompletelyIsNotRead) {
  const Bytes decrypting = authorization(0x02000000, 0x21);
  check(safe(), {{"PCR_Read, cut off", pcr_read(Writer().u32(1).take())},
                 {"PolicyPCR, cut off", policy_pcr({})},
                 {"Quote, cut off: a scheme must be read", quote(kTransient, {}, {}), 0x2DA}});
  check(admin(), {{"EvictControl, cut off", command(cc::kEvictControl, {kOwner, kTransient}, password(), {})},
                  {"EvictControl, hidden", command(cc::kEvictControl, {kOwner, kTransient}, decrypting, {})},
                  {"NV_DefineSpace, cut off", command(cc::kNVDefineSpace, {kOwner}, password(), {})},
                  {"Quote, cut off", quote(kTransient, {}, {})}});
}

TEST(Verdict, ListsLocalities) {
  check(safe(), {{"random at locality 2", get_random(), rc::kLocality}}, 2);
  check(admin(), {{"random at locality 2", get_random()}}, 2);
}

TEST(Verdict, ACommandThatARuleTakesAwayIsDisabled) {
  Profile profile = safe();
  profile.disabled = Numbers::one(cc::kGetRandom) | Numbers::one(cc::kClear);
  check(profile, {{"listed", get_random(), rc::kDisabled},
                  {"not listed", clear(), rc::kCommandCode},
                  {"another", read_public(kTransient)}});
}

TEST(Verdict, CommandsOfTheChipsOwnAreRefusedUnlessAllowedToDoEverything) {
  constexpr wire::CommandCode kVendor = 0x20000001, kNewer = 0x1FF;
  wire::CommandTable table = wire::CommandTable::builtin();
  const wire::CommandAttributes chip[] = {wire::CommandAttributes{kVendor | 2U << 25},
                                          wire::CommandAttributes{kNewer | 2U << 25}};
  (void)table.adopt(chip);
  const auto rc_of = [&](const Profile& profile, std::initializer_list<std::uint32_t> handles, wire::CommandCode code) {
    return judge(profile, parsed(command(code, handles, {}, {}), table), 0).rc;
  };
  for (const Profile* profile : shipped_profiles())
    for (const auto code : {kVendor, kNewer})
      EXPECT_EQ(rc_of(*profile, {kTransient, kTransient}, code), profile == &admin() ? kYes : rc::kCommandCode);
  EXPECT_EQ(rc_of(admin(), {kIndex, kLockout}, kVendor), kYes);

  Profile named = provision();
  named.commands = named.commands | *commands_named("0x20000001");
  EXPECT_EQ(rc_of(named, {kTransient, kSession}, kVendor), kYes);
  EXPECT_EQ(rc_of(named, {kTransient, kSession}, kNewer), rc::kCommandCode);
  EXPECT_EQ(rc_of(named, {kTransient, kLockout}, kVendor), 0x285U);
  EXPECT_EQ(rc_of(named, {kKey, kTransient}, kVendor), 0x18BU);
  EXPECT_EQ(rc_of(named, {kTransient, kIndex}, kVendor), 0x28BU);
  EXPECT_EQ(rc_of(named, {0, kTransient}, kVendor), 0x18BU);
}

TEST(Verdict, ACommandThatTheChipShapesOtherwiseIsTheChipsOwn) {
  wire::CommandTable table = wire::CommandTable::builtin();
  const wire::CommandAttributes chip[] = {wire::CommandAttributes{cc::kReadPublic | 2U << 25}};
  (void)table.adopt(chip);
  const Bytes bytes = command(cc::kReadPublic, {kKey, kTransient}, {}, {});
  EXPECT_EQ(judge(safe(), parsed(bytes, table), 0).rc, 0x18BU);
  EXPECT_TRUE(judge(admin(), parsed(bytes, table), 0).allowed());
}

TEST(Verdict, AllocatesNothing) {
  Profile narrow_pcrs = safe();
  narrow_pcrs.pcr_read = {{0, 6}};
  const std::vector<wire::Command> commands = {
      parsed(get_random()), parsed(nv_read(kIndex, kIndex)), parsed(quote(kTransient, no_scheme(), selection(0x80))),
      parsed(create_with_pcrs(kKey, selection(0x7F))), parsed(start_session(SessionType::kHmac, kKey, kLockout))};
  (void)shipped_profiles();
  const std::size_t before = allocations();
  std::size_t allowed = 0;
  for (const auto& one : commands)
    for (const Profile* profile : {&safe(), &admin(), static_cast<const Profile*>(&narrow_pcrs)})
      allowed += judge(*profile, one, 0).allowed() ? 1U : 0U;
  EXPECT_EQ(allocations(), before);
  EXPECT_GT(allowed, 5U);
}

// The sentences use the names of `kSets` and of the table of commands.
TEST(Verdict, TheSentenceNamesTheKeyToWrite) {
  Profile bare;
  bare.commands = Numbers::all();
  bare.localities = Numbers::one(0);
  bare.hierarchies = Numbers::all();
  const struct {
    Bytes bytes;
    const char* sentence;
  } cases[] = {
      {command(cc::kNVWrite, {kIndex, kIndex}, password(), {}),
       "the profile does not list this NV index under nv.write"},
      {command(cc::kNVRead, {kIndex, kIndex}, password(), {}), "the profile does not list this NV index under nv.read"},
      {command(cc::kNVReadPublic, {kIndex}, {}, {}), "the profile does not list this NV index under nv.read-public"},
      {command(cc::kNVReadLock, {kIndex, kIndex}, password(), {}),
       "the profile does not list this NV index under nv.lock"},
      {command(cc::kNVUndefineSpace, {kOwner, kIndex}, password(), {}),
       "the profile does not list this NV index under nv.define"},
      {command(cc::kNVRead, {kOwner, kIndex}, password(), {}),
       "the profile does not list this NV index under nv.by-owner, as one to be used by the authorization of owner or "
       "platform"},
      {command(cc::kNVGlobalWriteLock, {kOwner}, password(), {}),
       "the command concerns all NV indices, and the profile does not list all of them under nv.lock"},
      {command(cc::kPCRExtend, {16}, password(), {}), "the profile does not list this PCR under pcr.extend"},
      {command(cc::kPCRReset, {16}, password(), {}), "the profile does not list this PCR under pcr.reset"},
      {command(cc::kPCRRead, {}, {}, selection(1)), "the profile does not list this PCR under pcr.read"},
      {command(cc::kReadPublic, {kKey}, {}, {}),
       "the profile does not list this persistent object under persistent.read-public, or this client has no object of "
       "that number: namespaces have handles of their own"},
  };
  for (const auto& [bytes, wanted] : cases) EXPECT_EQ(sentence(judge(bare, parsed(bytes), 0)), wanted);
  EXPECT_TRUE(sentence(judge(bare, parsed(sign_handle(cc::kSign, kKey)), 0))
                  .starts_with("the profile does not list this persistent object under persistent.use, "));
  EXPECT_EQ(sentence(judge(bare, parsed(cases[0].bytes), 2)),
            "the profile does not list this locality under localities");
  EXPECT_EQ(sentence(judge(safe(), parsed(hash(kPlatform)), 0)),
            "the profile does not list this hierarchy under hierarchies");
  EXPECT_EQ(sentence(judge(safe(), parsed(command(cc::kNVUndefineSpace, {kOwner, kIndex}, password(), {})), 0)),
            "the profile does not list this command, which is of the class nv-define");
}

TEST(Verdict, EveryReasonHasASentence) {
  for (int i = 0; i <= static_cast<int>(Reason::kUnreadable); ++i)
    EXPECT_FALSE(sentence({.reason = static_cast<Reason>(i)}).empty()) << i;
}

RC_GTEST_PROP(Verdict, AdminIsStoppedByNothing, ()) {
  RC_ASSERT(judge(admin(), any_command(), *::rc::gen::arbitrary<std::uint8_t>()).allowed());
}

// For any bytes: a verdict, and a separate code for every refusal.
RC_GTEST_PROP(Verdict, IsTotal, ()) {
  const Profile profile = any_profile();
  const Verdict verdict = judge(profile, any_command(), 0);
  RC_ASSERT(verdict.allowed() == (verdict.rc == kYes));
  RC_ASSERT(wire::layer_of(verdict.rc) == 0U);
  RC_ASSERT(!sentence(verdict).empty());
}

}  // namespace
}  // namespace tpmspace::guard
