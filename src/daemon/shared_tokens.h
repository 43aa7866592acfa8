// The tokens by which a connection may be joined (proto/control.h, Share and Join), and the clients that shared them.
//
// Idea: a token is a client's secret, so lookups must not reveal its bytes: tokens are looked up by their SHA-256, and
// the time of a lookup tells nothing about the token itself. The sharing client must choose random bytes; if they are
// not random, the loss is the client's own.
// Threads: belongs to the event loop. Limits: one token for each connection; the token ends with the connection.
// Errors: without memory for a digest, sharing and lookup fail.
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
  // False: another connection has shared the token, or this connection has shared another token.
  [[nodiscard]] bool share(const proto::Token& token, host::ClientId client);
  [[nodiscard]] std::optional<host::ClientId> find(const proto::Token& token) const;
  // Removes the client's token, if any.
  void forget(host::ClientId client);

 private:
  using Digest = std::array<std::uint8_t, 32>;
  [[nodiscard]] static std::optional<Digest> digest_of(const proto::Token& token);

  std::map<Digest, host::ClientId> clients_;
  std::unordered_map<host::ClientId, Digest> tokens_;
};

}  // namespace tpmspace::daemon
