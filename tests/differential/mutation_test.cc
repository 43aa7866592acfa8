// The parser against libtpms, a hundred thousand damaged commands long.
//
// A failure prints the example, the mutation's number and the command: the number makes the same command again from the
// same seed. TPMSPACE_MUTATIONS (how many in all) and TPMSPACE_MUTATION_SEED (where the numbers begin) are for longer
// runs by hand.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "../support/tpm_commands.h"
#include "examples.h"
#include "judge.h"
#include "mutator.h"
#include "wire/command.h"
#include "world.h"

namespace tpmspace::differential {
namespace {

using wire::Rc;
namespace cc = wire::cc;
namespace rc = wire::rc;

constexpr std::uint64_t kMutations = 110'000;
// Sessions and policies wear out with use: the stage is set anew after so many.
constexpr std::uint64_t kRestageAfter = 250;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::string hex(ByteView data) {
  std::string out;
  for (const auto byte : data) out += fmt::format("{:02x}", byte);
  return out;
}

// libtpms 0.9 follows a null pointer when CertifyX509 is to sign without a key: it cannot be asked.
bool fells_libtpms(const tl::expected<wire::Command, Rc>& parsed) {
  constexpr std::uint32_t kNull = 0x40000007;
  return parsed && parsed->code() == cc::kCertifyX509 && parsed->handle(1).value == kNull;
}

struct Tally {
  std::uint64_t mutations = 0, accepted = 0, succeeded = 0, same = 0, earlier = 0, rebuilt_for_lockout = 0,
                failures = 0;
  std::map<Rc, std::uint64_t> same_by_code;
};

// Handles that a swapped handle may become: existing, missing and impossible handles.
std::vector<std::uint32_t> handle_pool(const World& world) {
  std::vector<std::uint32_t> out = {0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x80123456, 0x81000077, 0x02000000,
                                    0x02000001, 0x03000000, 0x03000001, 0x02000002, 0x0300003F, 0x02000040, 0x01800077,
                                    0x40000009, 0x40000002, 0x4000010D, 16,         24,         0x90000000, 0xFFFFFFFF};
  for (const auto who : {Who::kOwner, Who::kEndorsement, Who::kPlatform, Who::kLockout, Who::kNull, Who::kNvPlain,
                         Who::kNvCounter, Who::kNvSpecial})
    out.push_back(world.handle({who}));
  for (const auto who : {Who::kStorage, Who::kSigner, Who::kMac, Who::kRsa, Who::kSealed})
    out.push_back(world.handle({who, true}));
  return out;
}

class Duel {
 public:
  Duel(World& world, Tally& tally) : world_(world), tally_(tally), mutator_(world.table(), handle_pool(world)) {}

