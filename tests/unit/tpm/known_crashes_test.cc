// Each row of the table with a command that it is about and one that only looks like it, and the filter around a TPM.
#include "tpm/known_crashes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

#include "support.h"
#include "tpm/crash_filter.h"
#include "tpm/embedded.h"

namespace tpmspace::tpm {
namespace {

using namespace test;
using wire::Writer;

constexpr std::uint32_t kKey = 0x80000000, kOther = 0x80000001, kNull = 0x40000007;
constexpr std::uint16_t kKeyedHash = 0x0008, kEcc = 0x0023;
constexpr std::uint16_t kAlgNull = 0x0010, kHmac = 0x0005, kEcdsa = 0x0018, kEcdaa = 0x001A, kSha256 = 0x000B;

Bytes password() {
  return Writer().u32(wire::kPasswordSession).u16(0).u8(0).u16(0).take();
}
// A password for each of `authorized` handles.
Bytes command(wire::CommandCode code, const std::vector<std::uint32_t>& handles, unsigned authorized,
              ByteView parameters) {
  Writer body;
  for (const auto handle : handles) body.u32(handle);
  if (authorized != 0) body.u32(authorized * 9);
  for (unsigned i = 0; i < authorized; ++i) body.raw(password());
  body.raw(parameters);
  return Writer()
      .u16(authorized != 0 ? wire::kTagSessions : wire::kTagNoSessions)
      .u32(static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size()))
      .u32(code)
      .raw(body.bytes())
      .take();
}

Bytes scheme(std::uint16_t algorithm) {
  Writer out;
  out.u16(algorithm);
  if (algorithm != kAlgNull) out.u16(kSha256);
  if (algorithm == kEcdaa) out.u16(1);
  return out.take();
}

// A DER certificate of so many SEQUENCEs, and an extension.
Bytes certificate(int sequences) {
  Writer inner;
  for (int i = 0; i < sequences; ++i) inner.u8(0x30).u8(0);
  inner.u8(0xA3).u8(0);
  return Writer().u8(0x30).u8(static_cast<std::uint8_t>(inner.bytes().size())).raw(inner.bytes()).take();
}
Bytes certify_x509(std::uint32_t sign_key, ByteView partial) {
  return command(cc::kCertifyX509, {kKey, sign_key}, 2, Writer().u16(0).u16(kAlgNull).tpm2b(partial).bytes());
}
Bytes sign_with(std::uint16_t algorithm, std::uint32_t key = kKey) {
  return command(cc::kSign, {key}, 1,
                 Writer().tpm2b(Bytes(32)).raw(scheme(algorithm)).u16(0x8024).u32(kNull).u16(0).bytes());
}
Bytes quote_with(std::uint16_t algorithm) {
  return command(cc::kQuote, {kKey}, 1, Writer().u16(0).raw(scheme(algorithm)).u32(0).bytes());
}
Bytes certify_with(std::uint16_t algorithm, std::uint32_t sign_key) {
  return command(cc::kCertify, {kKey, sign_key}, 2, Writer().u16(0).raw(scheme(algorithm)).bytes());
}
Bytes policy_authorize(std::size_t name) {
  return command(cc::kPolicyAuthorize, {0x03000000}, 0,
                 Writer().u16(0).u16(0).tpm2b(Bytes(name)).u16(0x8022).u32(kNull).u16(0).bytes());
}
Bytes create(wire::CommandCode code, std::uint16_t first_size) {
  return command(code, {kKey}, 1, Writer().u16(first_size).raw(Bytes(4)).u16(0).u16(0).u32(0).bytes());
}
// One authorization by that session.
Bytes authorized_by(std::uint32_t session, std::uint32_t key) {
  return Writer()
      .u16(wire::kTagSessions)
      .u32(27)
      .u32(cc::kUnseal)
      .u32(key)
      .u32(9)
      .u32(session)
      .u16(0)
      .u8(1)
      .u16(0)
      .take();
}
Bytes nv_extend() {
  return command(cc::kNVExtend, {0x01000001, 0x01000001}, 1, Writer().u16(0).bytes());
}

// The keys are of these types; the TPM has this firmware.
struct Tpm {
  std::map<std::uint32_t, std::uint16_t> keys = {};
  std::string maker = "IBM ";
  std::uint32_t firmware = 0x20191023;

