// The bank against a search through every order, and the sessions that may be taken.
#include "space/admission.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace tpmspace::space {
namespace {

struct Claimant {
  std::uint32_t held = 0, claim = 0;
};

// Whether some order exists in which all finish: every order is tried.
bool some_order_finishes(std::vector<Claimant> holders, std::int64_t free) {
  if (free < 0) return false;
  if (holders.empty()) return true;
  for (std::size_t i = 0; i < holders.size(); ++i) {
    const Claimant one = holders[i];
    const std::uint32_t need = one.claim > one.held ? one.claim - one.held : 0;
    if (need > free) continue;
    auto rest = holders;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
    if (some_order_finishes(rest, free + std::min(one.held, one.claim))) return true;
  }
  return false;
}

RC_GTEST_PROP(Bank, AgreesWithASearchThroughEveryOrder, ()) {
  const auto sessions = *rc::gen::inRange<std::uint32_t>(1, 14);
  const auto lost = *rc::gen::inRange<std::uint32_t>(0, 4);
  const auto holders = *rc::gen::resize(6, rc::gen::container<std::vector<Claimant>>(rc::gen::build<Claimant>(
                                               rc::gen::set(&Claimant::held, rc::gen::inRange<std::uint32_t>(1, 6)),
                                               rc::gen::set(&Claimant::claim, rc::gen::inRange<std::uint32_t>(1, 5)))));
  const auto newcomer = *rc::gen::inRange<std::uint32_t>(1, 5);
  Bank bank(sessions);
  bank.add_lost(lost);
  std::int64_t free = std::int64_t{sessions} - lost;
  for (const auto& one : holders) {
    bank.add_holder(one.held, one.claim);
    free -= one.held;
  }
  RC_ASSERT(bank.free() == free);
  RC_ASSERT(bank.is_safe() == some_order_finishes(holders, free));
  // A newcomer, and each of the holders.
  auto with_newcomer = holders;
  with_newcomer.push_back({1, newcomer});
  RC_ASSERT(bank.admits(0, newcomer) == some_order_finishes(with_newcomer, free - 1));
  for (std::size_t i = 0; i < holders.size(); ++i) {
    auto after = holders;
    ++after[i].held;
    RC_ASSERT(bank.admits(holders[i].held, holders[i].claim) == some_order_finishes(after, free - 1));
  }
}

TEST(Bank, AdmitsFiftyNineWithOneEachOfSixtyOne) {
  Bank bank(61);
  std::uint32_t clients = 0;
  while (bank.admits(0, 3)) bank.add_holder(1, 3), ++clients;
  EXPECT_EQ(clients, 59U);
  EXPECT_TRUE(bank.admits(1, 3)) << "each of them may have its second";
  Bank whole(64);  // as docs/sessions.md says
  clients = 0;
  while (whole.admits(0, 3)) whole.add_holder(1, 3), ++clients;
  EXPECT_EQ(clients, 62U);
}

}  // namespace
}  // namespace tpmspace::space
