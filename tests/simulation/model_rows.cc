// The model's commands: handles, roles, code. One row each, ordered by command code.
// Source: TPM 2.0 library, Part 3 (the tables of each command).
#include <algorithm>
#include <array>

#include "model_state.h"

namespace tpmspace::simulation {
namespace {

using H = HandleType;
namespace cc = wire::cc;

constexpr std::array kObject = {H::kObject};
constexpr std::array kTwoObjects = {H::kObject, H::kObject};
constexpr std::array kPcrAndObject = {H::kPcrOrNull, H::kObject};
constexpr std::array kPcr = {H::kPcrOrNull};
constexpr std::array kEvict = {H::kProvision, H::kObject};
constexpr std::array kEnables = {H::kEnables};
constexpr std::array kClear = {H::kClear};
constexpr std::array kNvIndex = {H::kNvIndex};
constexpr std::array kLockout = {H::kLockout};
constexpr std::array kPlatform = {H::kPlatform};
constexpr std::array kHierarchy = {H::kHierarchyOrNull};
constexpr std::array kParent = {H::kParent};
constexpr std::array kContext = {H::kContext};
constexpr std::array kStartSession = {H::kObjectOrNull, H::kEntityOrNull};
constexpr std::array kPolicy = {H::kPolicySession};
constexpr std::array kSecret = {H::kEntity, H::kPolicySession};

// clang-format off
constexpr std::array kRows = {
    ModelRow{cc::kEvictControl, kEvict, 1, false, commands::evict_control},
    ModelRow{cc::kHierarchyControl, kEnables, 1, false, commands::hierarchy_control},
    ModelRow{cc::kChangeEPS, kPlatform, 1, false, commands::change_eps},
    ModelRow{cc::kChangePPS, kPlatform, 1, false, commands::change_pps},
    ModelRow{cc::kClear, kClear, 1, false, commands::clear},
    ModelRow{cc::kCreatePrimary, kHierarchy, 1, false, commands::create_primary},
    ModelRow{cc::kDictionaryAttackLockReset, kLockout, 1, false, commands::dictionary_attack_lock_reset},
    ModelRow{cc::kDictionaryAttackParameters, kLockout, 1, false, commands::dictionary_attack_parameters},
    ModelRow{cc::kSequenceComplete, kObject, 1, false, commands::sequence_complete},
    ModelRow{cc::kSelfTest, {}, 0, false, commands::self_test},
    ModelRow{cc::kStartup, {}, 0, false, commands::startup},
    ModelRow{cc::kShutdown, {}, 0, false, commands::shutdown},
    ModelRow{cc::kObjectChangeAuth, kTwoObjects, 1, true, commands::object_change_auth},
    ModelRow{cc::kPolicySecret, kSecret, 1, false, commands::policy_secret},
    ModelRow{cc::kCreate, kObject, 1, false, commands::create},
    ModelRow{cc::kLoad, kObject, 1, false, commands::load},
    ModelRow{cc::kHMACStart, kObject, 1, false, commands::hmac_start},
    ModelRow{cc::kSequenceUpdate, kObject, 1, false, commands::sequence_update},
    ModelRow{cc::kSign, kObject, 1, false, commands::sign},
    ModelRow{cc::kUnseal, kObject, 1, false, commands::unseal},
    ModelRow{cc::kContextLoad, {}, 0, false, commands::context_load},
    ModelRow{cc::kContextSave, kContext, 0, false, commands::context_save},
    ModelRow{cc::kFlushContext, {}, 0, false, commands::flush_context},
    ModelRow{cc::kLoadExternal, {}, 0, false, commands::load_external},
    ModelRow{cc::kNVReadPublic, kNvIndex, 0, false, commands::nv_read_public},
    ModelRow{cc::kPolicyAuthValue, kPolicy, 0, false, commands::policy_auth_value},
    ModelRow{cc::kPolicyCommandCode, kPolicy, 0, false, commands::policy_command_code},
    ModelRow{cc::kPolicyLocality, kPolicy, 0, false, commands::policy_locality},
    ModelRow{cc::kPolicyOR, kPolicy, 0, false, commands::policy_or},
    ModelRow{cc::kReadPublic, kObject, 0, false, commands::read_public},
    ModelRow{cc::kStartAuthSession, kStartSession, 0, false, commands::start_auth_session},
    ModelRow{cc::kGetCapability, {}, 0, false, commands::get_capability},
    ModelRow{cc::kGetRandom, {}, 0, false, commands::get_random},
    ModelRow{cc::kGetTestResult, {}, 0, false, commands::get_test_result},
    ModelRow{cc::kPCRRead, {}, 0, false, commands::pcr_read},
    ModelRow{cc::kPolicyPCR, kPolicy, 0, false, commands::policy_pcr},
    ModelRow{cc::kPolicyRestart, kPolicy, 0, false, commands::policy_restart},
    ModelRow{cc::kReadClock, {}, 0, false, commands::read_clock},
    ModelRow{cc::kPCRExtend, kPcr, 1, false, commands::pcr_extend},
    ModelRow{cc::kEventSequenceComplete, kPcrAndObject, 2, false, commands::event_sequence_complete},
    ModelRow{cc::kHashSequenceStart, {}, 0, false, commands::hash_sequence_start},
    ModelRow{cc::kPolicyGetDigest, kPolicy, 0, false, commands::policy_get_digest},
    ModelRow{cc::kPolicyPassword, kPolicy, 0, false, commands::policy_password},
    ModelRow{cc::kPolicyNvWritten, kPolicy, 0, false, commands::policy_nv_written},
    ModelRow{cc::kCreateLoaded, kParent, 1, false, commands::create_loaded},
};
// clang-format on
static_assert(std::is_sorted(kRows.begin(), kRows.end(),
                             [](const ModelRow& a, const ModelRow& b) { return a.code < b.code; }));

}  // namespace

std::span<const ModelRow> all_rows() {
  return kRows;
}

const ModelRow* find_row(wire::CommandCode code) {
  const auto row = std::lower_bound(kRows.begin(), kRows.end(), code,
                                    [](const ModelRow& r, wire::CommandCode wanted) { return r.code < wanted; });
  return row != kRows.end() && row->code == code ? &*row : nullptr;
}

}  // namespace tpmspace::simulation
