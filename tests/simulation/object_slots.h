// A model TPM's objects, and the few slots of loaded objects.
//
// Idea: a key is an id; two keys are the same iff their ids are. Deterministic answers of a real TPM (Names, keyed-hash
// signatures, sequences) is answered as a real one would, so that libtpms can be compared with.
// Threads: none. Errors: an absent value. Source: TPM 2.0 library, Part 2, 12.2 (TPMT_PUBLIC); Part 1, 27 and 30.4.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "wire/bytes.h"
#include "wire/handle.h"

namespace tpmspace::simulation {

namespace alg {
inline constexpr std::uint16_t kRsa = 0x0001;
inline constexpr std::uint16_t kHmac = 0x0005;
inline constexpr std::uint16_t kAes = 0x0006;
inline constexpr std::uint16_t kKeyedHash = 0x0008;
inline constexpr std::uint16_t kSha256 = 0x000B;
inline constexpr std::uint16_t kNull = 0x0010;
inline constexpr std::uint16_t kEcdsa = 0x0018;
inline constexpr std::uint16_t kEcc = 0x0023;
inline constexpr std::uint16_t kSymCipher = 0x0025;
inline constexpr std::uint16_t kCfb = 0x0043;
}  // namespace alg

// TPMA_OBJECT (Part 2, 8.3).
namespace object_attribute {
inline constexpr std::uint32_t kFixedTpm = 0x00000002;
inline constexpr std::uint32_t kStClear = 0x00000004;
inline constexpr std::uint32_t kFixedParent = 0x00000010;
inline constexpr std::uint32_t kSensitiveDataOrigin = 0x00000020;
inline constexpr std::uint32_t kUserWithAuth = 0x00000040;
inline constexpr std::uint32_t kAdminWithPolicy = 0x00000080;
inline constexpr std::uint32_t kNoDa = 0x00000400;
inline constexpr std::uint32_t kRestricted = 0x00010000;
inline constexpr std::uint32_t kDecrypt = 0x00020000;
inline constexpr std::uint32_t kSign = 0x00040000;
}  // namespace object_attribute

struct PublicArea {
  std::uint16_t type = alg::kNull;
  std::uint16_t name_alg = alg::kNull;
  std::uint32_t attributes = 0;
  wire::Bytes policy;
  std::uint16_t scheme = alg::kNull;
  std::uint16_t scheme_hash = alg::kNull;
  wire::Bytes parameters;  // TPMU_PUBLIC_PARMS as it came
  wire::Bytes unique;      // TPMU_PUBLIC_ID as it goes out

  [[nodiscard]] bool has(std::uint32_t attribute) const { return (attributes & attribute) != 0; }
  [[nodiscard]] bool is_parent() const {
    return has(object_attribute::kRestricted) && has(object_attribute::kDecrypt) && type != alg::kKeyedHash;
  }
  [[nodiscard]] bool is_asymmetric() const { return type == alg::kRsa || type == alg::kEcc; }
  [[nodiscard]] wire::Bytes marshal() const;
  [[nodiscard]] wire::Bytes name() const;
  // Reads one TPMT_PUBLIC and leaves the reader behind it. nullopt: not one.
  [[nodiscard]] static std::optional<PublicArea> parse(wire::Reader& in);
};

enum class SequenceKind : std::uint8_t { kNone, kHash, kHmac, kEvent };

struct Object {
  PublicArea area;
  wire::Bytes id;              // tells keys apart; 32 bytes
  wire::Bytes auth;            // without trailing zeros
  wire::Bytes sensitive;       // sealed data, or the key of a keyed hash
  wire::Bytes qualified_name;  // proves the parent
  wire::Hierarchy hierarchy = wire::Hierarchy::kNull;
  bool temporary = false;
  bool st_clear = false;
  bool public_only = false;
  SequenceKind sequence = SequenceKind::kNone;
  wire::Bytes fed;  // to a sequence, so far

  std::uint64_t epoch = 0;              // of its hierarchy, when it was loaded; not part of a saved context
  std::uint32_t persistent_handle = 0;  // 0: transient
  bool leaves_after_command = false;    // a copy of a persistent object, or a completed sequence

  [[nodiscard]] bool is_sequence() const { return sequence != SequenceKind::kNone; }
  // A wrong authorization of it is counted.
  [[nodiscard]] bool is_protected() const { return !is_sequence() && !area.has(object_attribute::kNoDa); }
  [[nodiscard]] wire::Bytes serialize() const;
  [[nodiscard]] static std::optional<Object> parse(wire::ByteView bytes);
};

class ObjectSlots {
 public:
  explicit ObjectSlots(std::uint32_t limit) : limit_(limit) {}

  [[nodiscard]] std::uint32_t limit() const { return limit_; }
  [[nodiscard]] bool full() const { return loaded_.size() >= limit_; }
  [[nodiscard]] std::uint32_t free_slots() const { return limit_ - static_cast<std::uint32_t>(loaded_.size()); }
  // Null: nothing there.
  [[nodiscard]] Object* find(std::uint32_t handle);
  // The lowest free handle. Precondition: !full().
  std::uint32_t add(Object object);
  // The highest one, where it disturbs no numbering. Precondition: !full().
  std::uint32_t add_at_the_top(Object object);
  void remove(std::uint32_t handle) { loaded_.erase(handle); }
  void move(std::uint32_t from, std::uint32_t to) {
    auto node = loaded_.extract(from);
    node.key() = to;
    loaded_.insert(std::move(node));
  }
  void clear() { loaded_.clear(); }
  template <typename Predicate>
  void remove_if(Predicate predicate) {
    std::erase_if(loaded_, [&](const auto& entry) { return predicate(entry.second); });
  }
  [[nodiscard]] const std::map<std::uint32_t, Object>& loaded() const { return loaded_; }

 private:
  std::uint32_t limit_;
  std::map<std::uint32_t, Object> loaded_;  // by handle
};

}  // namespace tpmspace::simulation