  Answer operator()(ByteView bytes) const {
    const auto header = wire::read_header(bytes);
    wire::Reader in(bytes.subspan(wire::kHeaderSize));
    if (header->code == cc::kGetCapability) {
      Writer out;
      out.u8(0).u32(6).u32(2).u32(0x105);
      for (const char c : maker) out.u8(static_cast<std::uint8_t>(c));
      return wire::success_response(out.u32(0x10B).u32(firmware).bytes());
    }
    if (header->code == cc::kReadPublic) {
      const auto key = keys.find(in.u32().value_or(0));
      if (key == keys.end()) return wire::error_response(0x184);
      return wire::success_response(
          Writer().tpm2b(Writer().u16(key->second).u16(kSha256).bytes()).u16(0).u16(0).bytes());
    }
    if (header->code == cc::kStartAuthSession) {
      (void)in.u32();
      if (public_only.contains(in.u32().value_or(0))) return wire::error_response(0x28B);
      return wire::success_response(Writer().u32(0x02000001).u16(0).bytes());
    }
    return wire::success_response({});
  }
  std::set<std::uint32_t> public_only = {};
};

struct Row {
  const char* what;
  Bytes bytes;
  wire::Rc answer;  // 0: the TPM is asked
  Tpm tpm = {};
};

std::vector<Row> rows() {
  const Tpm hmac_key{.keys = {{kKey, kKeyedHash}, {kOther, kEcc}}};
  const Tpm ecc_key{.keys = {{kKey, kEcc}, {kOther, kKeyedHash}}};
  const Bytes too_long = Writer().u8(0x30).u8(9).u16(0x3000).take();
  return {
      {"no signing key", certify_x509(kNull, certificate(3)), 0x29C},
      {"a signing key", certify_x509(kOther, certificate(3)), 0},
      {"four sequences", certify_x509(kOther, certificate(4)), 0},
      {"five sequences", certify_x509(kOther, certificate(5)), 0x3C4},
      {"a certificate that is longer than itself", certify_x509(kOther, too_long), 0x3C4},
      {"an HMAC key and ECDSA", sign_with(kEcdsa), 0x2D2, hmac_key},
      {"an HMAC key and ECDAA", sign_with(kEcdaa), 0x2D2, hmac_key},
      {"an HMAC key and HMAC", sign_with(kHmac), 0, hmac_key},
      {"an HMAC key and its own scheme", sign_with(kAlgNull), 0, hmac_key},
      {"an ECC key and ECDSA", sign_with(kEcdsa), 0, ecc_key},
      {"no key", sign_with(kEcdsa, 0x80000005), 0, ecc_key},
      {"a quote by an HMAC key and ECDSA", quote_with(kEcdsa), 0x2D2, hmac_key},
      {"a certification by an HMAC key and ECDSA", certify_with(kEcdsa, kOther), 0x2D2, ecc_key},
      {"a certification of an HMAC key by an ECC key", certify_with(kEcdsa, kOther), 0, hmac_key},
      {"a Name of one byte", policy_authorize(1), 0x3D5},
      {"no Name", policy_authorize(0), 0x3D5},
      {"a Name", policy_authorize(34), 0},
      {"Create with too long a first parameter", create(cc::kCreate, 15), 0x1DA},
      {"CreatePrimary with too long a first parameter", create(cc::kCreatePrimary, 0xFFFF), 0x1DA},
      {"CreateLoaded with too long a first parameter", create(cc::kCreateLoaded, 0xFFFF), 0x1DA},
      {"Create", create(cc::kCreate, 4), 0},
      {"a session that may be bound and a public key", authorized_by(0x02000000, kKey), 0x12F, {.public_only = {kKey}}},
      {"such a session and a key", authorized_by(0x02000000, kKey), 0},
      {"a policy session and a public key", authorized_by(0x03000000, kKey), 0, {.public_only = {kKey}}},
      {"a password and a public key", authorized_by(0x40000009, kKey), 0, {.public_only = {kKey}}},
      {"NV_Extend on most TPMs", nv_extend(), 0},
      {"NV_Extend on a chip that it hangs", nv_extend(), 0x143, {.maker = "STM ", .firmware = 0x00490004}},
      {"NV_Extend on another version of it", nv_extend(), 0, {.maker = "STM ", .firmware = 0x00490008}},
      {"NV_Extend on another maker's", nv_extend(), 0, {.maker = "STMX", .firmware = 0x00490004}},
  };
}

bool was_sent(const ScriptedTpm& tpm, const Bytes& bytes) {
  return std::count(tpm.sent.begin(), tpm.sent.end(), bytes) != 0;
}

TEST(KnownCrashes, AreAnsweredInPlaceOfTheTpm) {
  for (const Row& row : rows()) {
    auto inner = std::make_unique<ScriptedTpm>(row.tpm);
    ScriptedTpm& tpm = *inner;
    CrashFilter filter(std::move(inner));
    const wire::Rc expected = row.answer == 0 ? rc::kSuccess : wire::from_manager(row.answer);
    EXPECT_EQ(code_of(filter.transact(row.bytes, 0)), expected) << row.what;
    EXPECT_EQ(was_sent(tpm, row.bytes), row.answer == 0) << row.what;
  }
}

TEST(KnownCrashes, EachRowOfTheTableIsMet) {
  std::set<wire::Rc> answers;
  for (const Row& row : rows()) answers.insert(row.answer);
  for (const KnownCrash& row : known_crashes()) EXPECT_TRUE(answers.contains(row.answer)) << row.name;
}

// By these two codes a client's record tells a refusal from a TPM that did not answer, and from a command that was
// never sent.
TEST(KnownCrashes, NoneIsAnsweredFailureOrCanceled) {
  for (const KnownCrash& row : known_crashes())
    EXPECT_TRUE(row.answer != wire::rc::kFailure && row.answer != wire::rc::kCanceled) << row.name;
}

TEST(KnownCrashes, EachHasItsSectionInTheDocumentation) {
  std::ifstream file(std::string(TPMSPACE_DOCS) + "/known-crashes.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  for (const KnownCrash& row : known_crashes())
    EXPECT_NE(page.find("\n### " + std::string(row.name) + "\n"), std::string::npos) << row.name;
}

TEST(CrashFilter, DoesNotLookAtOtherCommands) {
  auto inner = std::make_unique<ScriptedTpm>(always(rc::kSuccess));
  ScriptedTpm& tpm = *inner;
  CrashFilter filter(std::move(inner));
  EXPECT_EQ(code_of(filter.transact(get_random(), 3)), rc::kSuccess);
  EXPECT_EQ(tpm.sent, std::vector<Bytes>{get_random()});
  EXPECT_EQ(tpm.localities, std::vector<std::uint8_t>{3});
  filter.cancel();
  filter.hang_up();
  EXPECT_EQ(tpm.cancels + tpm.hang_ups, 2);
}

TEST(CrashFilter, AsksATpmForItsFirmwareOnce) {
  auto inner = std::make_unique<ScriptedTpm>(Tpm{});
  ScriptedTpm& tpm = *inner;
  CrashFilter filter(std::move(inner));
  for (int i = 0; i < 3; ++i) (void)filter.transact(nv_extend(), 0);
  EXPECT_EQ(tpm.sent.size(), 4U);
}

// --- on libtpms

// All noDA: libtpms answers the first use of another with RETRY. A key that may sign and decrypt has no scheme of its
// own.
Bytes hmac_key_template() {
  return Writer().u16(kKeyedHash).u16(kSha256).u32(0x00060472).u16(0).u16(kAlgNull).u16(0).take();
}
Bytes ecc_key_template(std::uint32_t attributes = 0x00040472) {
  return Writer()
      .u16(kEcc)
      .u16(kSha256)
      .u32(attributes)
      .u16(0)
      .u16(kAlgNull)
      .u16(kAlgNull)
      .u16(0x0003)
      .u16(kAlgNull)
      .u16(0)
      .u16(0)
      .take();
}
// The generator of P-256, as a public key.
Bytes load_external() {
  const Bytes x = {0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
                   0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96};
  const Bytes y = {0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
                   0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
  const Bytes area = ecc_key_template(0x00040440);
  const ByteView without_point = ByteView(area).first(area.size() - 4);
  const Bytes with_point = Writer().raw(without_point).tpm2b(x).tpm2b(y).take();
  return plain(cc::kLoadExternal, Writer().u16(0).tpm2b(with_point).u32(kNull).bytes());
}
Bytes start_bound_session(std::uint32_t bind) {
  return plain(cc::kStartAuthSession,
               Writer().u32(kNull).u32(bind).tpm2b(Bytes(16)).u16(0).u8(0).u16(kAlgNull).u16(kSha256).bytes());
}

class OnLibtpms : public testing::Test {
 protected:
  OnLibtpms() {
    auto opened = EmbeddedTpm::open("");
    if (!opened) throw std::runtime_error(opened.error());
    embedded_ = opened->get();
    auto counting = std::make_unique<ScriptedTpm>(
        [tpm = std::shared_ptr<EmbeddedTpm>(std::move(*opened))](ByteView bytes) { return tpm->transact(bytes, 0); });
    counting_ = counting.get();
    filter_ = std::make_unique<CrashFilter>(std::move(counting));
    EXPECT_EQ(code_of(filter_->transact(startup(), 0)), rc::kSuccess);
  }
  // How often the TPM was asked for a public area.
  [[nodiscard]] std::size_t questions() const {
    return static_cast<std::size_t>(std::count_if(counting_->sent.begin(), counting_->sent.end(), [](const Bytes& one) {
      return wire::read_header(one)->code == cc::kReadPublic;
    }));
  }
  wire::Rc sign(std::uint32_t key, std::uint16_t algorithm) {
    return code_of(filter_->transact(sign_with(algorithm, key), 0));
  }

  EmbeddedTpm* embedded_ = nullptr;
  ScriptedTpm* counting_ = nullptr;
  std::unique_ptr<CrashFilter> filter_;
};

TEST_F(OnLibtpms, TheTypeOfAKeyThatWasMadeHereIsKnownAndStaysSoWhenItIsSavedAndLoaded) {
  const auto key = handle_in(filter_->transact(create_primary(hmac_key_template()), 0));
  EXPECT_EQ(sign(key, kEcdsa), wire::from_manager(0x2D2));
  EXPECT_EQ(sign(key, kHmac), rc::kSuccess);
  const auto context = body_of(filter_->transact(context_save(key), 0));
  ASSERT_EQ(code_of(filter_->transact(flush(key), 0)), rc::kSuccess);
  const auto ecc = handle_in(filter_->transact(create_primary(ecc_key_template()), 0));
  EXPECT_EQ(ecc, key) << "the handle is used again";
  EXPECT_EQ(sign(ecc, kEcdsa), rc::kSuccess);
  const auto loaded = handle_in(filter_->transact(context_load(context), 0));
  EXPECT_EQ(sign(loaded, kEcdsa), wire::from_manager(0x2D2));
  EXPECT_EQ(questions(), 0U);
}

TEST_F(OnLibtpms, TheTypeOfAKeyThatWasNeverSeenIsAskedForOnce) {
  const auto key = handle_in(embedded_->transact(create_primary(ecc_key_template()), 0));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sign(key, kEcdsa), rc::kSuccess);
  EXPECT_EQ(questions(), 1U);
}

TEST_F(OnLibtpms, APublicKeyIsAuthorizedByNoBoundSession) {
  constexpr std::uint32_t kOwnerHierarchy = 0x40000001;
  const auto key = handle_in(filter_->transact(load_external(), 0));
  const auto bound = handle_in(filter_->transact(start_bound_session(kOwnerHierarchy), 0));
  const auto unbound = handle_in(filter_->transact(start_bound_session(kNull), 0));
  ASSERT_EQ(key, 0x80000000U);
  EXPECT_EQ(code_of(filter_->transact(authorized_by(bound, key), 0)), wire::from_manager(0x12F));
  EXPECT_EQ(code_of(filter_->transact(authorized_by(unbound, key), 0)), 0x12FU) << "the TPM says the same";
  EXPECT_EQ(code_of(filter_->transact(get_random(), 0)), rc::kSuccess) << "it is not in failure mode";
}

TEST_F(OnLibtpms, APublicKeyThatWasNeverSeenIsAuthorizedByNoBoundSessionEither) {
  const auto key = handle_in(embedded_->transact(load_external(), 0));
  const auto bound = handle_in(filter_->transact(start_bound_session(0x40000001), 0));
  EXPECT_EQ(code_of(filter_->transact(authorized_by(bound, key), 0)), wire::from_manager(0x12F));
  EXPECT_EQ(code_of(filter_->transact(get_random(), 0)), rc::kSuccess);
}

TEST_F(OnLibtpms, NoRoomForTheQuestionIsNoAnswerToIt) {
  const auto key = handle_in(embedded_->transact(create_primary(ecc_key_template()), 0));
  const auto bound = handle_in(filter_->transact(start_bound_session(0x40000001), 0));
  for (int i = 0; i < 2; ++i) (void)handle_in(embedded_->transact(start_bound_session(kNull), 0));
  EXPECT_EQ(code_of(filter_->transact(authorized_by(bound, key), 0)), rc::kSessionMemory) << "the manager makes room";
  ASSERT_EQ(code_of(embedded_->transact(flush(0x02000001), 0)), rc::kSuccess);
  EXPECT_NE(code_of(filter_->transact(authorized_by(bound, key), 0)), wire::from_manager(0x12F));
}

// The response is the response of a libtpms without the fault.
TEST_F(OnLibtpms, NoKeySignsWithoutAHandle) {
  const auto key = handle_in(filter_->transact(create_primary(ecc_key_template()), 0));
  const Bytes certify =
      command(cc::kCertifyX509, {key, kNull}, 2, Writer().u16(0).u16(kAlgNull).tpm2b(certificate(3)).bytes());
  EXPECT_EQ(code_of(filter_->transact(certify, 0)), wire::from_manager(0x29C));
  EXPECT_EQ(sign(key, kEcdsa), rc::kSuccess);
}

}  // namespace
}  // namespace tpmspace::tpm
