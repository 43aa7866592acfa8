#include "context_blob.h"

#include "digest.h"
#include "wire/handle.h"

namespace tpmspace::simulation {
namespace {

// libtpms writes the integrity value as a TPM2B of a SHA-512; a model need not be as long, only as strict.
constexpr std::size_t kIntegritySize = kDigestSize;
constexpr std::size_t kLargestDigest = 64;
constexpr std::size_t kLargestBlob = 2680;
constexpr unsigned kFirstParameter = 1;

wire::Bytes integrity(ChipState& chip, const OpenedContext& context, wire::ByteView sealed) {
  const HierarchyState& hierarchy = *chip.find(context.hierarchy);
  wire::Writer bound;
  bound.u64(chip.serial).u32(context.hierarchy).u32(hierarchy.proof).u64(chip.total_resets);
  bound.u64(context.sequence).u32(context.saved_handle);
  if (context.saved_handle == kSavedStClear) bound.u64(chip.clear_count);
  return sha256({text("context"), bound.bytes(), sealed});
}

bool is_saved_handle(std::uint32_t handle, std::uint32_t sessions) {
  if (wire::is_session(handle)) return wire::number_of(handle) < sessions;
  return handle == kSavedObject || handle == kSavedSequence || handle == kSavedStClear;
}

}  // namespace

wire::Bytes seal_context(ChipState& chip, const OpenedContext& context, std::size_t padding) {
  const wire::Bytes sealed = wire::Writer().tpm2b(context.content).raw(wire::Bytes(padding, 0)).take();
  const wire::Bytes blob = wire::Writer().tpm2b(integrity(chip, context, sealed)).raw(sealed).take();
  return wire::Writer().u64(context.sequence).u32(context.saved_handle).u32(context.hierarchy).tpm2b(blob).take();
}

tl::expected<OpenedContext, wire::Rc> open_context(ChipState& chip, wire::ByteView parameters, std::uint32_t sessions) {
  const auto fail = [](wire::Rc code) { return tl::unexpected(wire::rc::in_parameter(code, kFirstParameter)); };
  wire::Reader in(parameters);
  OpenedContext out;
  const auto sequence = in.u64();
  if (!sequence) return fail(wire::rc::kInsufficient);
  const auto saved_handle = in.u32();
  if (!saved_handle) return fail(wire::rc::kInsufficient);
  if (!is_saved_handle(*saved_handle, sessions)) return fail(wire::rc::kValue);
  const auto hierarchy = in.u32();
  if (!hierarchy) return fail(wire::rc::kInsufficient);
  if (chip.find(*hierarchy) == nullptr) return fail(wire::rc::kValue);
  const auto size = in.u16();
  if (!size) return fail(wire::rc::kInsufficient);
  if (*size > kLargestBlob) return fail(wire::rc::kSize);
  const auto blob = in.take(*size);
  if (!blob) return fail(wire::rc::kInsufficient);
  if (!in.empty()) return tl::unexpected(wire::rc::kSize);
  out.sequence = *sequence;
  out.saved_handle = *saved_handle;
  out.hierarchy = *hierarchy;

  wire::Reader inside(*blob);
  const auto stated = inside.u16();
  if (!stated) return tl::unexpected(wire::rc::kInsufficient);
  if (*stated > kLargestDigest) return tl::unexpected(wire::rc::kSize);
  const auto claimed = inside.take(*stated);
  if (!claimed) return tl::unexpected(wire::rc::kInsufficient);
  if (*stated != kIntegritySize) return fail(wire::rc::kSize);
  if (!wire::same_bytes(*claimed, integrity(chip, out, inside.rest()))) return fail(wire::rc::kIntegrity);
  const auto content = inside.tpm2b();
  if (!content) return tl::unexpected(wire::rc::kFailure);
  out.content = wire::to_bytes(*content);
  return out;
}

}  // namespace tpmspace::simulation
