// The configuration string of the TCTI: what follows "space:" in a program's TCTI setting.
//
//   ""  or none             the default socket (client/socket_path.h), locality 0
//   "/run/x/tpm.sock"       a lone path: the whole string, commas and all
//   "path=…,locality=N,chip=NAME"
//                           in any order, each at most once; N is decimal, 0..255; NAME is one of the TPMs that the
//                           manager has, for administrators: others get the one that their listener or namespace has
//   "fd=N"                  a descriptor that is connected already (`tpmspace open`), instead of a path. It stays open
//                           when the context is gone, so the next one can use it. Several processes that have it take
//                           turns
// A program that is set up for tpm2-abrmd says "tabrmd:bus_type=session,bus_name=…". If the library is loaded under
// that name (library_name.h), it takes those two keys as well, and they mean nothing; under any other name they are
// unknown. Threads: `parse_config` reads the environment for the default path. Errors: whatever else it says, an
// unknown key above all, is an error; the sentence says which part.
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
  std::string chip;                      // empty: likewise
};

enum class KnownKeys : std::uint8_t { kOurs, kOursAndAbrmds };
[[nodiscard]] tl::expected<Config, std::string> parse_config(std::string_view text, KnownKeys keys = KnownKeys::kOurs);

}  // namespace tpmspace::tcti
