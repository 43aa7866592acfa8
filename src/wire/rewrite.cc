#include "wire/rewrite.h"

namespace tpmspace::wire {

Bytes rewritten(const Command& command, const Rewrite& rewrite) {
  const ByteView old = command.bytes();
  Writer body;
  for (std::size_t i = 0; i < command.handle_count(); ++i)
    body.u32(rewrite.handles[i] ? rewrite.handles[i]->value : command.handle(i).value);
  if (command.has_sessions()) {
    Writer area;
    for (std::size_t i = 0; i < command.authorizations().size(); ++i) {
      const Authorization& authorization = command.authorizations()[i];
      area.u32(rewrite.sessions[i] ? rewrite.sessions[i]->value : authorization.handle.value);
      area.tpm2b(old.subspan(authorization.nonce_at, authorization.nonce_size));
      area.u8(authorization.attributes);
      area.tpm2b(rewrite.without_hmac[i] ? ByteView() : old.subspan(authorization.hmac_at, authorization.hmac_size));
    }
    body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
  }
  body.raw(rewrite.parameters ? ByteView(*rewrite.parameters) : command.parameters());
  return Writer()
      .raw(old.first(2))
      .u32(static_cast<std::uint32_t>(kHeaderSize + body.bytes().size()))
      .u32(command.code())
      .raw(body.bytes())
      .take();
}

}  // namespace tpmspace::wire
