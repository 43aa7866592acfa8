// The configuration string of the TCTI: the text after "space:" in a program's TCTI setting.
//
// ""  or none: the default socket (client/socket_path.h), locality 0.
// "/run/x/tpm.sock": a path alone: the whole string, commas included.
// "path=…,locality=N,chip=NAME": in any order, each at most once. N is decimal, 0..255. NAME is one of the manager's
// TPMs, for administrators; other users get the TPM of their listener or namespace.
// "fd=N": a connected descriptor (`tpmspace open`) instead of a path. The descriptor stays open after the context ends,
// so the next context can use it. Several processes with the descriptor take turns.
//
// A program that is set up for tpm2-abrmd says "tabrmd:bus_type=session,bus_name=…". If the library was loaded under
// that name (library_name.h), the library accepts these two keys and ignores them; under any other name they are
// unknown.
// Threads: `parse_config` reads the environment for the default path.
// Errors: any other text, in particular an unknown key, is an error; the sentence names the part.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace tpmspace::tcti {

struct Config {
  std::string path;  // empty with `fd`
  std::optional<int> fd;
  std::optional<std::uint8_t> locality;  // nullopt: the manager's default
  std::string chip;                      // empty: the manager's default
};

enum class KnownKeys : std::uint8_t { kOurs, kOursAndAbrmds };
[[nodiscard]] tl::expected<Config, std::string> parse_config(std::string_view text, KnownKeys keys = KnownKeys::kOurs);

}  // namespace tpmspace::tcti
