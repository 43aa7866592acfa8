#include "wire/command.h"

#include <gtest/gtest.h>

#include "wire/response.h"

namespace tpmspace::wire {
namespace {

Bytes hex(std::string_view text) {
  Bytes out;
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<std::uint8_t>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

// The parser's code for `text`: 0 for a command.
Rc verdict(std::string_view text) {
  const auto command = Command::parse(hex(text), CommandTable::builtin(), 4096);
  return command ? rc::kSuccess : command.error();
}

struct Row {
  const char* what;
  const char* bytes;
  Rc rc;
};

// docs/tpm-behaviour.md, "Error responses of libtpms".
const Row kRows[] = {
    {"GetRandom", "8001 0000000c 0000017b 0008", 0},
    {"trailing bytes are the TPM's to refuse", "8001 0000000d 0000017b 0008 00", 0},
    {"nothing at all", "", 0x09A},
    {"half a tag", "80", 0x09A},
    {"half a size", "8001 0000", 0x09A},
    {"nine bytes that say so", "8001 00000009 000001", 0x09A},
    {"nine bytes that say ten", "8001 0000000a 000001", 0x142},
    {"nine bytes with a bad tag", "8003 00000009 000001", 0x084},
    {"bad tag", "8003 0000000c 0000017b 0008", 0x084},
    {"bad tag of TPM 1.2", "00c1 0000000c 0000017b 0008", 0x084},
    {"tag of a TPM 1.2 response", "00c4 0000000c 0000017b 0008", 0x01E},
    {"tag of a null structure", "8000 0000000c 0000017b 0008", 0x01E},
    {"tag before the first attestation's", "8013 0000000c 0000017b 0008", 0x084},
    {"tag of an attestation", "8014 0000000c 0000017b 0008", 0x01E},
    {"tag of the last attestation", "801a 0000000c 0000017b 0008", 0x01E},
    {"tag of a ticket", "8025 0000000c 0000017b 0008", 0x01E},
    {"tag after the last ticket's", "8026 0000000c 0000017b 0008", 0x084},
    {"size larger than the data", "8001 0000000d 0000017b 0008", 0x142},
    {"size smaller than the data", "8001 0000000b 0000017b 0008", 0x142},
    {"unknown command code", "8001 0000000a 00000000", 0x143},
    {"vendor command code", "8001 0000000a 20000001", 0x143},
    {"no handle", "8001 0000000a 00000173", 0x19A},
    {"half a handle", "8001 0000000c 00000173 8000", 0x19A},
    {"second handle missing", "8001 0000000e 00000176 40000007", 0x29A},
    {"missing authorization", "8001 0000000e 0000015e 80000000", 0x125},
    {"authorization size missing", "8002 0000000e 0000015e 80000000", 0x09A},
    {"authorization size cut", "8002 00000010 0000015e 80000000 0000", 0x09A},
    {"authorization size 0", "8002 00000012 0000015e 80000000 00000000", 0x095},
    {"authorization size 8", "8002 0000001a 0000015e 80000000 00000008 40000009 00000000", 0x095},
    {"authorization size beyond the end", "8002 0000001b 0000015e 80000000 0000000a 40000009 0000 00 0000", 0x095},
    {"password", "8002 0000001b 0000015e 80000000 00000009 40000009 0000 00 0000", 0},
    {"nonce cut", "8002 0000001b 0000015e 80000000 00000009 40000009 0004 00 0000", 0x99A},
    {"nonce longer than any digest", "8002 0000001b 0000015e 80000000 00000009 40000009 0041 00 0000", 0x995},
    {"reserved attribute bits", "8002 0000001b 0000015e 80000000 00000009 40000009 0000 10 0000", 0x9A1},
    {"an object as a session", "8002 0000001b 0000015e 80000000 00000009 80000000 0000 00 0000", 0x984},
    {"a hierarchy as a session", "8002 0000001b 0000015e 80000000 00000009 40000001 0000 00 0000", 0x984},
    {"second one is bad", "8002 00000024 0000015e 80000000 00000012 40000009 0000 00 0000 40000001 0000 00 0000",
     0xA84},
    {"four of them",
     "8002 00000036 0000015e 80000000 00000024 40000009 0000 00 0000 40000009 0000 00 0000 40000009 0000 00 0000 "
     "40000009 0000 00 0000",
     0xC95},
    {"one for two handles", "8002 0000001f 00000148 80000000 80000001 00000009 40000009 0000 00 0000", 0x125},
    // Sign and GetRandom; session 02000000 decrypts.
    {"encrypted parameter", "8002 0000001f 0000015d 80000000 00000009 02000000 0000 21 0000 0002 aabb", 0},
    {"encrypted parameter of no bytes", "8002 0000001d 0000015d 80000000 00000009 02000000 0000 21 0000 0000", 0},
    {"nothing where a parameter is encrypted", "8002 0000001b 0000015d 80000000 00000009 02000000 0000 21 0000", 0x99A},
    {"half a size of an encrypted parameter", "8002 0000001c 0000015d 80000000 00000009 02000000 0000 21 0000 00",
     0x99A},
    {"encrypted parameter one byte too long",
     "8002 0000001f 0000015d 80000000 00000009 02000000 0000 21 0000 0003 aabb", 0x995},
    {"encrypted parameter much too long", "8002 0000001f 0000015d 80000000 00000009 02000000 0000 21 0000 ffff aabb",
     0x995},
    {"the second session decrypts",
     "8002 00000025 0000015d 80000000 00000012 40000009 0000 00 0000 02000000 0000 21 0000 00", 0xA9A},
    {"a password encrypts nothing: the TPM refuses it",
     "8002 0000001b 0000015d 80000000 00000009 40000009 0000 21 0000", 0},
    {"the parameter cannot be encrypted: the TPM refuses it",
     "8002 00000019 0000017b 00000009 02000000 0000 21 0000 0020", 0},
    {"sessions on FlushContext", "8002 00000017 00000165 00000009 40000009 0000 00 0000", 0x145},
    {"sessions on ContextSave", "8002 0000001b 00000162 80000000 00000009 40000009 0000 00 0000", 0x145},
};

TEST(CommandParse, AnswersAsLibtpmsDoes) {
  for (const auto& row : kRows) EXPECT_EQ(verdict(row.bytes), row.rc) << row.what;
}

TEST(CommandParse, RefusesMoreThanTheChipsBuffer) {
  Bytes big = Writer().u16(kTagNoSessions).u32(4097).u32(cc::kHash).raw(Bytes(4087)).take();
  EXPECT_EQ(Command::parse(big, CommandTable::builtin(), 4096).error(), rc::kCommandSize);
  EXPECT_TRUE(Command::parse(big, CommandTable::builtin(), 4097).has_value());
}

TEST(CommandParse, FindsHandlesAuthorizationsAndParameters) {
  const auto command = Command::parse(
      hex("8002 0000002d 0000015d 80000002 00000018 02000003 0004 01020304 21 0002 aabb 40000009 0000 01 0000 0001ee"),
      CommandTable::builtin(), 4096);
  ASSERT_TRUE(command.has_value()) << command.error();
  EXPECT_EQ(command->handle_count(), 1U);
  EXPECT_EQ(command->handle(0).value, 0x80000002U);
  ASSERT_EQ(command->authorizations().size(), 2U);
  const auto& first = command->authorizations()[0];
  EXPECT_EQ(first.handle.value, 0x02000003U);
  EXPECT_EQ(first.nonce_size, 4U);
  EXPECT_EQ(command->bytes()[first.nonce_at], 0x01);
  EXPECT_EQ(command->bytes()[first.hmac_at], 0xAA);
  EXPECT_TRUE(first.continues());
  EXPECT_FALSE(first.is_password());
  EXPECT_TRUE(command->authorizations()[1].is_password());
  EXPECT_TRUE(command->first_parameter_encrypted());
  EXPECT_FALSE(command->first_response_parameter_encrypted());
  EXPECT_TRUE(same_bytes(command->parameters(), hex("0001ee")));
}

TEST(CommandParse, ACopyStandsAlone) {
  auto parsed = Command::parse(hex("8001 0000000c 0000017b 0008"), CommandTable::builtin(), 4096);
  ASSERT_TRUE(parsed.has_value());
  const Command copy = *parsed;
  parsed = tl::unexpected(rc::kFailure);
  EXPECT_TRUE(same_bytes(copy.parameters(), hex("0008")));
}

const CommandRow& row_of(CommandCode code) {
  return *CommandTable::builtin().find(code);
}

TEST(ResponseParse, BelievesOnlyWellFormedAnswers) {
  const auto parse = [](std::string_view text, CommandCode code, bool sessions) {
    return Response::parse(hex(text), row_of(code), sessions);
  };
  EXPECT_TRUE(parse("8001 0000000a 00000101", cc::kSign, true));
  EXPECT_FALSE(parse("8001 0000000b 00000101 00", cc::kSign, true)) << "a refusal is a bare header";
  EXPECT_FALSE(parse("8001 0000000a 000001", cc::kSign, true)) << "short";
  EXPECT_FALSE(parse("8001 0000000c 00000000", cc::kSign, false)) << "size beyond the data";
  EXPECT_FALSE(parse("8001 0000000a 00000000", cc::kLoad, false)) << "no handle where there must be one";
  EXPECT_FALSE(parse("8001 0000000e 00000000 80000000", cc::kLoad, true)) << "tag does not go with the command's";
  EXPECT_FALSE(parse("8002 00000012 00000000 80000000 00000004", cc::kLoad, true)) << "parameters cut";
  EXPECT_FALSE(parse("8002 0000000f 00000000 00000000 00", cc::kSign, true)) << "authorization cut";
}

TEST(ResponseParse, FindsHandleParametersAndSessionAttributes) {
  auto response =
      Response::parse(hex("8002 00000019 00000000 80000001 00000002 aabb 0000 01 0000"), row_of(cc::kLoad), true);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->handle()->value, 0x80000001U);
  EXPECT_TRUE(same_bytes(response->parameters(), hex("aabb")));
  ASSERT_EQ(response->authorizations().size(), 1U);
  EXPECT_EQ(response->authorizations()[0].attributes, 0x01);
  response->replace_handle(ClientHandle{0x80000007});
  EXPECT_EQ(response->handle()->value, 0x80000007U);
}

TEST(Reader, StaysWhereItIsWhenThereIsTooLittle) {
  const Bytes data = hex("0004 0102");
  Reader in(data);
  EXPECT_FALSE(in.tpm2b());
  EXPECT_EQ(in.offset(), 0U);
  EXPECT_FALSE(in.take(5));
  EXPECT_EQ(in.u32(), 0x00040102U);
  EXPECT_FALSE(in.u8());
}

TEST(ResponseCode, NamesItsSpeaker) {
  EXPECT_EQ(describe(from_manager(rc::kCommandCode)), "0x000b0143 (resource manager: command code not supported)");
  EXPECT_EQ(describe(0x98E), "0x0000098e (TPM: the authorization failed (counts towards lockout))");
  EXPECT_EQ(rc::in_parameter(rc::kHandle, 1), 0x1CBU);
  EXPECT_EQ(rc::in_session(rc::kValue, 1), 0x984U);
  EXPECT_EQ(rc::in_session(rc::kSize, 4), 0xC95U);
  EXPECT_EQ(base_code(0x98E), rc::kAuthFail);
  EXPECT_EQ(base_code(0x1DF), rc::kIntegrity);
  EXPECT_EQ(base_code(0x910), 0x910U);
}

}  // namespace
}  // namespace tpmspace::wire
