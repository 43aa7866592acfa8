#include "bench/link.h"

#include <fmt/format.h>
#include <tss2/tss2_tctildr.h>

#include <array>
#include <stdexcept>
#include <utility>

#include "demo/kit/esys.h"
#include "wire/command.h"

namespace tpmspace::bench {
namespace {

constexpr std::int32_t kTimeoutMs = 60'000;

// The TSS's own macros for this are casts in C's manner.
const TSS2_TCTI_CONTEXT_COMMON_V1* functions_of(TSS2_TCTI_CONTEXT* tcti) {
  return reinterpret_cast<const TSS2_TCTI_CONTEXT_COMMON_V1*>(tcti);
}

}  // namespace

std::optional<Link> Link::try_open(const std::string& tcti) {
  Link link;
  if (Tss2_TctiLdr_Initialize(tcti.c_str(), &link.tcti_) != TSS2_RC_SUCCESS) return std::nullopt;
  return link;
}

Link::Link(const std::string& tcti) {
  if (const auto code = Tss2_TctiLdr_Initialize(tcti.c_str(), &tcti_); code != TSS2_RC_SUCCESS)
    throw std::runtime_error(fmt::format("cannot connect to {}: {}", tcti, demo::in_words(code)));
}

Link::Link(Link&& other) noexcept : tcti_(std::exchange(other.tcti_, nullptr)) {}

Link::~Link() {
  Tss2_TctiLdr_Finalize(&tcti_);
}

wire::Bytes Link::run(wire::ByteView command) {
  std::array<std::uint8_t, 4096> buffer{};
  std::size_t size = buffer.size();
  auto code = functions_of(tcti_)->transmit(tcti_, command.size(), command.data());
  if (code == TSS2_RC_SUCCESS) code = functions_of(tcti_)->receive(tcti_, &size, buffer.data(), kTimeoutMs);
  if (code == TSS2_RC_SUCCESS) code = wire::read_header(wire::ByteView(buffer).first(size))->code;
  if (code != TSS2_RC_SUCCESS) {
    const auto header = wire::read_header(command);
    throw std::runtime_error(fmt::format("command 0x{:x} failed: {}", header ? header->code : 0, demo::in_words(code)));
  }
  return {buffer.data(), buffer.data() + size};
}

std::uint32_t Link::run_for_handle(wire::ByteView command) {
  const wire::Bytes response = run(command);
  return wire::Reader(wire::ByteView(response).subspan(wire::kHeaderSize)).u32().value_or(0);
}

wire::Bytes Link::run_for_parameters(wire::ByteView command) {
  const wire::Bytes response = run(command);
  const bool sessions = wire::read_header(command)->tag == wire::kTagSessions;
  return wire::to_bytes(wire::ByteView(response).subspan(wire::kHeaderSize + (sessions ? 4 : 0)));
}

}  // namespace tpmspace::bench
