// wire::Command::parse is total for any bytes and any chip's list of commands; an accepted command lies in the message
// without gaps and re-serialises to the message.
//
// Input: how many TPMA_CC words follow, those words (a chip's own list, adopted), the message.

#include "wire/command.h"

#include "../differential/judge.h"
#include "fuzz.h"
#include "wire/command_table.h"

namespace tpmspace::fuzz {
namespace {

void check_rows(const wire::CommandTable& table) {
  const wire::CommandRow* last = nullptr;
  for (const auto& row : table.rows()) {
    require(last == nullptr || last->code < row.code, "rows ascend");
    require(row.handles <= wire::kMaxHandles && row.auth_handles <= row.handles, "handles are as many as there can be");
    require(row.flushes_handle < static_cast<int>(row.handles), "what is flushed is a handle");
    require(table.find(row.code) == &row, "a row is found by its code");
    last = &row;
  }
}

void check_message(ByteView message, const wire::CommandTable& table) {
  constexpr std::size_t kMaxSize = 4096;
  const auto parsed = wire::Command::parse(wire::to_bytes(message), table, kMaxSize);
  if (!parsed) {
    require(parsed.error() != 0 && wire::layer_of(parsed.error()) == 0, "a refusal is a TPM's code");
    return;
  }
  const std::string wrong = differential::inconsistency(*parsed, message);
  require(wrong.empty(), wrong);
  require(message.size() <= kMaxSize, "no more than the chip's buffer");
  require(parsed->authorizations().size() >= parsed->row().auth_handles, "no authorization is missing");
  const wire::Command copy = *parsed;
  require(copy.first_parameter_encrypted() == parsed->first_parameter_encrypted(), "a copy says the same");
  require(differential::inconsistency(copy, message).empty(), "a copy stands alone");
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  fuzz::Input input({data, size});
  wire::CommandTable table = wire::CommandTable::builtin();
  if (const auto words = input.u8(); words != 0) {
    std::vector<wire::CommandAttributes> chip;
    for (unsigned i = 0; i < words && !input.empty(); ++i) chip.push_back(wire::CommandAttributes{input.u32()});
    (void)table.adopt(chip);
    fuzz::check_rows(table);
  }
  fuzz::check_message(input.rest(), table);
  return 0;
}
