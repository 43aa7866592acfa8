#include "tool/capabilities.h"

#include "tool/time_limits.h"
#include "wire/command.h"
#include "wire/command_table.h"

namespace tpmspace::tool {
namespace {

constexpr std::uint32_t kCapHandles = 1;
constexpr std::uint32_t kCapTpmProperties = 6;
constexpr std::uint32_t kAsked = 64;  // entries per page; a TPM gives as many as fit

wire::Bytes get_capability(std::uint32_t capability, std::uint32_t from) {
  wire::Writer out;
  out.u16(wire::kTagNoSessions).u32(22).u32(wire::cc::kGetCapability).u32(capability).u32(from).u32(kAsked);
  return out.take();
}

// Requests page after page; `take(reader)` reads one entry and returns the start value of the next request.
template <typename Take>
bool read_list(client::Connection& connection, std::uint32_t capability, std::uint32_t from, Take&& take) {
  for (int page = 0; page < kMaxPages; ++page) {
    if (!connection.send(get_capability(capability, from))) return false;
    const auto answer = connection.receive(kCommandMs);
    if (!answer || !*answer) return false;
    const auto header = wire::read_header(**answer);
    if (!header || header->code != wire::rc::kSuccess) return false;
    wire::Reader reader(wire::ByteView(**answer).subspan(wire::kHeaderSize));
    const auto more = reader.u8();
    const auto told = reader.u32();
    const auto count = reader.u32();
    if (!more || !told || *told != capability || !count) return false;
    for (std::uint32_t i = 0; i < *count; ++i) {
      const auto next = take(reader);
      if (!next) return false;
      from = *next;
    }
    if (*more == 0 || *count == 0) return true;
  }
  return false;
}

}  // namespace

std::optional<std::vector<std::uint32_t>> handles(client::Connection& connection, HandleRange range) {
  std::vector<std::uint32_t> out;
  const auto kind = static_cast<std::uint32_t>(range) >> 24;
  const auto take = [&](wire::Reader& reader) -> std::optional<std::uint32_t> {
    const auto handle = reader.u32();
    if (!handle) return std::nullopt;
    // Loaded sessions of both kinds are one list (Part 2, 10.10.3); others stay in their range.
    const auto its_kind = *handle >> 24;
    const bool sessions = kind == 2 || kind == 3;
    if (its_kind == kind || (sessions && (its_kind == 2 || its_kind == 3))) out.push_back(*handle);
    return *handle + 1;
  };
  if (!read_list(connection, kCapHandles, static_cast<std::uint32_t>(range), take)) return std::nullopt;
  return out;
}

std::optional<std::map<std::uint32_t, std::uint32_t>> variable_properties(client::Connection& connection) {
  std::map<std::uint32_t, std::uint32_t> out;
  const auto take = [&](wire::Reader& reader) -> std::optional<std::uint32_t> {
    const auto name = reader.u32();
    const auto value = reader.u32();
    if (!name || !value) return std::nullopt;
    out[*name] = *value;
    return *name + 1;
  };
  if (!read_list(connection, kCapTpmProperties, property::kPermanent, take)) return std::nullopt;
  return out;
}

}  // namespace tpmspace::tool
