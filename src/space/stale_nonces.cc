#include "space/stale_nonces.h"

#include "books/session_hmac.h"

namespace tpmspace::space {

using wire::Authorization;
using wire::Bytes;
using wire::ByteView;
using wire::Command;
using wire::Rc;
namespace attribute = wire::session_attribute;
namespace rc = wire::rc;

namespace {

bool has(const Authorization& authorization, std::uint8_t attributes) {
  return (authorization.attributes & attributes) != 0;
}

bool is_stale(const Books& books, SpaceId space, std::uint32_t handle) {
  const Session* session = usable_session(books, space, handle);
  return session != nullptr ? session->stale : parked_session(books, space, handle) != nullptr;
}

}  // namespace

bool numbers_are_covered(const Books& books, SpaceId space, const Command& command) {
  for (const Authorization& authorization : command.authorizations()) {
    if (authorization.is_password()) continue;
    if (has(authorization, attribute::kAudit)) return true;
    if (authorization.hmac_size > 0 && !is_stale(books, space, authorization.handle.value)) return true;
  }
  return false;
}

std::optional<Rc> refusal_by_nonces(const Books& books, SpaceId space, const Command& command) {
  for (unsigned i = 0; i < command.handle_count(); ++i) {
    if (!is_stale(books, space, command.handle(i).value)) continue;
    const Session* session = known_session(books, space, command.handle(i).value);
    if (session != nullptr && session->log.needs_nonce(command)) return rc::kReferenceH0 + i;
  }
  for (unsigned i = 0; i < command.authorizations().size(); ++i) {
    const Authorization& authorization = command.authorizations()[i];
    if (!is_stale(books, space, authorization.handle.value)) continue;
    if (has(authorization, attribute::kDecrypt)) return rc::kReferenceS0 + i;
    // The HMAC of the first session covers the nonce of this one.
    const Authorization& first = command.authorizations()[0];
    const bool is_covered =
        i > 0 && !first.is_password() && first.hmac_size > 0 && !is_stale(books, space, first.handle.value);
    if (is_covered && has(authorization, attribute::kEncrypt)) return rc::kReferenceS0 + i;
  }
  return std::nullopt;
}

// The Names that the client hashed: a session's Name is the handle that the client knows.
tl::expected<std::vector<Bytes>, Rc> StaleNonces::names_of(SpaceId space, const Command& command) {
  std::vector<Bytes> out;
  for (std::size_t i = 0; i < command.handle_count(); ++i) {
    const wire::ClientHandle handle = command.handle(i);
    std::uint32_t at_tpm = handle.value;
    switch (wire::kind_of(handle.value)) {
      case wire::HandleKind::kTransient:
        if (const Slot* slot = slot_of(books_, space, handle)) at_tpm = slot->tpm.value;
        break;
      case wire::HandleKind::kPersistent:
        if (const auto persistent = persistent_at_tpm(space_of(books_, space).limits.view.get(), handle))
          at_tpm = persistent->value;
        break;
      case wire::HandleKind::kNvIndex:
        break;
      default:
        out.push_back(wire::Writer().u32(handle.value).take());
        continue;
    }
    auto name = port_.name_of(at_tpm);
    if (!name) return tl::unexpected(name.error());
    out.push_back(std::move(*name));
  }
  return out;
}

// Part 1, 17.6.5: nonceTPM; in the first HMAC also the nonces of the decrypting and the encrypting session, if
// different.
std::vector<ByteView> StaleNonces::nonces_for(SpaceId space, const Command& command, std::size_t index) const {
  const auto& authorizations = command.authorizations();
  const auto nonce_of = [&](std::size_t i) -> ByteView {
    const Session* session = usable_session(books_, space, authorizations[i].handle.value);
    return session == nullptr ? ByteView() : ByteView(session->nonce);
  };
  std::vector<ByteView> out{nonce_of(index)};
  if (index != 0) return out;
  std::optional<std::size_t> decrypts, encrypts;
  for (std::size_t i = 1; i < authorizations.size(); ++i) {
    if (has(authorizations[i], attribute::kDecrypt)) decrypts = i;
    if (has(authorizations[i], attribute::kEncrypt)) encrypts = i;
  }
  if (decrypts) out.push_back(nonce_of(*decrypts));
  if (encrypts && encrypts != decrypts) out.push_back(nonce_of(*encrypts));
  return out;
}

tl::expected<StaleNonces::Hmacs, Rc> StaleNonces::check(SpaceId space, const Command& command, bool parameters_change) {
  Hmacs out{};
  std::optional<std::vector<Bytes>> names;
  for (std::size_t i = 0; i < command.authorizations().size(); ++i) {
    const Authorization& authorization = command.authorizations()[i];
    if (authorization.is_password() || authorization.hmac_size == 0) continue;
    const Session* session = usable_session(books_, space, authorization.handle.value);
    if (session == nullptr || session->log.password) continue;
    if (!session->stale && !parameters_change) continue;
    // For other sessions, the HMAC decides: a client that uses an empty key has neither a secret nor an authorization
    // to prove.
    const bool without_secret = session->stale || session->can_be_made_again();
    if (!without_secret && session->nonce.empty()) return tl::unexpected(rc::kAuthContext);
    if (!names) {
      auto asked = names_of(space, command);
      if (!asked) {
        // Either no answer is possible, or the TPM will refuse such a handle also in the command, whatever the HMAC.
        if (Residency::is_for_another_try(asked.error()) || port_.cost().tpm_lost || port_.cost().distrusted)
          return tl::unexpected(asked.error());
        out[i] = true;
        continue;
      }
      names = std::move(*asked);
    }
    const Bytes right = hmac_of_command(session->log.hash, command, *names, i, nonces_for(space, command, i));
    const ByteView sent = command.bytes().subspan(authorization.hmac_at, authorization.hmac_size);
    if (!wire::same_bytes(right, sent))
      return tl::unexpected(without_secret ? rc::in_session(rc::kBadAuth, static_cast<unsigned>(i) + 1)
                                           : rc::kAuthContext);
    out[i] = true;
  }
  return out;
}

void StaleNonces::answer(SpaceId space, const Command& command, const Hmacs& taken_off,
                         wire::Response& response) const {
  for (std::size_t i = 0; i < response.authorizations().size() && i < taken_off.size(); ++i) {
    if (!taken_off[i]) continue;
    const Session* session = usable_session(books_, space, command.authorizations()[i].handle.value);
    if (session != nullptr) response.set_hmac(i, hmac_of_response(session->log.hash, command, response, i));
  }
}

}  // namespace tpmspace::space
