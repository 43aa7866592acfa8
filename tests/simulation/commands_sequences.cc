// Hash, HMAC and event sequences. Source: TPM 2.0 library, Part 3, 17. tpm-behaviour 14.
#include "codes.h"
#include "digest.h"
#include "model_state.h"

namespace tpmspace::simulation::commands {
namespace {

using wire::Bytes;
using wire::Rc;

constexpr std::uint16_t kTicketHashCheck = 0x8024;
// Banks of libtpms: SHA-1, SHA-256, SHA-384, SHA-512. An extension counts once for each.
constexpr std::uint32_t kBanks = 4;

Rc start(Call& call, SequenceKind kind, Bytes auth, Bytes key) {
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  Object sequence;
  sequence.sequence = kind;
  sequence.temporary = true;
  while (!auth.empty() && auth.back() == 0) auth.pop_back();
  sequence.auth = std::move(auth);
  sequence.sensitive = std::move(key);
  sequence.epoch = call.tpm.chip->null.epoch;
  call.response_handle = call.tpm.objects.add(std::move(sequence));
  return wire::rc::kSuccess;
}

void feed(Object& sequence, const Bytes& data) {
  sequence.fed.insert(sequence.fed.end(), data.begin(), data.end());
}

Bytes result_of(const Object& sequence) {
  return sequence.sequence == SequenceKind::kHmac ? hmac_sha256(sequence.sensitive, sequence.fed)
                                                  : sha256({sequence.fed});
}

// Only the SHA-256 bank is kept.
void extend(Call& call, std::uint32_t pcr, const Bytes& digest, std::uint32_t times) {
  if (pcr < kSavedPcrs) call.clear_orderly();
  ChipState& chip = *call.tpm.chip;
  Bytes& value = chip.pcrs[pcr];
  if (value.empty()) value.assign(kDigestSize, 0);
  value = sha256({value, digest});
  const bool counts = pcr != 16 && pcr < 21;
  if (counts) chip.pcr_counter += times;
}

}  // namespace

Rc hash_sequence_start(Call& call) {
  Bytes auth = call.in.tpm2b();
  call.in.next();
  const std::uint16_t hash = call.in.u16();
  if (const Rc code = call.in.end(); code != 0) return code;
  return start(call, hash == alg::kNull ? SequenceKind::kEvent : SequenceKind::kHash, std::move(auth), {});
}

Rc hmac_start(Call& call) {
  Bytes auth = call.in.tpm2b();
  call.in.next();
  const std::uint16_t hash = call.in.u16();
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object& key = call.object(0);
  if (key.is_sequence() || (key.area.type != alg::kKeyedHash && key.area.type != alg::kSymCipher))
    return codes::at_handle(codes::kType, 0);
  // A cipher's own mode is no hash.
  const std::uint16_t own = key.area.type == alg::kSymCipher ? alg::kCfb : key.area.scheme_hash;
  const bool differs = hash != alg::kNull && own != alg::kNull && hash != own;
  const bool none = hash == alg::kNull && own == alg::kNull;
  if (differs || none) return wire::rc::in_parameter(wire::rc::kValue, 2);
  if (key.area.has(object_attribute::kRestricted)) return codes::at_handle(wire::rc::kAttributes, 0);
  if (!key.area.has(object_attribute::kSign)) return codes::at_handle(codes::kKey, 0);
  return start(call, SequenceKind::kHmac, std::move(auth), key.sensitive);
}

Rc sequence_update(Call& call) {
  const Bytes data = call.in.tpm2b();
  if (const Rc code = call.in.end(); code != 0) return code;
  Object& sequence = call.object(0);
  // libtpms blames the first parameter, not the handle.
  if (!sequence.is_sequence()) return wire::rc::in_parameter(codes::kMode, 1);
  feed(sequence, data);
  return wire::rc::kSuccess;
}

Rc sequence_complete(Call& call) {
  const Bytes data = call.in.tpm2b();
  call.in.next();
  const std::uint32_t hierarchy = call.in.u32();
  if (call.tpm.chip->find(hierarchy) == nullptr) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  Object& sequence = call.object(0);
  if (sequence.sequence != SequenceKind::kHash && sequence.sequence != SequenceKind::kHmac)
    return codes::at_handle(codes::kMode, 0);
  feed(sequence, data);
  call.out.tpm2b(result_of(sequence)).u16(kTicketHashCheck).u32(kRhNull).u16(0);
  sequence.leaves_after_command = true;
  return wire::rc::kSuccess;
}

Rc event_sequence_complete(Call& call) {
  const Bytes data = call.in.tpm2b();
  if (const Rc code = call.in.end(); code != 0) return code;
  Object& sequence = call.object(1);
  if (sequence.sequence != SequenceKind::kEvent) return codes::at_handle(codes::kMode, 1);
  feed(sequence, data);
  const Bytes digest = result_of(sequence);
  if (call.handles[0] != kRhNull) extend(call, call.handles[0], digest, kBanks);
  call.out.u32(1).u16(alg::kSha256).raw(digest);
  sequence.leaves_after_command = true;
  return wire::rc::kSuccess;
}

Rc pcr_extend(Call& call) {
  const std::uint32_t count = call.in.u32();
  Bytes digest;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (call.in.u16() != alg::kSha256) call.in.fail(codes::kHash);
    const auto value = call.in.raw().take(kDigestSize);
    if (!value) call.in.fail(wire::rc::kInsufficient);
    if (call.in.end() != 0 && call.in.end() != wire::rc::kSize) break;
    digest = wire::to_bytes(*value);
  }
  if (const Rc code = call.in.end(); code != 0) return code;
  if (call.handles[0] == kRhNull) return wire::rc::kSuccess;
  extend(call, call.handles[0], digest, count);
  return wire::rc::kSuccess;
}

