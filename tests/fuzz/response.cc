// wire::Response::parse is total for every row, with and without sessions; an accepted response lies in the message.

#include "wire/response.h"

#include "fuzz.h"
#include "wire/command_table.h"

namespace tpmspace::fuzz {
namespace {

void check(ByteView message, const wire::CommandRow& row, bool with_sessions) {
  auto response = wire::Response::parse(wire::to_bytes(message), row, with_sessions);
  if (!response) return;
  require(wire::same_bytes(response->bytes(), message), "the bytes are kept");
  const auto parameters = response->parameters();
  const auto whole = response->bytes();
  require(parameters.empty() || (parameters.data() >= whole.data() &&
                                 parameters.data() + parameters.size() <= whole.data() + whole.size()),
          "parameters lie in the message");
  require(response->authorizations().size() <= wire::kMaxAuthorizations, "no more authorizations than there can be");
  require(with_sessions || response->authorizations().empty(), "authorizations only with sessions");
  require(response->handle().has_value() == (response->ok() && row.has_response_handle()),
          "a handle where there is one");
  if (!response->handle()) return;
  const Bytes before = wire::to_bytes(parameters);
  response->replace_handle(wire::ClientHandle{0x80ABCDEF});
  require(response->handle()->value == 0x80ABCDEF, "the handle is the new one");
  require(wire::same_bytes(response->parameters(), before), "nothing else changed");
  require(wire::Response::parse(std::move(*response).take(), row, with_sessions).has_value(), "it is still a response");
}

}  // namespace
}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  for (const auto& row : wire::CommandTable::builtin().rows())
    for (const bool with_sessions : {false, true}) fuzz::check({data, size}, row, with_sessions);
  return 0;
}
