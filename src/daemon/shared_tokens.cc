#include "daemon/shared_tokens.h"

#include <openssl/evp.h>

namespace tpmspace::daemon {

std::optional<SharedTokens::Digest> SharedTokens::digest_of(const proto::Token& token) {
  Digest out{};
  if (EVP_Digest(token.data(), token.size(), out.data(), nullptr, EVP_sha256(), nullptr) != 1) return std::nullopt;
  return out;
}

bool SharedTokens::share(const proto::Token& token, host::ClientId client) {
  const auto digest = digest_of(token);
  if (!digest || tokens_.contains(client) || !clients_.emplace(*digest, client).second) return false;
  tokens_.emplace(client, *digest);
  return true;
}

std::optional<host::ClientId> SharedTokens::find(const proto::Token& token) const {
  const auto digest = digest_of(token);
  const auto found = digest ? clients_.find(*digest) : clients_.end();
  return found == clients_.end() ? std::nullopt : std::optional(found->second);
}

void SharedTokens::forget(host::ClientId client) {
  const auto found = tokens_.find(client);
  if (found == tokens_.end()) return;
  clients_.erase(found->second);
  tokens_.erase(found);
}

}  // namespace tpmspace::daemon
