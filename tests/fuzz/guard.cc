// guard::judge is total for any bytes and any chip's list of commands; admin allows everything; a narrowed profile
// allows exactly the intersection; a profile learned from a command allows the command.
//
// Input: how many TPMA_CC words follow, those words (a chip's own list, adopted), the locality, which two of the
// shipped profiles, the message.

#include "fuzz.h"
#include "guard/learned.h"
#include "guard/shipped.h"
#include "guard/verdict.h"
#include "wire/command.h"
#include "wire/command_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  fuzz::Input input({data, size});
  wire::CommandTable table = wire::CommandTable::builtin();
  if (const auto words = input.u8(); words != 0) {
    std::vector<wire::CommandAttributes> chip;
    for (unsigned i = 0; i < words && !input.empty(); ++i) chip.push_back(wire::CommandAttributes{input.u32()});
    (void)table.adopt(chip);
  }
  const std::uint8_t locality = input.u8();
  const auto profiles = guard::shipped_profiles();
  const guard::Profile& a = *profiles[input.u8() % profiles.size()];
  const guard::Profile& b = *profiles[input.u8() % profiles.size()];

  const auto command = wire::Command::parse(wire::to_bytes(input.rest()), table, 4096);
  if (!command) return 0;
  const auto by_a = guard::judge(a, *command, locality), by_b = guard::judge(b, *command, locality);
  const auto by_both = guard::judge(guard::narrow(a, b), *command, locality);
  fuzz::require(by_a.allowed() == (by_a.rc == wire::rc::kSuccess), "a refusal has a code, and nothing else has");
  fuzz::require(wire::layer_of(by_a.rc) == 0, "the code has no layer");
  fuzz::require(by_both.allowed() == (by_a.allowed() && by_b.allowed()), "narrowed allows what both allow");
  fuzz::require(guard::judge(guard::admin(), *command, locality).allowed(), "admin is stopped by nothing");
  const guard::Profile learned = guard::learn({}, *command, locality);
  fuzz::require(guard::judge(learned, *command, locality).allowed(), "what was learned is allowed");
  fuzz::require(guard::learn(learned, *command, locality) == learned, "and teaches nothing more");
  return 0;
}
