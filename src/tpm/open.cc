#include "tpm/open.h"

#include <fmt/core.h>

#include "tpm/crash_filter.h"
#include "tpm/device.h"
#include "tpm/embedded.h"
#include "tpm/latency.h"
#include "tpm/retry.h"
#include "tpm/swtpm.h"

namespace tpmspace::tpm {
namespace {

using Opened = tl::expected<std::unique_ptr<BackEnd>, std::string>;

template <typename T>
Opened as_back_end(tl::expected<std::unique_ptr<T>, std::string> opened) {
  if (!opened) return tl::unexpected(std::move(opened.error()));
  return std::unique_ptr<BackEnd>(std::move(*opened));
}

struct OpenBackEnd {
  const News& news;
  const std::stop_token& given_up;
  Opened operator()(const EmbeddedSpec& spec) const { return as_back_end(EmbeddedTpm::open(spec.directory, news)); }
  Opened operator()(const SwtpmUnixSpec& spec) const { return as_back_end(SwtpmTpm::open(spec, news, given_up)); }
  Opened operator()(const SwtpmTcpSpec& spec) const { return as_back_end(SwtpmTpm::open(spec, news, given_up)); }
  Opened operator()(const DeviceSpec& spec) const { return as_back_end(DeviceTpm::open(spec.path)); }
  Opened operator()(const DescriptorSpec& spec) const {
    return as_back_end(DeviceTpm::adopt(base::Fd(spec.fd), fmt::format("the TPM on descriptor {}", spec.fd)));
  }
};

}  // namespace

tl::expected<std::unique_ptr<BackEnd>, std::string> open_tpm(const Spec& spec, const News& news,
                                                             const std::stop_token& given_up) {
  auto tpm = std::visit(OpenBackEnd{news, given_up}, spec.backend);
  if (!tpm) return tpm;
  if (spec.latency) tpm = std::make_unique<SlowTpm>(std::move(*tpm), *spec.latency, std::make_unique<SteadyTimer>());
  tpm = std::make_unique<RetryingTpm>(std::move(*tpm), std::make_unique<SteadyTimer>());
  return std::make_unique<CrashFilter>(std::move(*tpm));
}

}  // namespace tpmspace::tpm
