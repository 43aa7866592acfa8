// A TPM's sessions: a few loaded sessions, and for every active session an entry with its place.
//
// Idea: the reference code's contextArray, entry for entry, because the manager must live with its corners. An entry is
// 0 (free), 1..loaded (in that slot), or the low bits of the sequence number the session was last saved under. Sequence
// numbers only grow; as entries keep the low bits only, the oldest saved session must be refreshed before the counter
// comes round to it: CONTEXT_GAP.
// Threads: none. Units: sessions. Errors: TPM response codes.
// Source: TPM 2.0 library, Part 1, 30.5 (context management); Part 4, 8.9 (Session.c). tpm-behaviour 10, 25, 26.
#pragma once

#include <cstdint>
#include <optional>
#include <tl/expected.hpp>
#include <vector>

#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::simulation {

enum class SessionType : std::uint8_t { kHmac = 0, kPolicy = 1, kTrial = 3 };

// A session's data in a saved context.
struct Session {
  SessionType type = SessionType::kHmac;
  std::uint16_t nonce_size = 0;
  bool keyed = false;  // bound or salted: it has a key, and so every HMAC that a client of ours sends is wrong
  bool bound_to_protected = false;  // each wrong HMAC is counted
  bool audit = false;
  bool password_needed = false;
  bool auth_value_needed = false;
  std::uint32_t command_code = 0;  // PolicyCommandCode; 0: any
  std::uint32_t pcr_counter = 0;   // PolicyPCR: the chip's then; 0: none
  std::uint8_t locality = 0;       // PolicyLocality; 0: any
  std::optional<bool> nv_written;  // PolicyNvWritten
  wire::Bytes policy_digest;

  [[nodiscard]] bool is_policy() const { return type != SessionType::kHmac; }
  // The data that PolicyRestart and a successful use in the authorization area forget (tpm-behaviour 22).
  void reset_policy();

  [[nodiscard]] wire::Bytes serialize() const;
  [[nodiscard]] static std::optional<Session> parse(wire::ByteView bytes);
};

// The handle as a TPM gives it: HMAC sessions 0x02nnnnnn, policy and trial sessions 0x03nnnnnn.
[[nodiscard]] std::uint32_t session_handle(std::uint32_t number, const Session& session);

class SessionSlots {
 public:
  // `gap`: 255 or 65535 (a mask of low bits). `loaded` < `gap`.
  SessionSlots(std::uint32_t loaded, std::uint32_t active, std::uint32_t gap);

  [[nodiscard]] bool is_loaded(std::uint32_t number) const;
  [[nodiscard]] bool is_saved(std::uint32_t number) const;
  [[nodiscard]] bool is_active(std::uint32_t number) const { return is_loaded(number) || is_saved(number); }
  // Precondition: is_loaded(number).
  [[nodiscard]] Session& get(std::uint32_t number);
  [[nodiscard]] const Session& get(std::uint32_t number) const;

  // The lowest free number. SESSION_MEMORY, CONTEXT_GAP or SESSION_HANDLES.
  [[nodiscard]] tl::expected<std::uint32_t, wire::Rc> create(Session session);
  // Frees the slot; the sequence number to write into the blob. CONTEXT_GAP. Precondition: is_loaded(number).
  [[nodiscard]] tl::expected<std::uint64_t, wire::Rc> save(std::uint32_t number);
  // Whether this is the one blob of that session that may be loaded.
  [[nodiscard]] bool is_current(std::uint32_t number, std::uint64_t sequence) const;
  // SESSION_MEMORY or CONTEXT_GAP. Precondition: is_current.
  [[nodiscard]] wire::Rc load(std::uint32_t number, Session session);
  // Precondition: is_active(number).
  void flush(std::uint32_t number);

  void forget_loaded();  // TPM Restart, TPM Resume
  void forget_all();     // TPM Reset
  // An entry for a session that was saved elsewhere, as if saved here just now: its number and sequence.
  [[nodiscard]] tl::expected<std::pair<std::uint32_t, std::uint64_t>, wire::Rc> adopt(const Session& session);

  [[nodiscard]] std::uint32_t limit() const { return static_cast<std::uint32_t>(entries_.size()); }
  [[nodiscard]] std::uint32_t free_slots() const { return free_; }
  [[nodiscard]] std::uint32_t loaded_count() const { return static_cast<std::uint32_t>(slots_.size()) - free_; }
  [[nodiscard]] std::uint32_t active_count() const;

 private:
  [[nodiscard]] std::uint32_t low_bits(std::uint64_t value) const { return static_cast<std::uint32_t>(value & mask_); }
  [[nodiscard]] bool has_oldest() const { return oldest_ < entries_.size(); }
  // Whether the next sequence number to be given collides with the oldest saved session's.
  [[nodiscard]] bool gap_is_closed() const { return has_oldest() && entries_[oldest_] == low_bits(counter_); }
  [[nodiscard]] std::uint32_t free_slot() const;  // precondition: free_ > 0
  void find_oldest();

  std::uint64_t mask_;
  std::vector<std::optional<Session>> slots_;
  std::vector<std::uint32_t> entries_;
  std::uint32_t free_;
  std::uint64_t counter_;
  std::size_t oldest_;
};

}  // namespace tpmspace::simulation
