// The parts of a model TPM, and a running command's view of them. Private to the model's own files.
// Threads: none.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model_tpm.h"
#include "object_slots.h"
#include "session_slots.h"
#include "wire/command.h"

namespace tpmspace::simulation {

inline constexpr std::uint32_t kRhOwner = 0x40000001;
inline constexpr std::uint32_t kRhNull = 0x40000007;
inline constexpr std::uint32_t kRhLockout = 0x4000000A;
inline constexpr std::uint32_t kRhEndorsement = 0x4000000B;
inline constexpr std::uint32_t kRhPlatform = 0x4000000C;
inline constexpr std::uint32_t kRhPlatformNv = 0x4000000D;

// The state that Shutdown(STATE) saves, for a Restart or a Resume.
struct SavedState {
  SessionSlots sessions;
  HierarchyState owner, endorsement;
  std::array<wire::Bytes, kPcrs> pcrs;
  std::uint32_t pcr_counter = 0;
  std::uint32_t restart_count = 0;
  std::uint64_t clear_count = 0;
  std::uint64_t object_contexts = 0;
};

struct ModelState {
  ModelState(const ModelTpm::Limits& model_limits, VirtualClock& model_clock, std::shared_ptr<ChipState> shared_chip)
      : limits(model_limits),
        clock(model_clock),
        chip(std::move(shared_chip)),
        objects(limits.object_slots),
        sessions(limits.loaded_sessions, limits.active_sessions, limits.context_gap) {}

  ModelTpm::Limits limits;
  VirtualClock& clock;
  std::shared_ptr<ChipState> chip;
  ObjectSlots objects;
  SessionSlots sessions;
  std::optional<SavedState> saved_state;      // present while the TPM is orderly shut down for STATE
  std::uint32_t exclusive_audit_session = 0;  // handle; 0: none
  std::uint64_t seen_resets = 0;              // of the chip, when volatile state was last valid
  std::uint64_t seen_restarts = 0, seen_clears = 0;
  std::uint64_t random = 1;  // nonces and GetRandom

  // Drops entities that the chip lost since the last command: by a reset, or with a hierarchy.
  void catch_up();
  // As the manufacturer made it.
  void begin_tries_anew();
  [[nodiscard]] Shelf& persistent() const { return chip->shelves[limits.shelf]; }
  [[nodiscard]] wire::Bytes random_bytes(std::size_t count);
};

// One authorization of the command area.
struct SessionUse {
  std::uint32_t handle = 0;
  std::uint8_t attributes = 0;
  wire::Bytes hmac;
  bool authorizes = false;

  [[nodiscard]] bool is_password() const { return handle == wire::kPasswordSession; }
  [[nodiscard]] bool has(std::uint8_t attribute) const { return (attributes & attribute) != 0; }
};

// Reads parameters in order. The first failure sticks and is numbered by the parameter it happened in; `end` adds the
// one for bytes left over.
class Parameters {
 public:
  explicit Parameters(wire::ByteView area) : in_(area) {}

  [[nodiscard]] std::uint8_t u8() { return integer(in_.u8()); }
  [[nodiscard]] std::uint16_t u16() { return integer(in_.u16()); }
  [[nodiscard]] std::uint32_t u32() { return integer(in_.u32()); }
  [[nodiscard]] wire::Bytes tpm2b();
  [[nodiscard]] wire::Reader& raw() { return in_; }
  // The next parameter begins.
  void next() { ++number_; }
  void fail(wire::Rc code) {
    if (failure_ == 0) failure_ = wire::rc::in_parameter(code, number_);
  }
  [[nodiscard]] wire::Rc end() const {
    if (failure_ != 0) return failure_;
    return in_.empty() ? wire::rc::kSuccess : wire::rc::kSize;
  }

 private:
  template <typename T>
  T integer(std::optional<T> value) {
    if (!value) fail(wire::rc::kInsufficient);
    return value.value_or(T{0});
  }

  wire::Reader in_;
  unsigned number_ = 1;
  wire::Rc failure_ = 0;
};

// A command under way.
struct Call {
  ModelState& tpm;
  wire::CommandCode code;
  std::uint8_t locality;
  std::vector<std::uint32_t> stated_handles;  // as the client wrote them
  std::vector<std::uint32_t> handles;         // persistent objects replaced by the slot they are copied to
  std::vector<SessionUse> uses;
  Parameters in;
  std::optional<std::uint32_t> response_handle;
  wire::Writer out;