  // Mutations first .. first + count - 1 of one example.
  void run(const Example& example, std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (i % kRestageAfter == 0) restage(example);
      const Bytes command = mutator_.mutate(seed_, first + i);
      SCOPED_TRACE(fmt::format("mutation {} of {}: {}", first + i, name_of(example), hex(command)));
      if (!once(command)) restage(example);
      if (testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  void restage(const Example& example) {
    stage(world_, example);
    seed_ = command_of(world_, example);
  }

  // False: the stage must be set again.
  bool once(const Bytes& command) {
    const auto parsed = wire::Command::parse(command, world_.table(), world_.facts().max_command);
    if (parsed) {
      EXPECT_EQ(inconsistency(*parsed, command), "");
    }
    if (fells_libtpms(parsed)) return true;
    const auto answer = wire::read_header(world_.send(command));
    if (!answer) {
      ADD_FAILURE() << "libtpms answered with less than a header";
      return true;
    }
    ++tally_.mutations;
    count(judge({seed_, command, parsed, answer->code}, world_.table()), parsed, answer->code);
    return parsed ? stage_survives(*parsed, answer->code) : true;
  }

  void count(Agreement agreement, const tl::expected<wire::Command, Rc>& parsed, Rc answer) {
    switch (agreement) {
      case Agreement::kSameCode:
        ++tally_.same;
        ++tally_.same_by_code[answer];
        return;
      case Agreement::kEarlier:
        ++tally_.earlier;
        return;
      case Agreement::kAccepted:
        ++tally_.accepted;
        if (answer == 0) ++tally_.succeeded;
        return;
      case Agreement::kDisagreement:
        break;
    }
    ADD_FAILURE() << (parsed ? std::string("the parser accepts") : fmt::format("the parser says {:#x}", parsed.error()))
                  << fmt::format(", libtpms says {:#x}", answer);
    if (++tally_.failures >= 20) FAIL() << "that is enough";
  }

  // Restores the world after commands that the TPM executed.
  bool stage_survives(const wire::Command& command, Rc answer) {
    // lockoutAuth is refused for a while after one wrong try; failure mode ends with the power.
    const bool locked = answer == rc::kLockout || (wire::base_code(answer) == rc::kAuthFail && names_lockout(command));
    if (locked) ++tally_.rebuilt_for_lockout;
    const bool hidden = answer == 0 && changes_what_no_survey_sees(command.code());
    if (locked || hidden || answer == rc::kFailure || (answer == 0 && !world_.house_is_intact())) {
      world_.rebuild();
      return false;
    }
    return answer != 0 || world_.stage_is_intact();
  }
  static bool changes_what_no_survey_sees(wire::CommandCode code) {
    return code == cc::kHierarchyChangeAuth || code == cc::kNVChangeAuth;
  }
  static bool names_lockout(const wire::Command& command) {
    return command.handle_count() > 0 && command.handle(0).value == 0x4000000A;
  }

  World& world_;
  Tally& tally_;
  Mutator mutator_;
  Bytes seed_;
};

// Every code that the parser can give was given by both, at least once.
void expect_all_codes_seen(const Tally& tally) {
  for (const Rc code : {0x01EU, 0x084U, 0x142U, 0x143U, 0x19AU, 0x29AU, 0x39AU, 0x09AU, 0x095U, 0x145U, 0x125U, 0x984U,
                        0x995U, 0x99AU, 0x9A1U, 0xA84U, 0xA95U, 0xA9AU, 0xAA1U, 0xB84U, 0xB95U, 0xB9AU, 0xBA1U, 0xC95U})
    EXPECT_GT(tally.same_by_code.count(code), 0U) << fmt::format("{:#x} was never given by both", code);
}

TEST(Mutations, LibtpmsAndTheParserAgree) {
  const std::uint64_t all = setting("TPMSPACE_MUTATIONS", kMutations);
  const std::uint64_t seed = setting("TPMSPACE_MUTATION_SEED", 0);
  const std::uint64_t each = all / examples().size() + 1;
  World world;
  Tally tally;
  Duel duel(world, tally);
  std::uint64_t number = seed;
  for (const auto& example : examples()) {
    duel.run(example, number, each);
    number += each;
    if (HasFatalFailure()) return;
    // Nothing that was done here counts against the dictionary-attack limit: noDA everywhere.
    const auto counter = world.demand(support::get_capability(6, 0x20E, 1));
    EXPECT_EQ(counter.parameters.back(), 0) << name_of(example);
  }
  EXPECT_GE(tally.mutations, all);
  expect_all_codes_seen(tally);
  // Neither side may win by refusing, or by accepting, everything.
  EXPECT_GT(tally.accepted, tally.mutations / 5);
  EXPECT_GT(tally.succeeded, tally.mutations / 50);
  EXPECT_GT(tally.same, tally.mutations / 5);
  EXPECT_LT(tally.earlier, tally.mutations / 10);
  fmt::print(
      "{} mutations: {} accepted ({} succeeded), {} refused with the same code, {} with an earlier one; "
      "{} TPMs, {} of them after lockout\n",
      tally.mutations, tally.accepted, tally.succeeded, tally.same, tally.earlier, world.rebuilt() + 1,
      tally.rebuilt_for_lockout);
}

}  // namespace
}  // namespace tpmspace::differential
