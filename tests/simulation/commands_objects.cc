// Creating, loading and using objects.
// Source: TPM 2.0 library, Part 3, 12, 15.5, 20.2, 24.1, 28.5; Part 4 for the order of checks.
#include <algorithm>

#include "codes.h"
#include "digest.h"
#include "model_state.h"

namespace tpmspace::simulation {
namespace {

using wire::Bytes;
using wire::ByteView;
using wire::Rc;
namespace attribute = object_attribute;

constexpr std::uint16_t kTicketCreation = 0x8021;

struct CreationInput {
  Bytes auth, data;
  std::optional<PublicArea> area;
  Bytes outside_info;
};

void take_sensitive_create(Parameters& in, CreationInput& out) {
  const Bytes body = in.tpm2b();
  wire::Reader inside(body);
  const auto auth = inside.tpm2b();
  const auto data = inside.tpm2b();
  if (!auth || !data || !inside.empty()) in.fail(wire::rc::kSize);
  out.auth = without_trailing_zeros(wire::to_bytes(auth.value_or(ByteView{})));
  out.data = wire::to_bytes(data.value_or(ByteView{}));
}

void take_public(Parameters& in, std::optional<PublicArea>& out) {
  const Bytes body = in.tpm2b();
  wire::Reader inside(body);
  out = PublicArea::parse(inside);
  if (!out || !inside.empty()) in.fail(wire::rc::kSize);
}

void take_pcr_selection(Parameters& in) {
  const auto count = in.u32();
  for (std::uint32_t i = 0; i < count && in.end() != wire::rc::kInsufficient && i < 16; ++i) {
    static_cast<void>(in.u16());
    const auto size = in.u8();
    if (!in.raw().take(size)) in.fail(wire::rc::kInsufficient);
  }
}

CreationInput take_creation(Parameters& in) {
  CreationInput out;
  take_sensitive_create(in, out);
  in.next();
  take_public(in, out.area);
  in.next();
  out.outside_info = in.tpm2b();
  in.next();
  take_pcr_selection(in);
  return out;
}

// The checks of CreateChecks that our templates can fail.
Rc check_template(const PublicArea& area, const Object* parent, std::size_t data_size) {
  const bool origin = area.has(attribute::kSensitiveDataOrigin);
  if (!origin && data_size == 0) return wire::rc::kAttributes;
  if (parent != nullptr && origin && data_size != 0) return wire::rc::kAttributes;
  if (area.is_asymmetric() && !origin) return wire::rc::kAttributes;
  const bool fixed_tpm = area.has(attribute::kFixedTpm);
  const bool fixed_parent = area.has(attribute::kFixedParent);
  if (parent == nullptr || parent->area.has(attribute::kFixedTpm))
    return fixed_tpm == fixed_parent ? wire::rc::kSuccess : wire::rc::kAttributes;
  return fixed_tpm ? wire::rc::kAttributes : wire::rc::kSuccess;
}

void set_unique(Object& object) {
  wire::Writer out;
  if (object.area.type == alg::kEcc)
    out.tpm2b(sha256({text("x"), object.id})).tpm2b(sha256({text("y"), object.id}));
  else
    out.tpm2b(sha256({object.id, object.sensitive}));
  object.area.unique = out.take();
}

void set_qualified_name(Object& object, ByteView parent) {
  object.qualified_name = wire::Writer().u16(object.area.name_alg).raw(sha256({parent, object.area.name()})).take();
}

void set_hierarchy(Object& object, ChipState& chip, wire::Hierarchy hierarchy) {
  object.hierarchy = hierarchy;
  object.temporary = hierarchy == wire::Hierarchy::kNull;
  object.epoch = chip.of(hierarchy).epoch;
}

Object make_object(CreationInput& input, Bytes id) {
  Object out;
  out.area = std::move(*input.area);
  out.id = std::move(id);
  out.auth = input.auth;
  out.sensitive = input.data.empty() ? sha256({text("secret"), out.id}) : input.data;
  out.st_clear = out.area.has(attribute::kStClear);
  set_unique(out);
  return out;
}

Object make_primary(Call& call, CreationInput& input) {
  const std::uint32_t hierarchy = call.handles[0];
  ChipState& chip = *call.tpm.chip;
  // The seed value of an endorsement primary depends on the owner's proof, too: a Clear makes its children useless.
  const std::uint32_t proof = hierarchy == kRhEndorsement ? chip.owner.proof : 0;
  const Bytes seed = wire::Writer().u64(chip.serial).u32(hierarchy).u32(chip.find(hierarchy)->seed).u32(proof).take();
  Object out = make_object(input, sha256({text("primary"), seed, input.area->marshal(), input.data}));
  set_hierarchy(out, chip, static_cast<wire::Hierarchy>(hierarchy));
  set_qualified_name(out, wire::Writer().u32(hierarchy).bytes());
  return out;
}

void adopt_parent(Object& child, const Object& parent, ChipState& chip) {
  set_hierarchy(child, chip, parent.hierarchy);
  child.temporary = parent.temporary;
  child.st_clear = child.st_clear || parent.st_clear;
  set_qualified_name(child, parent.qualified_name);
}

// Real keys are random; here the same parent, template, data and outsideInfo make the same key.
Object make_child(const Object& parent, CreationInput& input) {
  return make_object(input, sha256({text("child"), parent.id, input.area->marshal(), input.data, input.outside_info}));
}

Bytes wrap(const Object& object, const Object& parent) {
  const Bytes content = wire::Writer().tpm2b(object.id).tpm2b(object.auth).tpm2b(object.sensitive).take();
  const Bytes integrity = sha256({text("private"), parent.id, object.area.name(), content});
  return wire::Writer().tpm2b(integrity).raw(content).take();
}

Rc unwrap(ByteView blob, const Object& parent, Object& object) {
  wire::Reader in(blob);
  const auto integrity = in.tpm2b();
  if (!integrity) return wire::rc::kInsufficient;
  if (!wire::same_bytes(*integrity, sha256({text("private"), parent.id, object.area.name(), in.rest()})))
    return wire::rc::kIntegrity;
  for (Bytes* field : {&object.id, &object.auth, &object.sensitive}) {
    const auto value = in.tpm2b();
    if (!value) return wire::rc::kSize;
    *field = wire::to_bytes(*value);
  }
  return wire::rc::kSuccess;
}

void put_creation_data(Call& call, const Object& object, std::uint32_t hierarchy) {
  const Bytes data = wire::Writer().u32(0).u16(0).u8(1).u16(alg::kNull).u16(0).u16(0).u16(0).take();
  call.out.tpm2b(data).tpm2b(sha256({data, object.id}));
  call.out.u16(kTicketCreation).u32(hierarchy).tpm2b(sha256({text("ticket"), object.id}));
}

}  // namespace

namespace commands {

Rc create_primary(Call& call) {
  CreationInput input = take_creation(call.in);
  if (const Rc code = call.in.end(); code != 0) return code;
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  if (const Rc code = check_template(*input.area, nullptr, input.data.size()); code != 0)
    return wire::rc::in_parameter(code, 2);
  Object object = make_primary(call, input);
  call.out.tpm2b(object.area.marshal());
  put_creation_data(call, object, call.handles[0]);
  call.out.tpm2b(object.area.name());
  call.response_handle = call.tpm.objects.add(std::move(object));
  return wire::rc::kSuccess;
}

Rc create(Call& call) {
  CreationInput input = take_creation(call.in);
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object& parent = call.object(0);
  if (parent.is_sequence() || !parent.area.is_parent() || parent.public_only) return codes::at_handle(codes::kType, 0);
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  if (const Rc code = check_template(*input.area, &parent, input.data.size()); code != 0)
    return wire::rc::in_parameter(code, 2);
  const Object object = make_child(parent, input);
  call.out.tpm2b(wrap(object, parent)).tpm2b(object.area.marshal());
  put_creation_data(call, object, static_cast<std::uint32_t>(parent.hierarchy));
  return wire::rc::kSuccess;
}

Rc load(Call& call) {
  const Bytes wrapped = call.in.tpm2b();
  call.in.next();
  std::optional<PublicArea> area;
  take_public(call.in, area);
  if (const Rc code = call.in.end(); code != 0) return code;
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  if (wrapped.empty()) return wire::rc::in_parameter(wire::rc::kSize, 1);
  const Object& parent = call.object(0);
  if (parent.is_sequence() || !parent.area.is_parent() || parent.public_only) return codes::at_handle(codes::kType, 0);
  Object object;
  object.area = std::move(*area);
  if (object.area.name().empty()) return wire::rc::in_parameter(codes::kHash, 2);
  if (const Rc code = unwrap(wrapped, parent, object); code != 0) return wire::rc::in_parameter(code, 1);
  object.st_clear = object.area.has(attribute::kStClear);
  adopt_parent(object, parent, *call.tpm.chip);
  call.out.tpm2b(object.area.name());
  call.response_handle = call.tpm.objects.add(std::move(object));
  return wire::rc::kSuccess;
}

namespace {

// TPMT_SENSITIVE of a keyed hash: type, auth value, seed value, the key.
bool take_sensitive(ByteView blob, Object& object) {
  wire::Reader in(blob);
  const auto type = in.u16();
  const auto auth = in.tpm2b();
  const auto seed = in.tpm2b();
  const auto key = in.tpm2b();
  if (!type || !auth || !seed || !key || !in.empty()) return false;
  object.auth = without_trailing_zeros(wire::to_bytes(*auth));
  object.sensitive = wire::to_bytes(*key);
  return true;
}

Rc check_external(const Bytes& sensitive, const PublicArea& area, std::uint32_t hierarchy, ChipState& chip) {
  constexpr unsigned kHierarchyParameter = 3;
  if (!chip.find(hierarchy)->enabled) return wire::rc::in_parameter(wire::rc::kHierarchy, kHierarchyParameter);
  if (sensitive.empty()) return wire::rc::kSuccess;
  if (hierarchy != kRhNull) return wire::rc::in_parameter(wire::rc::kHierarchy, kHierarchyParameter);
  if (area.has(attribute::kFixedTpm | attribute::kFixedParent | attribute::kRestricted))
    return wire::rc::in_parameter(wire::rc::kAttributes, 2);
  return wire::rc::kSuccess;
}

}  // namespace

Rc load_external(Call& call) {
  const Bytes sensitive = call.in.tpm2b();
  call.in.next();
  std::optional<PublicArea> area;
  take_public(call.in, area);
  call.in.next();
  const std::uint32_t hierarchy = call.in.u32();
  if (call.tpm.chip->find(hierarchy) == nullptr) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  if (const Rc code = check_external(sensitive, *area, hierarchy, *call.tpm.chip); code != 0) return code;

  Object object;
  object.area = std::move(*area);
  object.public_only = sensitive.empty();
  if (!object.public_only && !take_sensitive(sensitive, object)) return wire::rc::in_parameter(wire::rc::kSize, 1);
  object.id = sha256({text("external"), object.area.marshal(), object.sensitive});
  object.st_clear = object.area.has(attribute::kStClear);
  set_hierarchy(object, *call.tpm.chip, static_cast<wire::Hierarchy>(hierarchy));
  object.temporary = true;
  object.qualified_name = object.area.name();
  call.out.tpm2b(object.area.name());
  call.response_handle = call.tpm.objects.add(std::move(object));
  return wire::rc::kSuccess;
}

Rc create_loaded(Call& call) {
  CreationInput input;
  take_sensitive_create(call.in, input);
  call.in.next();
  take_public(call.in, input.area);
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object* parent = call.object_or_null(0);
  if (parent != nullptr && (parent->is_sequence() || !parent->area.is_parent() || parent->public_only))
    return codes::at_handle(codes::kType, 0);
  if (call.tpm.objects.full()) return wire::rc::kObjectMemory;
  if (const Rc code = check_template(*input.area, parent, input.data.size()); code != 0)
    return wire::rc::in_parameter(code, 2);
  Object object = parent != nullptr ? make_child(*parent, input) : make_primary(call, input);
  if (parent != nullptr) adopt_parent(object, *parent, *call.tpm.chip);
  call.out.tpm2b(parent != nullptr ? wrap(object, *parent) : Bytes{});
  call.out.tpm2b(object.area.marshal()).tpm2b(object.area.name());
  call.response_handle = call.tpm.objects.add(std::move(object));
  return wire::rc::kSuccess;
}

Rc read_public(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object& object = call.object(0);
  if (object.is_sequence()) return wire::rc::kSequence;
  call.out.tpm2b(object.area.marshal()).tpm2b(object.area.name()).tpm2b(object.qualified_name);
  return wire::rc::kSuccess;
}

namespace {

struct Scheme {
  std::uint16_t scheme = alg::kNull;
  std::uint16_t hash = alg::kNull;
};

bool select_scheme(const Object& key, Scheme& scheme) {
  if (key.area.type == alg::kSymCipher) return false;
  if (key.area.scheme == alg::kNull) return scheme.scheme != alg::kNull;
  if (scheme.scheme == alg::kNull) {
    scheme = {key.area.scheme, key.area.scheme_hash};
    return true;
  }
  return scheme.scheme == key.area.scheme && scheme.hash == key.area.scheme_hash;
}

void put_signature(Call& call, const Object& key, const Scheme& scheme, const Bytes& digest) {
  call.out.u16(scheme.scheme).u16(scheme.hash);
  if (scheme.scheme == alg::kHmac) {
    call.out.raw(hmac_sha256(key.sensitive, digest));
    return;
  }
  call.out.tpm2b(sha256({text("r"), key.id, digest})).tpm2b(sha256({text("s"), key.id, digest}));
}

}  // namespace

Rc sign(Call& call) {
  const Bytes digest = call.in.tpm2b();
  call.in.next();
  Scheme scheme;
  scheme.scheme = call.in.u16();
  if (scheme.scheme != alg::kNull) scheme.hash = call.in.u16();
  call.in.next();
  static_cast<void>(call.in.u16());
  static_cast<void>(call.in.u32());
  const Bytes ticket = call.in.tpm2b();
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object& key = call.object(0);
  if (key.is_sequence() || !key.area.has(attribute::kSign)) return codes::at_handle(codes::kKey, 0);
  if (!select_scheme(key, scheme)) return wire::rc::in_parameter(codes::kScheme, 2);
  if (!ticket.empty() || key.area.has(attribute::kRestricted)) return wire::rc::in_parameter(codes::kTicket, 3);
  if (digest.size() != kDigestSize) return wire::rc::in_parameter(wire::rc::kSize, 1);
  put_signature(call, key, scheme, digest);
  return wire::rc::kSuccess;
}

Rc unseal(Call& call) {
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object& object = call.object(0);
  if (object.is_sequence() || object.area.type != alg::kKeyedHash) return codes::at_handle(codes::kType, 0);
  if (object.area.has(attribute::kDecrypt | attribute::kSign | attribute::kRestricted))
    return codes::at_handle(wire::rc::kAttributes, 0);
  call.out.tpm2b(object.sensitive);
  return wire::rc::kSuccess;
}

Rc object_change_auth(Call& call) {
  const Bytes auth = without_trailing_zeros(call.in.tpm2b());
  if (const Rc code = call.in.end(); code != 0) return code;
  Object changed = call.object(0);
  if (changed.is_sequence()) return codes::at_handle(codes::kType, 0);
  if (auth.size() > kDigestSize) return wire::rc::in_parameter(wire::rc::kSize, 1);
  const Object& parent = call.object(1);
  Object expected = changed;
  set_qualified_name(expected, parent.qualified_name);
  if (expected.qualified_name != changed.qualified_name) return codes::at_handle(codes::kType, 1);
  changed.auth = auth;
  call.out.tpm2b(wrap(changed, parent));
  return wire::rc::kSuccess;
}

namespace {

Rc may_persist(const Call& call, const Object& object, std::uint32_t persistent) {
  const bool platform = call.handles[0] == kRhPlatform;
  const bool is_platform_object = object.hierarchy == wire::Hierarchy::kPlatform;
  if (object.persistent_handle != 0)
    return !platform && is_platform_object ? codes::at_handle(wire::rc::kHierarchy, 1) : wire::rc::kSuccess;
  if (platform != is_platform_object) return codes::at_handle(wire::rc::kHierarchy, 1);
  if (platform != (persistent >= kFirstPlatformPersistent)) return wire::rc::in_parameter(codes::kRange, 1);
  return wire::rc::kSuccess;
}

}  // namespace

// No index is ever defined, so no handle is found.
Rc nv_read_public(Call&) {
  return wire::rc::kHandle;
}

Rc evict_control(Call& call) {
  const std::uint32_t persistent = call.in.u32();
  if (!wire::is_persistent(persistent)) call.in.fail(wire::rc::kValue);
  if (const Rc code = call.in.end(); code != 0) return code;
  const Object& object = call.object(1);
  if (object.is_sequence() || object.temporary || object.st_clear || object.public_only)
    return codes::at_handle(wire::rc::kAttributes, 1);
  if (object.persistent_handle != 0 && object.persistent_handle != persistent)
    return codes::at_handle(wire::rc::kHandle, 1);
  if (const Rc code = may_persist(call, object, persistent); code != 0) return code;
  Shelf& stored = call.tpm.persistent();
  if (object.persistent_handle != 0) {
    stored.erase(persistent);
    return wire::rc::kSuccess;
  }
  Object copy = object;
  copy.persistent_handle = persistent;
  return stored.emplace(persistent, std::move(copy)).second ? wire::rc::kSuccess : codes::kNvDefined;
}

}  // namespace commands
}  // namespace tpmspace::simulation
