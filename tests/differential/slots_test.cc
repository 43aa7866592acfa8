// How many free object slots a command needs, by experiment: `scratch_slots` of the table is the part that persistent
// handles and the returned object do not explain (TPM 2.0 library, Part 1, 30.3: a TPM may need room while it works).

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "examples.h"
#include "wire/rc.h"
#include "world.h"

namespace tpmspace::differential {
namespace {

unsigned on_stage(const Example& example) {
  auto cast = example.handles;
  cast.insert(cast.end(), example.also.begin(), example.also.end());
  std::vector<Party> distinct;
  for (const auto party : cast)
    if (takes_a_slot(party) && std::find(distinct.begin(), distinct.end(), party) == distinct.end())
      distinct.push_back(party);
  return static_cast<unsigned>(distinct.size());
}

// As space::Manager counts them.
unsigned slots_by_the_table(const Example& example) {
  using wire::Creates;
  const auto& row = *wire::CommandTable::builtin().find(example.code);
  unsigned out = row.scratch_slots;
  if (row.creates != Creates::kNothing && row.creates != Creates::kSession) ++out;
  for (const auto party : example.handles) out += party.persistent ? 1U : 0U;
  return out;
}

wire::Rc answer_with_free_slots(World& world, const Example& example, unsigned free) {
  stage(world, example, world.slots() - on_stage(example) - free);
  const auto code = world.ask(command_of(world, example)).code;
  if (code == 0 && changes_for_good(example.code)) world.rebuild();
  return code;
}

TEST(Slots, AreAsManyAsTheTableSays) {
  World world;
  for (const auto& example : examples()) {
    if (example.answer != 0) continue;
    const unsigned needed = slots_by_the_table(example);
    for (unsigned free = 0; free + on_stage(example) <= world.slots(); ++free) {
      const wire::Rc expected = free < needed ? wire::rc::kObjectMemory : 0;
      EXPECT_EQ(answer_with_free_slots(world, example, free), expected)
          << name_of(example) << " with " << free << " free slots";
    }
  }
}

}  // namespace
}  // namespace tpmspace::differential
