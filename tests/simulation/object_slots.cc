#include "object_slots.h"

#include "digest.h"

namespace tpmspace::simulation {
namespace {

// Reads an algorithm and, unless it is NULL, `extra` more UINT16 behind it. The first of these goes to `first`.
bool skip_scheme(wire::Reader& in, std::uint16_t& scheme, unsigned extra, std::uint16_t* first = nullptr) {
  const auto algorithm = in.u16();
  if (!algorithm) return false;
  scheme = *algorithm;
  if (scheme == alg::kNull) return true;
  for (unsigned i = 0; i < extra; ++i) {
    const auto value = in.u16();
    if (!value) return false;
    if (i == 0 && first != nullptr) *first = *value;
  }
  return true;
}

bool skip_parameters(wire::Reader& in, PublicArea& out) {
  std::uint16_t symmetric = 0;
  std::uint16_t kdf = 0;
  switch (out.type) {
    case alg::kKeyedHash:
      return skip_scheme(in, out.scheme, 1, &out.scheme_hash);
    case alg::kSymCipher:
      return skip_scheme(in, symmetric, 2);
    case alg::kEcc:
      return skip_scheme(in, symmetric, 2) && skip_scheme(in, out.scheme, 1, &out.scheme_hash) && in.u16() &&
             skip_scheme(in, kdf, 1);
    case alg::kRsa:
      return skip_scheme(in, symmetric, 2) && skip_scheme(in, out.scheme, 1, &out.scheme_hash) && in.take(6);
    default:
      return false;
  }
}

}  // namespace

wire::Bytes PublicArea::marshal() const {
  return wire::Writer().u16(type).u16(name_alg).u32(attributes).tpm2b(policy).raw(parameters).raw(unique).take();
}

wire::Bytes PublicArea::name() const {
  if (name_alg == alg::kNull) return {};
  return wire::Writer().u16(name_alg).raw(sha256({marshal()})).take();
}

std::optional<PublicArea> PublicArea::parse(wire::Reader& in) {
  PublicArea out;
  const auto type = in.u16();
  const auto name_alg = in.u16();
  const auto attributes = in.u32();
  const auto policy = in.tpm2b();
  if (!type || !name_alg || !attributes || !policy) return std::nullopt;
  out.type = *type;
  out.name_alg = *name_alg;
  out.attributes = *attributes;
  out.policy = wire::to_bytes(*policy);
  const wire::ByteView rest = in.rest();
  const std::size_t before = in.remaining();
  if (!skip_parameters(in, out)) return std::nullopt;
  out.parameters = wire::to_bytes(rest.first(before - in.remaining()));
  const wire::ByteView unique = in.rest();
  const std::size_t unique_before = in.remaining();
  if (!in.tpm2b()) return std::nullopt;
  if (out.type == alg::kEcc && !in.tpm2b()) return std::nullopt;
  out.unique = wire::to_bytes(unique.first(unique_before - in.remaining()));
  return out;
}

wire::Bytes Object::serialize() const {
  const auto flags = (temporary ? 1U : 0U) | (st_clear ? 2U : 0U) | (public_only ? 4U : 0U);
  return wire::Writer()
      .u8(static_cast<std::uint8_t>(sequence))
      .u8(static_cast<std::uint8_t>(flags))
      .u32(static_cast<std::uint32_t>(hierarchy))
      .tpm2b(id)
      .tpm2b(auth)
      .tpm2b(sensitive)
      .tpm2b(qualified_name)
      .tpm2b(fed)
      .tpm2b(is_sequence() ? wire::Bytes{} : area.marshal())
      .take();
}

std::optional<Object> Object::parse(wire::ByteView bytes) {
  wire::Reader in(bytes);
  Object out;
  const auto sequence = in.u8();
  const auto flags = in.u8();
  const auto hierarchy = in.u32();
  if (!hierarchy) return std::nullopt;
  out.sequence = static_cast<SequenceKind>(*sequence);
  out.temporary = (*flags & 1) != 0;
  out.st_clear = (*flags & 2) != 0;
  out.public_only = (*flags & 4) != 0;
  out.hierarchy = static_cast<wire::Hierarchy>(*hierarchy);
  for (wire::Bytes* field : {&out.id, &out.auth, &out.sensitive, &out.qualified_name, &out.fed}) {
    const auto value = in.tpm2b();
    if (!value) return std::nullopt;
    *field = wire::to_bytes(*value);
  }
  const auto area = in.tpm2b();
  if (!area || !in.empty()) return std::nullopt;
  if (out.is_sequence()) return out;
  wire::Reader inside(*area);
  auto parsed = PublicArea::parse(inside);
  if (!parsed) return std::nullopt;
  out.area = std::move(*parsed);
  return out;
}

Object* ObjectSlots::find(std::uint32_t handle) {
  const auto it = loaded_.find(handle);
  return it == loaded_.end() ? nullptr : &it->second;
}

std::uint32_t ObjectSlots::add(Object object) {
  std::uint32_t handle = wire::kFirstTransient;
  for (const auto& [taken, unused] : loaded_) {
    if (taken != handle) break;
    ++handle;
  }
  loaded_.emplace(handle, std::move(object));
  return handle;
}

std::uint32_t ObjectSlots::add_at_the_top(Object object) {
  std::uint32_t handle = wire::kFirstTransient + limit_ - 1;
  while (loaded_.count(handle) != 0) --handle;
  loaded_.emplace(handle, std::move(object));
  return handle;
}

}  // namespace tpmspace::simulation
