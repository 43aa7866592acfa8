#include "session_slots.h"

#include <algorithm>
#include <cassert>

#include "digest.h"

namespace tpmspace::simulation {

void Session::reset_policy() {
  password_needed = false;
  auth_value_needed = false;
  command_code = 0;
  pcr_counter = 0;
  locality = 0;
  nv_written.reset();
  std::fill(policy_digest.begin(), policy_digest.end(), std::uint8_t{0});
}

wire::Bytes Session::serialize() const {
  const auto flag = [](bool value, unsigned bit) { return value ? 1U << bit : 0U; };
  const auto flags = flag(keyed, 0) | flag(audit, 1) | flag(password_needed, 2) | flag(auth_value_needed, 3) |
                     flag(bound_to_protected, 4);
  return wire::Writer()
      .u8(static_cast<std::uint8_t>(type))
      .u16(nonce_size)
      .u8(static_cast<std::uint8_t>(flags))
      .u32(command_code)
      .u32(pcr_counter)
      .u8(locality)
      .u8(static_cast<std::uint8_t>(nv_written ? 1 + (*nv_written ? 1 : 0) : 0))
      .tpm2b(policy_digest)
      .take();
}

std::optional<Session> Session::parse(wire::ByteView bytes) {
  wire::Reader in(bytes);
  const auto type = in.u8();
  const auto nonce_size = in.u16();
  const auto flags = in.u8();
  const auto command_code = in.u32();
  const auto pcr_counter = in.u32();
  const auto locality = in.u8();
  const auto nv_written = in.u8();
  const auto digest = in.tpm2b();
  if (!digest || !in.empty()) return std::nullopt;
  Session out;
  out.type = static_cast<SessionType>(*type);
  out.nonce_size = *nonce_size;
  out.keyed = (*flags & 1) != 0;
  out.audit = (*flags & 2) != 0;
  out.password_needed = (*flags & 4) != 0;
  out.auth_value_needed = (*flags & 8) != 0;
  out.bound_to_protected = (*flags & 16) != 0;
  out.command_code = *command_code;
  out.pcr_counter = *pcr_counter;
  out.locality = *locality;
  if (*nv_written != 0) out.nv_written = *nv_written == 2;
  out.policy_digest = wire::to_bytes(*digest);
  return out;
}

std::uint32_t session_handle(std::uint32_t number, const Session& session) {
  return (session.is_policy() ? 0x03000000U : 0x02000000U) | number;
}

SessionSlots::SessionSlots(std::uint32_t loaded, std::uint32_t active, std::uint32_t gap)
    : mask_(gap), slots_(loaded), entries_(active), free_(loaded), counter_(loaded + 1), oldest_(active + 1) {}

bool SessionSlots::is_loaded(std::uint32_t number) const {
  return number < entries_.size() && entries_[number] != 0 && entries_[number] <= slots_.size();
}

bool SessionSlots::is_saved(std::uint32_t number) const {
  return number < entries_.size() && entries_[number] > slots_.size();
}

Session& SessionSlots::get(std::uint32_t number) {
  return *slots_[entries_[number] - 1];
}
const Session& SessionSlots::get(std::uint32_t number) const {
  return *slots_[entries_[number] - 1];
}

std::uint32_t SessionSlots::free_slot() const {
  const auto slot = std::find(slots_.begin(), slots_.end(), std::nullopt);
  assert(slot != slots_.end());
  return static_cast<std::uint32_t>(slot - slots_.begin());
}

tl::expected<std::uint32_t, wire::Rc> SessionSlots::create(Session session) {
  if (free_ == 0) return tl::unexpected(wire::rc::kSessionMemory);
  // The last slot must stay usable for refreshing the oldest.
  if (free_ == 1 && gap_is_closed()) return tl::unexpected(wire::rc::kContextGap);
  const auto entry = std::find(entries_.begin(), entries_.end(), 0U);
  if (entry == entries_.end()) return tl::unexpected(wire::rc::kSessionHandles);
  const std::uint32_t slot = free_slot();
  *entry = slot + 1;
  slots_[slot] = std::move(session);
  --free_;
  return static_cast<std::uint32_t>(entry - entries_.begin());
}

tl::expected<std::uint64_t, wire::Rc> SessionSlots::save(std::uint32_t number) {
  if (gap_is_closed()) return tl::unexpected(wire::rc::kContextGap);
  const std::uint64_t sequence = counter_;
  slots_[entries_[number] - 1].reset();
  ++free_;
  entries_[number] = low_bits(sequence);
  ++counter_;
  // The values that mean "loaded" are skipped.
  if (low_bits(counter_) == 0) counter_ += slots_.size() + 1;
  if (!has_oldest()) oldest_ = number;
  return sequence;
}

bool SessionSlots::is_current(std::uint32_t number, std::uint64_t sequence) const {
  return is_saved(number) && entries_[number] == low_bits(sequence) && sequence <= counter_ &&
         counter_ - sequence <= mask_ + 1;
}

wire::Rc SessionSlots::load(std::uint32_t number, Session session) {
  if (free_ == 0) return wire::rc::kSessionMemory;
  if (free_ == 1 && gap_is_closed() && number != oldest_) return wire::rc::kContextGap;
  const std::uint32_t slot = free_slot();
  entries_[number] = slot + 1;
  if (number == oldest_) find_oldest();
  slots_[slot] = std::move(session);
  --free_;
  return wire::rc::kSuccess;
}

void SessionSlots::flush(std::uint32_t number) {
  const std::uint32_t entry = entries_[number];
  entries_[number] = 0;
  if (entry > slots_.size()) {
    if (number == oldest_) find_oldest();
    return;
  }
  slots_[entry - 1].reset();
  ++free_;
}

void SessionSlots::forget_loaded() {
  for (auto& entry : entries_)
    if (entry <= slots_.size()) entry = 0;
  std::fill(slots_.begin(), slots_.end(), std::nullopt);
  free_ = static_cast<std::uint32_t>(slots_.size());
  find_oldest();
}

void SessionSlots::forget_all() {
  *this = SessionSlots(static_cast<std::uint32_t>(slots_.size()), limit(), static_cast<std::uint32_t>(mask_));
}

tl::expected<std::pair<std::uint32_t, std::uint64_t>, wire::Rc> SessionSlots::adopt(const Session& session) {
  const auto number = create(session);
  if (!number) return tl::unexpected(number.error());
  const auto sequence = save(*number);
  if (!sequence) {
    flush(*number);
    return tl::unexpected(sequence.error());
  }
  return std::pair(*number, *sequence);
}

std::uint32_t SessionSlots::active_count() const {
  return static_cast<std::uint32_t>(
      std::count_if(entries_.begin(), entries_.end(), [](std::uint32_t entry) { return entry != 0; }));
}

void SessionSlots::find_oldest() {
  oldest_ = entries_.size() + 1;
  std::uint32_t smallest = low_bits(mask_);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i] <= slots_.size()) continue;
    // Distance from the counter, going up round the ring: the oldest is the next one to be reached.
    const std::uint32_t distance = low_bits(entries_[i] - low_bits(counter_));
    if (distance <= smallest) {
      smallest = distance;
      oldest_ = i;
    }
  }
}

}  // namespace tpmspace::simulation
