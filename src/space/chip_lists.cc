#include "space/chip_lists.h"

#include <algorithm>
#include <utility>

#include "wire/command_table.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ByteView;
using wire::Numbers;
using wire::Reader;
using wire::Writer;
namespace rc = wire::rc;
template <typename T>
using Result = TpmPort::Result<T>;

namespace {

constexpr std::uint32_t kMaxWords = 254;  // MAX_CAP_BUFFER 1024: (1024 - 4 - 4) / 4

// TPM_PT (Part 2, 6.13).
constexpr std::uint32_t kTotalCommands = 0x129, kLibraryCommands = 0x12A, kVendorCommands = 0x12B;
constexpr std::uint32_t kHrNvIndex = 0x202, kHrPersistent = 0x208;

constexpr Numbers::Range kEveryCommand = {0, UINT32_MAX}, kEveryPcr = {0, 0x00FFFFFF};
constexpr CapabilityQuery kCommands = {kCapCommands, 0, kMaxWords};
constexpr CapabilityQuery kPersistent = {kCapHandles, View::kFirstPersistent, kMaxWords};
constexpr CapabilityQuery kNvIndices = {kCapHandles, 0x01000000, kMaxWords};

Numbers::Range range_of_kind(std::uint32_t handle) {
  return {handle & 0xFF000000, handle | 0x00FFFFFF};
}

// The TPM's start value. Beyond its end a window shows nothing, whatever handles the TPM has there.
std::uint32_t first_place(const View& view, const CapabilityQuery& query) {
  if (query.capability != kCapHandles || !wire::is_persistent(query.property)) return query.property;
  constexpr std::uint32_t kLast = View::kFirstPersistent + (View::kWindow - 1);
  const std::uint32_t first = view.persistent_base == 0 ? query.property : std::min(query.property, kLast);
  return persistent_at_tpm(&view, wire::ClientHandle{first})->value;
}

// The position of a word in its list.
std::uint32_t place_of(const CapabilityQuery& query, std::uint32_t word) {
  return query.capability == kCapCommands ? wire::CommandAttributes{word}.code() : word;
}

// Clears the allocated PCRs in a TPML_PCR_SELECTION.
std::optional<Bytes> without_pcrs(ByteView parameters) {
  Bytes out = wire::to_bytes(parameters);
  Reader in(parameters);
  const auto more = in.u8();
  const auto capability = in.u32();
  const auto count = in.u32();
  if (!more || capability != kCapPcrs || !count) return std::nullopt;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto hash = in.u16();
    const auto size = in.u8();
    const std::size_t at = in.offset();
    if (!hash || !size || !in.take(*size)) return std::nullopt;
    std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(at), *size, std::uint8_t{0});
  }
  return in.empty() ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace

bool hides(const View* view, const CapabilityQuery& query) {
  if (view == nullptr) return false;
  switch (query.capability) {
    case kCapCommands:
      return !view->commands.contains(kEveryCommand);
    case kCapPcrs:
      return (view->pcrs & Numbers{kEveryPcr}).empty();
    case kCapHandles:
      if (wire::is_nv(query.property)) return !view->nv.contains(range_of_kind(query.property));
      if (!wire::is_persistent(query.property)) return false;
      return view->persistent_base != 0 || !view->persistent.contains(range_of_kind(query.property));
    default:
      return false;
  }
}

Bytes question(const View& view, const CapabilityQuery& query) {
  const std::uint32_t count = query.capability == kCapPcrs ? query.count : kMaxWords;
  return Writer().u32(query.capability).u32(first_place(view, query)).u32(count).take();
}

std::optional<std::uint32_t> ChipLists::shown(const CapabilityQuery& query, std::uint32_t word) const {
  std::uint32_t place = place_of(query, word);
  if (query.capability == kCapCommands) return view_.commands.contains(place) ? std::optional(word) : std::nullopt;
  if (wire::is_nv(word)) return view_.nv.contains(word) ? std::optional(word) : std::nullopt;
  const auto known_as = persistent_in_space(&view_, wire::TpmHandle{word});
  if (!known_as || known_as->value < query.property || !view_.persistent.contains(known_as->value)) return std::nullopt;
  return known_as->value;
}

// At most `wanted` of the visible words, from the TPM's page on.
Result<ChipLists::Words> ChipLists::sift(const CapabilityQuery& query, CapabilityPage page, std::size_t wanted) {
  Words out;
  std::uint64_t next = 0;
  for (int pages = 1;; ++pages) {
    for (const std::uint32_t word : page.words) {
      const bool its_kind = query.capability == kCapCommands || wire::kind_of(word) == wire::kind_of(query.property);
      const std::uint32_t place = place_of(query, word);
      if (!its_kind || place < next) return tl::unexpected(rc::kFailure);
      next = std::uint64_t{place} + 1;
      if (const auto seen = shown(query, word)) out.push_back(*seen);
      if (out.size() == wanted) return out;
    }
    if (!page.more || page.words.empty() || next > UINT32_MAX) return out;
    if (pages == kMaxPages) return tl::unexpected(rc::kFailure);
    auto following = port_.capability(query.capability, static_cast<std::uint32_t>(next), kMaxWords);
    if (!following) return tl::unexpected(following.error());
    page = std::move(*following);
  }
}

Result<ChipLists::Words> ChipLists::all(const CapabilityQuery& query) {
  auto first = port_.capability(query.capability, first_place(view_, query), kMaxWords);
  if (!first) return tl::unexpected(first.error());
  return sift(query, std::move(*first), SIZE_MAX);
}

Result<Bytes> ChipLists::parameters(const CapabilityQuery& query, ByteView first) {
  if (query.capability == kCapPcrs) {
    auto cleared = without_pcrs(first);
    if (!cleared) return tl::unexpected(rc::kFailure);
    return std::move(*cleared);
  }
  auto page = read_page(first, query.capability, kMaxWords);
  if (!page) return tl::unexpected(rc::kFailure);
  const std::size_t count = std::min(query.count, kMaxWords);
  const auto words = sift(query, std::move(*page), count + 1);
  if (!words) return tl::unexpected(words.error());
  const std::size_t given = std::min(count, words->size());
  Writer out;
  out.u8(given < words->size() ? 1 : 0).u32(query.capability).u32(static_cast<std::uint32_t>(given));
  for (std::size_t i = 0; i < given; ++i) out.u32((*words)[i]);
  return out.take();
}

Result<std::optional<std::uint32_t>> ChipLists::property(std::uint32_t property) {
  const bool of_commands = property == kTotalCommands || property == kLibraryCommands || property == kVendorCommands;
  if (!of_commands && property != kHrNvIndex && property != kHrPersistent) return std::nullopt;
  const CapabilityQuery& list = of_commands ? kCommands : property == kHrNvIndex ? kNvIndices : kPersistent;
  if (!hides(&view_, list)) return std::nullopt;
  if (!of_commands) {
    const auto words = all(list);
    if (!words) return tl::unexpected(words.error());
    return static_cast<std::uint32_t>(words->size());
  }
  if (!commands_) {
    auto words = all(list);
    if (!words) return tl::unexpected(words.error());
    commands_ = std::move(*words);
  }
  const auto vendor = std::count_if(commands_->begin(), commands_->end(),
                                    [](std::uint32_t word) { return wire::CommandAttributes{word}.vendor(); });
  const auto of_vendor = static_cast<std::uint32_t>(vendor);
  const auto in_all = static_cast<std::uint32_t>(commands_->size());
  return property == kTotalCommands ? in_all : property == kVendorCommands ? of_vendor : in_all - of_vendor;
}

}  // namespace tpmspace::space