  // Precondition: that handle names a loaded object.
  [[nodiscard]] Object& object(std::size_t index) { return *tpm.objects.find(handles[index]); }
  [[nodiscard]] Object* object_or_null(std::size_t index) { return tpm.objects.find(handles[index]); }
  // Precondition: that handle names a loaded session.
  [[nodiscard]] Session& session(std::size_t index) { return tpm.sessions.get(wire::number_of(handles[index])); }
  // A state change that ends the orderliness of a Shutdown.
  void clear_orderly() { tpm.saved_state.reset(); }
};

using Handler = wire::Rc (*)(Call&);

// The handles that a command accepts in its handle area (TPMI_..., Part 2, 9).
enum class HandleType : std::uint8_t {
  kObject,
  kObjectOrNull,
  kEntity,  // TPMI_DH_ENTITY
  kEntityOrNull,
  kHierarchyOrNull,
  kParent,     // TPMI_DH_PARENT with NULL
  kProvision,  // owner, platform
  kEnables,    // owner, endorsement, platform
  kClear,      // lockout, platform
  kLockout,
  kNvIndex,
  kPlatform,
  kPcrOrNull,
  kPolicySession,
  kContext,  // object or session of any kind
};

struct ModelRow {
  wire::CommandCode code = 0;
  std::span<const HandleType> handles;
  unsigned authorizations = 0;  // of the first so many handles
  bool admin = false;           // ADMIN role on the first handle
  Handler handler = nullptr;
};

// Null: not a command of the model.
[[nodiscard]] const ModelRow* find_row(wire::CommandCode code);
[[nodiscard]] std::span<const ModelRow> all_rows();

// The steps before a command's own code. kSuccess or a complete response code.
[[nodiscard]] wire::Rc take_handles(const ModelRow& row, wire::Reader& in, Call& call);
[[nodiscard]] wire::Rc resolve_handles(Call& call);
[[nodiscard]] wire::Rc take_authorizations(const ModelRow& row, wire::ByteView area, Call& call);
[[nodiscard]] wire::Rc check_no_authorizations(const ModelRow& row);
// And after it: audit, nonces, ends of sessions. The authorization area of the response.
[[nodiscard]] wire::Bytes finish_sessions(Call& call);
[[nodiscard]] bool sessions_allowed(wire::CommandCode code);
// The value of a PCR; it need not have been set since the start.
[[nodiscard]] wire::Bytes pcr_value(const ChipState& chip, std::size_t pcr);
// TPML_PCR_SELECTION, of the only bank: the selected existing PCRs, as they are hashed.
struct PcrSelection {
  std::vector<std::size_t> pcrs;
  wire::Bytes marshalled;
};
[[nodiscard]] PcrSelection take_selection(Parameters& in);
// The Name of a handle in `Call::handles` (Part 1, 16).
[[nodiscard]] wire::Bytes name_of(Call& call, std::size_t index);

namespace commands {
wire::Rc startup(Call&);
wire::Rc shutdown(Call&);
wire::Rc self_test(Call&);
wire::Rc get_test_result(Call&);
wire::Rc get_capability(Call&);
wire::Rc get_random(Call&);
wire::Rc read_clock(Call&);
wire::Rc create_primary(Call&);
wire::Rc create(Call&);
wire::Rc load(Call&);
wire::Rc load_external(Call&);
wire::Rc create_loaded(Call&);
wire::Rc read_public(Call&);
wire::Rc nv_read_public(Call&);
wire::Rc sign(Call&);
wire::Rc unseal(Call&);
wire::Rc object_change_auth(Call&);
wire::Rc evict_control(Call&);
wire::Rc context_save(Call&);
wire::Rc context_load(Call&);
wire::Rc flush_context(Call&);
wire::Rc hash_sequence_start(Call&);
wire::Rc hmac_start(Call&);
wire::Rc sequence_update(Call&);
wire::Rc sequence_complete(Call&);
wire::Rc event_sequence_complete(Call&);
wire::Rc start_auth_session(Call&);
wire::Rc policy_command_code(Call&);
wire::Rc policy_password(Call&);
wire::Rc policy_auth_value(Call&);
wire::Rc policy_restart(Call&);
wire::Rc policy_get_digest(Call&);
wire::Rc policy_secret(Call&);
wire::Rc policy_pcr(Call&);
wire::Rc policy_or(Call&);
wire::Rc policy_nv_written(Call&);
wire::Rc policy_locality(Call&);
wire::Rc clear(Call&);
wire::Rc dictionary_attack_lock_reset(Call&);
wire::Rc dictionary_attack_parameters(Call&);
wire::Rc hierarchy_control(Call&);
wire::Rc change_eps(Call&);
wire::Rc change_pps(Call&);
wire::Rc pcr_extend(Call&);
wire::Rc pcr_read(Call&);
}  // namespace commands

}  // namespace tpmspace::simulation