Rc pcr_read(Call& call) {
  constexpr std::size_t kMostDigests = 8;
  PcrSelection selection = take_selection(call.in);
  if (const Rc code = call.in.end(); code != 0) return code;
  if (selection.pcrs.size() > kMostDigests) return wire::rc::kFailure;  // no client here requests so many
  call.out.u32(call.tpm.chip->pcr_counter).raw(selection.marshalled);
  call.out.u32(static_cast<std::uint32_t>(selection.pcrs.size()));
  for (const auto pcr : selection.pcrs) call.out.tpm2b(pcr_value(*call.tpm.chip, pcr));
  return wire::rc::kSuccess;
}

}  // namespace tpmspace::simulation::commands

namespace tpmspace::simulation {

wire::Bytes pcr_value(const ChipState& chip, std::size_t pcr) {
  const auto initial = static_cast<std::uint8_t>(pcr >= 17 && pcr <= 22 ? 0xFF : 0x00);
  return chip.pcrs[pcr].empty() ? wire::Bytes(kDigestSize, initial) : chip.pcrs[pcr];
}

PcrSelection take_selection(Parameters& in) {
  constexpr std::uint8_t kSelectSize = 3;
  PcrSelection out;
  const std::uint32_t count = in.u32();
  wire::Writer marshalled;
  marshalled.u32(count);
  if (count > 1) in.fail(wire::rc::kValue);  // as many as banks are possible; no client here uses this
  if (count == 1) {
    const std::uint16_t hash = in.u16();
    if (hash != alg::kSha256) in.fail(codes::kHash);
    const std::uint8_t size = in.u8();
    if (size != kSelectSize) in.fail(wire::rc::kValue);
    const auto bits = in.raw().take(size);
    if (!bits) in.fail(wire::rc::kInsufficient);
    marshalled.u16(hash).u8(size).raw(bits.value_or(wire::ByteView{}));
    for (std::size_t pcr = 0; bits && pcr < kPcrs && pcr / 8 < size; ++pcr)
      if (((*bits)[pcr / 8] >> (pcr % 8) & 1) != 0) out.pcrs.push_back(pcr);
  }
  out.marshalled = marshalled.take();
  return out;
}

}  // namespace tpmspace::simulation
