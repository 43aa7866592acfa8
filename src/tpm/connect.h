// A connection to a socket with a time limit and a way to stop waiting.
//
// Idea: a listener that never accepts must not block the caller, so the wait is limited. A caller that no longer needs
// the TPM may stop the wait (`given_up`), so the only blocking system call is a poll that `given_up` wakes. A full Unix
// socket cannot be polled for, so connect is repeated. A thread of its own looks up a host's name, since a name service
// cannot be interrupted; a thread that still waits is left behind (`any_lookup_left_behind`).
// Threads: any. Limits: kConnectLimit for each address; a lookup takes as long as the system permits.
// Errors: the reason for the missing connection, to stand after a colon.
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
// Small packets are sent at once (TCP_NODELAY).
[[nodiscard]] tl::expected<base::Fd, std::string> connect_tcp(const std::string& host, std::uint16_t port,
                                                              const std::stop_token& given_up);

// Whether a lookup that was left behind is still running: then the process must end without destroying its static
// objects, which the name service may use.
[[nodiscard]] bool any_lookup_left_behind();

}  // namespace tpmspace::tpm
