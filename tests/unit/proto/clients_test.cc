// Clients on the wire: encoded clients decode to the same, and other bytes are rejected.
#include "proto/clients.h"

#include <gtest/gtest.h>

#include "proto/control.h"

namespace tpmspace::proto {
namespace {

ClientEntry client() {
  return {.connection = 17,
          .who = {.uid = 33,
                  .pid = 4711,
                  .executable = "/usr/sbin/nginx",
                  .unit = "nginx.service",
                  .container = "c",
                  .pod = "p",
                  .tpm_namespace = "shop",
                  .listener = "main",
                  .profile = "tls-key",
                  .chip = "main"},
          .age = 1,
          .commands = 2,
          .tpm_time = 3,
          .waiting = 4,
          .waits_for = "TPM2_Sign",
          .objects = 5,
          .sessions = 6,
          .refusal = RefusedCommand{7, "TPM2_Clear", 0x000B0143, "the profile has no such command"}};
}

WhoReport report() {
  return {.connection = 17,
          .who = client().who,
          .connections = 2,
          .administers = true,
          .reasons = {"one", "two"},
          .refusal = client().refusal,
          .outcome = WhoReport::Outcome::kRefused,
          .text = "refused"};
}

TEST(Clients, ComeBackAsTheyWere) {
  ClientEntry plain;
  plain.connection = 1;
  const Clients clients{300, {plain, client()}};
  EXPECT_EQ(decode_clients(encode_clients(clients)), clients);
  EXPECT_EQ(decode_report(encode_report(report())), report());
  EXPECT_EQ(decode_report(encode_report({})), WhoReport{});
  const WhoQuestion question{4711, {"TPM2_Sign", "0x81000001"}};
  EXPECT_EQ(decode_question(encode_question(question)), question);
  EXPECT_EQ(decode_question(encode_question({})), WhoQuestion{});
}

TEST(Clients, CutShortAreNone) {
  const auto clients = encode_clients({1, {client()}}), whole = encode_report(report()),
             question = encode_question({1, {"a"}});
  for (std::size_t n = 0; n < clients.size(); ++n) EXPECT_FALSE(decode_clients(wire::ByteView(clients).first(n))) << n;
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(decode_report(wire::ByteView(whole).first(n))) << n;
  for (std::size_t n = 0; n < question.size(); ++n)
    EXPECT_FALSE(decode_question(wire::ByteView(question).first(n))) << n;
}

TEST(Clients, AreNoMoreThanAPage) {
  Clients many;
  many.clients.resize(kMaxClients + 1);
  EXPECT_EQ(decode_clients(encode_clients(many))->clients.size(), kMaxClients);
  auto more = encode_clients({});
  more[7] = kMaxClients + 1;
  EXPECT_FALSE(decode_clients(more));
  auto words = encode_question({0, {}});
  words[5] = kMaxWords + 1;
  EXPECT_FALSE(decode_question(words));
}

TEST(Clients, OfAPageFitAReply) {
  ClientEntry largest = client();
  for (auto* text : {&largest.who.executable, &largest.who.unit, &largest.who.container, &largest.who.pod,
                     &largest.who.tpm_namespace, &largest.who.listener, &largest.who.profile, &largest.who.chip,
                     &largest.refusal->reason})
    *text = std::string(kMaxText, 'x');
  const Clients page{kMaxClients, std::vector(kMaxClients, largest)};
  EXPECT_LE(encode(Reply(ClientsReply{page})).size(), kMaxReplySize);
  EXPECT_EQ(decode_clients(encode_clients(page)), page);
}

TEST(Clients, ARecordMayBeLongerThanWeKnow) {
  wire::Writer page;
  const auto known = encode_clients({1, {client()}});
  constexpr std::size_t kRecord = 10;  // version, total, count, the record's length
  wire::Writer out;
  out.raw(wire::ByteView(known).first(kRecord - 2));
  wire::Bytes record(known.begin() + kRecord, known.end());
  record.push_back(99);
  out.tpm2b(record);
  const auto got = decode_clients(out.bytes());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->clients, std::vector{client()});
}

}  // namespace
}  // namespace tpmspace::proto
