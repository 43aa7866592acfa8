// A connection to a socket, for who must not wait for ever and may be told to stop waiting.
//
// Idea: a listener that is alive but does not accept must not hold us, so there is a limit; and who opens a TPM may be
// told meanwhile that nobody wants it any more (`given_up`), so no system call waits but a poll that this wakes. A full
// Unix socket cannot be polled for, so it is tried again and again. A host's name is looked up by a thread of its own,
// since nothing can interrupt a name service; it is left behind if it still asks (`any_lookup_left_behind`).
// Threads: any. Limits: kConnectLimit for each address; a lookup takes as long as the system lets it.
// Errors: why there is no connection, to stand behind a colon.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <tl/expected.hpp>

#include "base/fd.h"

namespace tpmspace::tpm {

inline constexpr std::chrono::seconds kConnectLimit{10};

// The descriptors do not block.
[[nodiscard]] tl::expected<base::Fd, std::string> connect_unix(const std::string& path,
                                                               const std::stop_token& given_up);
// Its small packets are sent at once (TCP_NODELAY).
[[nodiscard]] tl::expected<base::Fd, std::string> connect_tcp(const std::string& host, std::uint16_t port,
                                                              const std::stop_token& given_up);

// Whether some name is still looked up for nobody: then the process must end without its static objects, which the
// name service may be using.
[[nodiscard]] bool any_lookup_left_behind();

}  // namespace tpmspace::tpm
