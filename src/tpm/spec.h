// The choice of a TPM: the value of `--tpm SPEC`.
//
// Idea: one line of text names a back end and its decorators. The text is parsed once into an unambiguous value, so no
// later code parses text.
// `embedded[:DIR]`: libtpms in this process; state in DIR, or in memory only.
// `swtpm:path=P[,ctrl=P]`: an swtpm on Unix sockets; the control channel is P.ctrl by default.
// `swtpm:host=H,port=N[,ctrl=N]`: an swtpm on TCP; the control channel is port + 1 by default.
// `device:PATH`: a character device such as /dev/tpm0.
// `device:fd=N`: an open descriptor that behaves like a device; tpmspaced takes over and closes the descriptor.
// Each may be followed by `,latency=slb9670` or `,latency=st33ktpm2x`: as slow as that chip. A comma ends a value.
// Threads: values.
// Errors: sentences for the author of the line, with the fault and the correct form.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

namespace tpmspace::tpm {

enum class ChipModel : std::uint8_t { kSlb9670, kSt33ktpm2x };

// The kind decides which other users the chip may have: see bring_up.h.
enum class Kind : std::uint8_t { kEmbedded, kSwtpm, kDevice };

struct EmbeddedSpec {
  std::string directory;  // empty: the state is kept in memory and ends with the process
  bool operator==(const EmbeddedSpec&) const = default;
};
struct SwtpmUnixSpec {
  std::string path;
  std::string control;
  bool operator==(const SwtpmUnixSpec&) const = default;
};
struct SwtpmTcpSpec {
  std::string host;
  std::uint16_t port = 0;
  std::uint16_t control_port = 0;
  bool operator==(const SwtpmTcpSpec&) const = default;
};
struct DeviceSpec {
  std::string path;
  bool operator==(const DeviceSpec&) const = default;
};
struct DescriptorSpec {
  int fd = -1;
  bool operator==(const DescriptorSpec&) const = default;
};

struct Spec {
  std::variant<EmbeddedSpec, SwtpmUnixSpec, SwtpmTcpSpec, DeviceSpec, DescriptorSpec> backend;
  std::optional<ChipModel> latency;

  [[nodiscard]] Kind kind() const;
  bool operator==(const Spec&) const = default;
};

[[nodiscard]] tl::expected<Spec, std::string> parse_spec(std::string_view text);
// The text that parses into `spec`, with all defaults written out. For logs and `status`.
[[nodiscard]] std::string to_text(const Spec& spec);

inline constexpr std::array kChipModels{ChipModel::kSlb9670, ChipModel::kSt33ktpm2x};
[[nodiscard]] std::string_view name_of(ChipModel model);  // "slb9670"
// Every value that may follow a comma, for sentences: "latency=slb9670 or latency=st33ktpm2x".
[[nodiscard]] std::string latency_choices();
[[nodiscard]] std::string_view name_of(Kind kind);  // "embedded"

}  // namespace tpmspace::tpm
