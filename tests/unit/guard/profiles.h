// Profiles and commands by chance, for properties: sets cut out of the few numbers that commands are made of, so that
// commands are now allowed and now refused.
#pragma once

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "../../support/any_numbers.h"
#include "../../support/tpm_commands.h"
#include "guard/profile.h"
#include "wire/command.h"

namespace tpmspace::guard {

using support::any_numbers;

inline wire::Command parsed(wire::Bytes bytes, const wire::CommandTable& table = wire::CommandTable::builtin()) {
  auto out = wire::Command::parse(std::move(bytes), table, 4096);
  EXPECT_TRUE(out) << std::hex << out.error();
  return *std::move(out);
}

// Each handle that needs it is authorized in this way.
inline wire::Bytes command_of(const wire::CommandRow& row, const std::vector<std::uint32_t>& handles,
                              wire::ByteView parameters, wire::ByteView authorization = support::password()) {
  wire::Writer area, body;
  for (unsigned i = 0; i < row.auth_handles; ++i) area.raw(authorization);
  for (const auto handle : handles) body.u32(handle);
  if (row.auth_handles > 0) body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
  body.raw(parameters);
  return wire::Writer()
      .u16(row.auth_handles > 0 ? wire::kTagSessions : wire::kTagNoSessions)
      .u32(static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size()))
      .u32(row.code)
      .raw(body.bytes())
      .take();
}

// The handles of `any_command`.
inline constexpr std::uint32_t kHandles[] = {0,          7,          0x01000001, 0x01C00002, 0x02000000, 0x03000001,
                                             0x40000001, 0x40000007, 0x40000009, 0x4000000A, 0x4000000B, 0x4000000C,
                                             0x40000110, 0x80000000, 0x81000001, 0x81010001, 0x81800001, 0x90000000};

// Some of them.
inline rc::Gen<Numbers> any_handles() {
  return rc::gen::map(rc::gen::container<std::vector<bool>>(std::size(kHandles),
                                                            rc::gen::weightedElement<bool>({{3, true}, {1, false}})),
                      [](const std::vector<bool>& chosen) {
                        std::vector<Numbers::Range> out;
                        for (std::size_t i = 0; i < chosen.size(); ++i)
                          if (chosen[i]) out.push_back({kHandles[i], kHandles[i]});
                        return Numbers(std::move(out));
                      });
}

inline Profile any_profile() {
  Profile out;
  for (const auto& one : kSets) out.*one.set = *rc::gen::oneOf(rc::gen::just(Numbers::all()), any_handles());
  out.commands = *rc::gen::weightedOneOf<Numbers>({{5, rc::gen::just(Numbers::all())}, {1, any_numbers(0x11F, 0x1A2)}});
  out.localities = *rc::gen::weightedOneOf<Numbers>({{5, rc::gen::just(Numbers::all())}, {1, any_numbers(0, 4)}});
  out.disabled = *rc::gen::weightedOneOf<Numbers>({{5, rc::gen::just(Numbers())}, {1, any_numbers(0x11F, 0x1A2)}});
  out.limits.objects = *rc::gen::inRange(0U, 3U);
  out.terms.claim = *rc::gen::inRange(0U, 3U);
  return out;
}

// Parameters that some command's filter can read, or noise.
inline wire::Bytes any_parameters() {
  using wire::Writer;
  const auto skipped = *rc::gen::inRange(0, 4);
  Writer out;
  for (int i = 0; i < skipped; ++i) out.u16(0);
  const auto handle = *rc::gen::elementOf(std::vector<std::uint32_t>(std::begin(kHandles), std::end(kHandles)));
  switch (*rc::gen::inRange(0, 6)) {
    case 0:
      out.u32(handle);
      break;
    case 1:
      out.u16(support::kSha256).u32(handle);
      break;
    case 2:
      out.u16(14).u32(handle).u64(0).u16(0);
      break;
    case 3:
      out.u32(1).u16(support::kSha256).u8(1).u8(*rc::gen::arbitrary<std::uint8_t>());
      break;
    case 4:
      out.u16(0x001A).u32(0).u32(1).u16(support::kSha256).u8(1).u8(0x81);
      break;
    default:
      out.raw(*rc::gen::arbitrary<std::vector<std::uint8_t>>());
      break;
  }
  return out.take();
}

inline wire::Command any_command() {
  const auto rows = wire::CommandTable::builtin().rows();
  const auto& row = rows[*rc::gen::inRange<std::size_t>(0, rows.size())];
  std::vector<std::uint32_t> handles(row.handles);
  for (auto& one : handles)
    one = *rc::gen::elementOf(std::vector<std::uint32_t>(std::begin(kHandles), std::end(kHandles)));
  const auto attributes = *rc::gen::element<std::uint8_t>(0x01, 0x21, 0x41);
  const auto parameters = any_parameters();
  // Only a TPM2B can be encrypted: no other command with encryption reaches the guard.
  const bool as_it_is = (attributes & 0x20) == 0 || !row.encryptable || wire::Reader(parameters).tpm2b();
  return parsed(command_of(row, handles, parameters,
                           support::authorization(0x02000000, as_it_is ? attributes : std::uint8_t{0x01})));
}

}  // namespace tpmspace::guard
