// The tokens by which a connection may be joined (proto/control.h, Share and Join), and whose they are.
//
// Idea: a token is a client's secret, so that nothing here may tell it: it is looked up by its SHA-256, and how long
// that takes says nothing of the token itself. The connection that shares it has random bytes in it; of one that has
// not, it is the client's own loss. Threads: belongs to the event loop. Limits: one token for each connection; it ends
// with the connection. Errors: without memory for a digest, a token is none.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>

#include "host/tpm_thread.h"
#include "proto/control.h"

namespace tpmspace::daemon {

class SharedTokens {
 public:
  // False: another connection has shared it, or this one has shared another.
  [[nodiscard]] bool share(const proto::Token& token, host::ClientId client);
  [[nodiscard]] std::optional<host::ClientId> find(const proto::Token& token) const;
  // The token of that client, if it has one, is none any more.
  void forget(host::ClientId client);

 private:
  using Digest = std::array<std::uint8_t, 32>;
  [[nodiscard]] static std::optional<Digest> digest_of(const proto::Token& token);

  std::map<Digest, host::ClientId> clients_;
  std::unordered_map<host::ClientId, Digest> tokens_;
};

}  // namespace tpmspace::daemon
