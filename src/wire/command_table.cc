#include "wire/command_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace tpmspace::wire {
namespace {

using P = PermissionClass;
using D = DurationClass;
using U = HandleUse;
using N = Names;

// clang-format off
constexpr CommandRow kRows[] = {
    {.code = cc::kNVUndefineSpaceSpecial, .name = "TPM2_NV_UndefineSpaceSpecial", .handles = 2, .uses = {U::kNvDefine, U::kAuthority}, .auth_handles = 2, .permission = P::kNvDefine, .duration = D::kMedium, .section = "31.5", .affects_others = true, .nv = true},
    {.code = cc::kEvictControl, .name = "TPM2_EvictControl", .handles = 2, .uses = {U::kAuthority, U::kEvict}, .auth_handles = 1, .permission = P::kEvict, .duration = D::kMedium, .names = {N::kPersistent, 0}, .section = "28.5", .affects_others = true, .nv = true},
    {.code = cc::kHierarchyControl, .name = "TPM2_HierarchyControl", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kMedium, .names = {N::kHierarchy, 0}, .section = "24.2", .affects_others = true, .nv = true, .extensive = true, .effect = Effect::kHierarchyControl},
    {.code = cc::kNVUndefineSpace, .name = "TPM2_NV_UndefineSpace", .handles = 2, .uses = {U::kAuthority, U::kNvDefine}, .auth_handles = 1, .permission = P::kNvDefine, .duration = D::kMedium, .section = "31.4", .affects_others = true, .nv = true},
    {.code = cc::kChangeEPS, .name = "TPM2_ChangeEPS", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kLong, .section = "24.5", .affects_others = true, .nv = true, .extensive = true, .effect = Effect::kChangeEps},
    {.code = cc::kChangePPS, .name = "TPM2_ChangePPS", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kLong, .section = "24.4", .affects_others = true, .nv = true, .extensive = true, .effect = Effect::kChangePps},
    {.code = cc::kClear, .name = "TPM2_Clear", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kLong, .section = "24.6", .affects_others = true, .nv = true, .extensive = true, .effect = Effect::kClear},
    {.code = cc::kClearControl, .name = "TPM2_ClearControl", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kMedium, .section = "24.7", .affects_others = true, .nv = true},
    {.code = cc::kClockSet, .name = "TPM2_ClockSet", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "29.2", .affects_others = true, .nv = true},
    {.code = cc::kHierarchyChangeAuth, .name = "TPM2_HierarchyChangeAuth", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kMedium, .section = "24.8", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kNVDefineSpace, .name = "TPM2_NV_DefineSpace", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kNvDefine, .duration = D::kMedium, .names = {N::kNvPublic, 1}, .section = "31.3", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kPCRAllocate, .name = "TPM2_PCR_Allocate", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "22.5", .affects_others = true, .nv = true},
    {.code = cc::kPCRSetAuthPolicy, .name = "TPM2_PCR_SetAuthPolicy", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "22.6", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kPPCommands, .name = "TPM2_PP_Commands", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "26.2", .affects_others = true, .nv = true},
    {.code = cc::kSetPrimaryPolicy, .name = "TPM2_SetPrimaryPolicy", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kMedium, .section = "24.3", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kFieldUpgradeStart, .name = "TPM2_FieldUpgradeStart", .handles = 2, .uses = {U::kAuthority, U::kUse}, .auth_handles = 1, .permission = P::kFirmware, .duration = D::kKeygen, .section = "27.2", .encryptable = true, .affects_others = true},
    {.code = cc::kClockRateAdjust, .name = "TPM2_ClockRateAdjust", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kShort, .section = "29.3", .affects_others = true},
    {.code = cc::kCreatePrimary, .name = "TPM2_CreatePrimary", .handles = 1, .uses = {U::kParent}, .auth_handles = 1, .permission = P::kCreateKeys, .duration = D::kKeygen, .names = {N::kPcrs, 3}, .section = "24.1", .encryptable = true, .creates = Creates::kObject},
    {.code = cc::kNVGlobalWriteLock, .name = "TPM2_NV_GlobalWriteLock", .handles = 1, .uses = {U::kNvLockAll}, .auth_handles = 1, .permission = P::kNvLock, .duration = D::kMedium, .section = "31.12", .affects_others = true, .nv = true},
    {.code = cc::kGetCommandAuditDigest, .name = "TPM2_GetCommandAuditDigest", .handles = 2, .uses = {U::kAuthority, U::kUse}, .auth_handles = 2, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "18.6", .encryptable = true, .nv = true},
    {.code = cc::kNVIncrement, .name = "TPM2_NV_Increment", .handles = 2, .uses = {U::kNvAuthority, U::kNvWrite}, .auth_handles = 1, .permission = P::kNvWrite, .duration = D::kMedium, .section = "31.8", .nv = true},
    {.code = cc::kNVSetBits, .name = "TPM2_NV_SetBits", .handles = 2, .uses = {U::kNvAuthority, U::kNvWrite}, .auth_handles = 1, .permission = P::kNvWrite, .duration = D::kMedium, .section = "31.10", .nv = true},
    {.code = cc::kNVExtend, .name = "TPM2_NV_Extend", .handles = 2, .uses = {U::kNvAuthority, U::kNvWrite}, .auth_handles = 1, .permission = P::kNvWrite, .duration = D::kMedium, .section = "31.9", .encryptable = true, .nv = true},
    {.code = cc::kNVWrite, .name = "TPM2_NV_Write", .handles = 2, .uses = {U::kNvAuthority, U::kNvWrite}, .auth_handles = 1, .permission = P::kNvWrite, .duration = D::kMedium, .section = "31.7", .encryptable = true, .nv = true},
    {.code = cc::kNVWriteLock, .name = "TPM2_NV_WriteLock", .handles = 2, .uses = {U::kNvAuthority, U::kNvLock}, .auth_handles = 1, .permission = P::kNvLock, .duration = D::kMedium, .section = "31.11", .affects_others = true, .nv = true},
    {.code = cc::kDictionaryAttackLockReset, .name = "TPM2_DictionaryAttackLockReset", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kLockout, .duration = D::kMedium, .section = "25.2", .affects_others = true, .nv = true},
    {.code = cc::kDictionaryAttackParameters, .name = "TPM2_DictionaryAttackParameters", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kLockout, .duration = D::kMedium, .section = "25.3", .affects_others = true, .nv = true},
    {.code = cc::kNVChangeAuth, .name = "TPM2_NV_ChangeAuth", .handles = 1, .uses = {U::kNvDefine}, .auth_handles = 1, .permission = P::kNvWrite, .duration = D::kMedium, .section = "31.15", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kPCREvent, .name = "TPM2_PCR_Event", .handles = 1, .uses = {U::kPcrExtend}, .auth_handles = 1, .permission = P::kPcrExtend, .duration = D::kMedium, .section = "22.3", .encryptable = true, .nv = true},
    {.code = cc::kPCRReset, .name = "TPM2_PCR_Reset", .handles = 1, .uses = {U::kPcrReset}, .auth_handles = 1, .permission = P::kPcrReset, .duration = D::kShort, .section = "22.8", .affects_others = true, .nv = true},
    {.code = cc::kSequenceComplete, .name = "TPM2_SequenceComplete", .handles = 1, .uses = {U::kOwn}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .names = {N::kHierarchy, 1}, .section = "17.6", .encryptable = true, .flushes_handle = 0},
    {.code = cc::kSetAlgorithmSet, .name = "TPM2_SetAlgorithmSet", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "26.3", .affects_others = true, .nv = true},
    {.code = cc::kSetCommandCodeAuditStatus, .name = "TPM2_SetCommandCodeAuditStatus", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kAudit, .duration = D::kMedium, .section = "21.2", .affects_others = true, .nv = true},
    {.code = cc::kFieldUpgradeData, .name = "TPM2_FieldUpgradeData", .handles = 0, .auth_handles = 0, .permission = P::kFirmware, .duration = D::kKeygen, .section = "27.3", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kIncrementalSelfTest, .name = "TPM2_IncrementalSelfTest", .handles = 0, .auth_handles = 0, .permission = P::kPower, .duration = D::kLong, .section = "10.3", .nv = true},
    {.code = cc::kSelfTest, .name = "TPM2_SelfTest", .handles = 0, .auth_handles = 0, .permission = P::kPower, .duration = D::kLong, .section = "10.2", .nv = true},
    {.code = cc::kStartup, .name = "TPM2_Startup", .handles = 0, .auth_handles = 0, .permission = P::kPower, .duration = D::kLong, .section = "9.3", .sessions_allowed = false, .nv = true, .effect = Effect::kPower},
    {.code = cc::kShutdown, .name = "TPM2_Shutdown", .handles = 0, .auth_handles = 0, .permission = P::kPower, .duration = D::kMedium, .section = "9.4", .nv = true, .effect = Effect::kPower},
    {.code = cc::kStirRandom, .name = "TPM2_StirRandom", .handles = 0, .auth_handles = 0, .permission = P::kRandom, .duration = D::kShort, .section = "16.2", .encryptable = true, .nv = true},
    {.code = cc::kActivateCredential, .name = "TPM2_ActivateCredential", .handles = 2, .uses = {U::kUse, U::kUse}, .auth_handles = 2, .permission = P::kCredential, .duration = D::kLong, .section = "12.5", .encryptable = true},
    {.code = cc::kCertify, .name = "TPM2_Certify", .handles = 2, .uses = {U::kUse, U::kUse}, .auth_handles = 2, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "18.2", .encryptable = true},
    {.code = cc::kPolicyNV, .name = "TPM2_PolicyNV", .handles = 3, .uses = {U::kNvAuthority, U::kNvRead, U::kOwn}, .auth_handles = 1, .permission = P::kSessions, .duration = D::kMedium, .section = "23.9", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kCertifyCreation, .name = "TPM2_CertifyCreation", .handles = 2, .uses = {U::kUse, U::kUse}, .auth_handles = 1, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 2}, .section = "18.3", .encryptable = true},
    {.code = cc::kDuplicate, .name = "TPM2_Duplicate", .handles = 2, .uses = {U::kUse, U::kUse}, .auth_handles = 1, .permission = P::kMigrate, .duration = D::kLong, .section = "13.1", .encryptable = true},
    {.code = cc::kGetTime, .name = "TPM2_GetTime", .handles = 2, .uses = {U::kAuthority, U::kUse}, .auth_handles = 2, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "18.7", .encryptable = true},
    {.code = cc::kGetSessionAuditDigest, .name = "TPM2_GetSessionAuditDigest", .handles = 3, .uses = {U::kAuthority, U::kUse, U::kOwn}, .auth_handles = 2, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "18.5", .encryptable = true},
    {.code = cc::kNVRead, .name = "TPM2_NV_Read", .handles = 2, .uses = {U::kNvAuthority, U::kNvRead}, .auth_handles = 1, .permission = P::kNvRead, .duration = D::kMedium, .section = "31.13"},
    {.code = cc::kNVReadLock, .name = "TPM2_NV_ReadLock", .handles = 2, .uses = {U::kNvAuthority, U::kNvLock}, .auth_handles = 1, .permission = P::kNvLock, .duration = D::kMedium, .section = "31.14", .affects_others = true, .nv = true},
    {.code = cc::kObjectChangeAuth, .name = "TPM2_ObjectChangeAuth", .handles = 2, .uses = {U::kUse, U::kParent}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "12.8", .encryptable = true},
    {.code = cc::kPolicySecret, .name = "TPM2_PolicySecret", .handles = 2, .uses = {U::kAuthority, U::kOwn}, .auth_handles = 1, .permission = P::kSessions, .duration = D::kMedium, .section = "23.4", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kRewrap, .name = "TPM2_Rewrap", .handles = 2, .uses = {U::kParent, U::kParent}, .auth_handles = 1, .permission = P::kMigrate, .duration = D::kLong, .section = "13.2", .encryptable = true},
    {.code = cc::kCreate, .name = "TPM2_Create", .handles = 1, .uses = {U::kParent}, .auth_handles = 1, .permission = P::kCreateKeys, .duration = D::kKeygen, .names = {N::kPcrs, 3}, .section = "12.1", .encryptable = true, .scratch_slots = 1},
    {.code = cc::kECDHZGen, .name = "TPM2_ECDH_ZGen", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kLong, .section = "14.5", .encryptable = true},
    {.code = cc::kHMAC, .name = "TPM2_HMAC", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "15.5", .encryptable = true},
    {.code = cc::kImport, .name = "TPM2_Import", .handles = 1, .uses = {U::kParent}, .auth_handles = 1, .permission = P::kMigrate, .duration = D::kLong, .section = "13.3", .encryptable = true},
    {.code = cc::kLoad, .name = "TPM2_Load", .handles = 1, .uses = {U::kParent}, .auth_handles = 1, .permission = P::kLoadKeys, .duration = D::kMedium, .section = "12.2", .encryptable = true, .creates = Creates::kObject},
    {.code = cc::kQuote, .name = "TPM2_Quote", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kAttest, .duration = D::kLong, .names = {N::kSchemeAndPcrs, 1}, .section = "18.4", .encryptable = true},
    {.code = cc::kRSADecrypt, .name = "TPM2_RSA_Decrypt", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kLong, .section = "14.3", .encryptable = true},
    {.code = cc::kHMACStart, .name = "TPM2_HMAC_Start", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "17.2", .encryptable = true, .creates = Creates::kSequence},
    {.code = cc::kSequenceUpdate, .name = "TPM2_SequenceUpdate", .handles = 1, .uses = {U::kOwn}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "17.5", .encryptable = true},
    {.code = cc::kSign, .name = "TPM2_Sign", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "20.2", .encryptable = true},
    {.code = cc::kUnseal, .name = "TPM2_Unseal", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "12.7"},
    {.code = cc::kPolicySigned, .name = "TPM2_PolicySigned", .handles = 2, .uses = {U::kUse, U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kMedium, .section = "23.3", .encryptable = true, .policy = PolicyEffect::kFreshStep},
    {.code = cc::kContextLoad, .name = "TPM2_ContextLoad", .handles = 0, .auth_handles = 0, .permission = P::kContext, .duration = D::kMedium, .section = "28.3", .creates = Creates::kByContext, .sessions_allowed = false, .effect = Effect::kContextLoad},
    {.code = cc::kContextSave, .name = "TPM2_ContextSave", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kContext, .duration = D::kMedium, .section = "28.2", .sessions_allowed = false, .effect = Effect::kContextSave},
    {.code = cc::kECDHKeyGen, .name = "TPM2_ECDH_KeyGen", .handles = 1, .uses = {U::kUse}, .auth_handles = 0, .permission = P::kUseKeys, .duration = D::kLong, .section = "14.4"},
    {.code = cc::kEncryptDecrypt, .name = "TPM2_EncryptDecrypt", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "15.2"},
    {.code = cc::kFlushContext, .name = "TPM2_FlushContext", .handles = 0, .auth_handles = 0, .permission = P::kContext, .duration = D::kShort, .section = "28.4", .sessions_allowed = false, .effect = Effect::kFlushContext},
    {.code = cc::kLoadExternal, .name = "TPM2_LoadExternal", .handles = 0, .auth_handles = 0, .permission = P::kLoadKeys, .duration = D::kMedium, .names = {N::kHierarchy, 2}, .section = "12.3", .encryptable = true, .creates = Creates::kObject},
    {.code = cc::kMakeCredential, .name = "TPM2_MakeCredential", .handles = 1, .uses = {U::kUse}, .auth_handles = 0, .permission = P::kCredential, .duration = D::kMedium, .section = "12.6", .encryptable = true},
    {.code = cc::kNVReadPublic, .name = "TPM2_NV_ReadPublic", .handles = 1, .uses = {U::kPublic}, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kShort, .section = "31.6"},
    {.code = cc::kPolicyAuthorize, .name = "TPM2_PolicyAuthorize", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kMedium, .section = "23.16", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyAuthValue, .name = "TPM2_PolicyAuthValue", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.17", .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kPolicyCommandCode, .name = "TPM2_PolicyCommandCode", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.11", .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyCounterTimer, .name = "TPM2_PolicyCounterTimer", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.10", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kPolicyCpHash, .name = "TPM2_PolicyCpHash", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.13", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyLocality, .name = "TPM2_PolicyLocality", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.8", .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyNameHash, .name = "TPM2_PolicyNameHash", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.14", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyOR, .name = "TPM2_PolicyOR", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.6", .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyTicket, .name = "TPM2_PolicyTicket", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kMedium, .section = "23.5", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kReadPublic, .name = "TPM2_ReadPublic", .handles = 1, .uses = {U::kPublic}, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kMedium, .section = "12.4"},
    {.code = cc::kRSAEncrypt, .name = "TPM2_RSA_Encrypt", .handles = 1, .uses = {U::kUse}, .auth_handles = 0, .permission = P::kUseKeys, .duration = D::kMedium, .section = "14.2", .encryptable = true},
    {.code = cc::kStartAuthSession, .name = "TPM2_StartAuthSession", .handles = 2, .uses = {U::kSaltKey, U::kAuthority}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kMedium, .section = "11.1", .encryptable = true, .creates = Creates::kSession},
    {.code = cc::kVerifySignature, .name = "TPM2_VerifySignature", .handles = 1, .uses = {U::kUse}, .auth_handles = 0, .permission = P::kUseKeys, .duration = D::kMedium, .section = "20.1", .encryptable = true},
    {.code = cc::kECCParameters, .name = "TPM2_ECC_Parameters", .handles = 0, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kShort, .section = "14.6"},
    {.code = cc::kFirmwareRead, .name = "TPM2_FirmwareRead", .handles = 0, .auth_handles = 0, .permission = P::kFirmware, .duration = D::kLong, .section = "27.4"},
    {.code = cc::kGetCapability, .name = "TPM2_GetCapability", .handles = 0, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kShort, .section = "30.2"},
    {.code = cc::kGetRandom, .name = "TPM2_GetRandom", .handles = 0, .auth_handles = 0, .permission = P::kRandom, .duration = D::kShort, .section = "16.1"},
    {.code = cc::kGetTestResult, .name = "TPM2_GetTestResult", .handles = 0, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kShort, .section = "10.4"},
    {.code = cc::kHash, .name = "TPM2_Hash", .handles = 0, .auth_handles = 0, .permission = P::kRandom, .duration = D::kMedium, .names = {N::kHashAndHierarchy, 1}, .section = "15.4", .encryptable = true},
    {.code = cc::kPCRRead, .name = "TPM2_PCR_Read", .handles = 0, .auth_handles = 0, .permission = P::kPcrRead, .duration = D::kShort, .names = {N::kPcrs, 0}, .section = "22.4"},
    {.code = cc::kPolicyPCR, .name = "TPM2_PolicyPCR", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .names = {N::kPcrs, 1}, .section = "23.7", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyRestart, .name = "TPM2_PolicyRestart", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "11.2", .policy = PolicyEffect::kRestart},
    {.code = cc::kReadClock, .name = "TPM2_ReadClock", .handles = 0, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kShort, .section = "29.1"},
    {.code = cc::kPCRExtend, .name = "TPM2_PCR_Extend", .handles = 1, .uses = {U::kPcrExtend}, .auth_handles = 1, .permission = P::kPcrExtend, .duration = D::kMedium, .section = "22.2", .nv = true},
    {.code = cc::kPCRSetAuthValue, .name = "TPM2_PCR_SetAuthValue", .handles = 1, .uses = {U::kPcrExtend}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "22.7", .encryptable = true, .affects_others = true},
    {.code = cc::kNVCertify, .name = "TPM2_NV_Certify", .handles = 3, .uses = {U::kUse, U::kNvAuthority, U::kNvRead}, .auth_handles = 2, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "31.16", .encryptable = true},
    {.code = cc::kEventSequenceComplete, .name = "TPM2_EventSequenceComplete", .handles = 2, .uses = {U::kPcrExtend, U::kOwn}, .auth_handles = 2, .permission = P::kPcrExtend, .duration = D::kMedium, .section = "17.7", .encryptable = true, .flushes_handle = 1, .nv = true},
    {.code = cc::kHashSequenceStart, .name = "TPM2_HashSequenceStart", .handles = 0, .auth_handles = 0, .permission = P::kRandom, .duration = D::kShort, .section = "17.4", .encryptable = true, .creates = Creates::kSequence},
    {.code = cc::kPolicyPhysicalPresence, .name = "TPM2_PolicyPhysicalPresence", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.12", .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kPolicyDuplicationSelect, .name = "TPM2_PolicyDuplicationSelect", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.15", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyGetDigest, .name = "TPM2_PolicyGetDigest", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.19"},
    {.code = cc::kTestParms, .name = "TPM2_TestParms", .handles = 0, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kMedium, .section = "30.3"},
    {.code = cc::kCommit, .name = "TPM2_Commit", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kSharedCounter, .duration = D::kLong, .section = "19.2", .encryptable = true},
    {.code = cc::kPolicyPassword, .name = "TPM2_PolicyPassword", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.18", .policy = PolicyEffect::kStep},
    {.code = cc::kZGen2Phase, .name = "TPM2_ZGen_2Phase", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kLong, .section = "14.7", .encryptable = true},
    {.code = cc::kECEphemeral, .name = "TPM2_EC_Ephemeral", .handles = 0, .auth_handles = 0, .permission = P::kSharedCounter, .duration = D::kLong, .section = "19.3"},
    {.code = cc::kPolicyNvWritten, .name = "TPM2_PolicyNvWritten", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.20", .policy = PolicyEffect::kStep},
    {.code = cc::kPolicyTemplate, .name = "TPM2_PolicyTemplate", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "23.21", .encryptable = true, .policy = PolicyEffect::kStep},
    {.code = cc::kCreateLoaded, .name = "TPM2_CreateLoaded", .handles = 1, .uses = {U::kParent}, .auth_handles = 1, .permission = P::kCreateKeys, .duration = D::kKeygen, .section = "12.9", .encryptable = true, .creates = Creates::kObject},
    {.code = cc::kPolicyAuthorizeNV, .name = "TPM2_PolicyAuthorizeNV", .handles = 3, .uses = {U::kNvAuthority, U::kNvRead, U::kOwn}, .auth_handles = 1, .permission = P::kSessions, .duration = D::kMedium, .section = "23.22", .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kEncryptDecrypt2, .name = "TPM2_EncryptDecrypt2", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kMedium, .section = "15.3", .encryptable = true},
    {.code = cc::kACGetCapability, .name = "TPM2_AC_GetCapability", .handles = 1, .uses = {U::kPublic}, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kMedium, .section = "32.2"},
    {.code = cc::kACSend, .name = "TPM2_AC_Send", .handles = 3, .uses = {U::kUse, U::kAuthority, U::kUse}, .auth_handles = 2, .permission = P::kMigrate, .duration = D::kLong, .section = "32.3", .encryptable = true},
    {.code = cc::kPolicyACSendSelect, .name = "TPM2_Policy_AC_SendSelect", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "32.4", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kCertifyX509, .name = "TPM2_CertifyX509", .handles = 2, .uses = {U::kUse, U::kUse}, .auth_handles = 2, .permission = P::kAttest, .duration = D::kLong, .names = {N::kScheme, 1}, .section = "18.8", .encryptable = true},
    {.code = cc::kACTSetTimeout, .name = "TPM2_ACT_SetTimeout", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kShort, .section = "33.2", .affects_others = true},
    {.code = cc::kEccEncrypt, .name = "TPM2_ECC_Encrypt", .handles = 1, .uses = {U::kUse}, .auth_handles = 0, .permission = P::kUseKeys, .duration = D::kLong, .section = "1.83:14.8", .encryptable = true},
    {.code = cc::kEccDecrypt, .name = "TPM2_ECC_Decrypt", .handles = 1, .uses = {U::kUse}, .auth_handles = 1, .permission = P::kUseKeys, .duration = D::kLong, .section = "1.83:14.9", .encryptable = true},
    {.code = cc::kPolicyCapability, .name = "TPM2_PolicyCapability", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "1.83:23.23", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kPolicyParameters, .name = "TPM2_PolicyParameters", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "1.83:23.24", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
    {.code = cc::kNVDefineSpace2, .name = "TPM2_NV_DefineSpace2", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kNvDefine, .duration = D::kMedium, .names = {N::kNvPublic2, 1}, .section = "1.83:31.17", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kNVReadPublic2, .name = "TPM2_NV_ReadPublic2", .handles = 1, .uses = {U::kPublic}, .auth_handles = 0, .permission = P::kReadPublic, .duration = D::kShort, .section = "1.83:31.18"},
    {.code = cc::kSetCapability, .name = "TPM2_SetCapability", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kPlatform, .duration = D::kMedium, .section = "1.83:30.4", .encryptable = true, .affects_others = true, .nv = true},
    {.code = cc::kReadOnlyControl, .name = "TPM2_ReadOnlyControl", .handles = 1, .uses = {U::kAuthority}, .auth_handles = 1, .permission = P::kHierarchy, .duration = D::kMedium, .section = "1.83:24.9", .affects_others = true},
    {.code = cc::kPolicyTransportSPDM, .name = "TPM2_PolicyTransportSPDM", .handles = 1, .uses = {U::kOwn}, .auth_handles = 0, .permission = P::kSessions, .duration = D::kShort, .section = "1.84:23.25", .encryptable = true, .policy = PolicyEffect::kOnceOnly},
};
// clang-format on

// If a chip only reports that a command flushes a handle, the last handle is assumed. -1: none.
std::int8_t last_handle_if(bool flushed, const CommandRow& row) {
  return flushed && row.handles > 0 ? static_cast<std::int8_t>(row.handles - 1) : std::int8_t{-1};
}

// The row of a command that only this chip has, from TPMA_CC. The row assumes that no handle needs an authorization
// (the TPM checks) and as many scratch slots as the specification allows for any command.
CommandRow row_from_chip(const CommandAttributes& attributes) {
  CommandRow row;
  row.code = attributes.code();
  row.name = attributes.vendor() ? "vendor command" : "unknown command";
  row.handles = static_cast<std::uint8_t>(std::min<std::size_t>(attributes.handles(), kMaxHandles));
  row.creates = attributes.response_handle() ? Creates::kObject : Creates::kNothing;
  row.flushes_handle = last_handle_if(attributes.flushed(), row);
  row.nv = attributes.nv();
  row.extensive = attributes.extensive();
  row.duration = DurationClass::kLong;
  row.encryptable = true;
  row.section = "-";
  return row;
}

// Commands that the manager sends itself, with responses that the manager reads: their form is the specification's,
// whatever a chip reports.
bool is_spoken_by_us(CommandCode code) {
  switch (code) {
    case cc::kContextSave:
    case cc::kContextLoad:
    case cc::kFlushContext:
    case cc::kStartup:
    case cc::kReadClock:
    case cc::kGetCapability:
    case cc::kStartAuthSession:
      return true;
    default:
      return false;
  }
}

void adopt_row(CommandRow& row, const CommandAttributes& chip, std::vector<std::string>& differences) {
  if (is_spoken_by_us(row.code)) return;
  const auto say = [&](std::string_view what, unsigned ours, unsigned theirs) {
    differences.push_back(
        fmt::format("{}: the TPM says {} {}, the specification says {}; tpmspaced uses the TPM's number", row.name,
                    what, theirs, ours));
  };
  if (chip.handles() != row.handles && chip.handles() <= kMaxHandles) {
    say("command handles", row.handles, chip.handles());
    row.handles = static_cast<std::uint8_t>(chip.handles());
    row.auth_handles = std::min(row.auth_handles, row.handles);
    row.uses = {};  // the chip's use of the handles may differ from the specification's
  }
  if (chip.response_handle() != row.has_response_handle()) {
    say("response handle", row.has_response_handle() ? 1 : 0, chip.response_handle() ? 1 : 0);
    row.creates = chip.response_handle() ? Creates::kObject : Creates::kNothing;
  }
  if (chip.flushed() != (row.flushes_handle >= 0)) {
    say("flushed", row.flushes_handle >= 0 ? 1 : 0, chip.flushed() ? 1 : 0);
    row.flushes_handle = last_handle_if(chip.flushed(), row);
  }
  // The chip's command may lack the handle that the specification flushes.
  if (row.flushes_handle >= row.handles) row.flushes_handle = last_handle_if(true, row);
  if (chip.extensive() != row.extensive) {
    say("extensive", row.extensive ? 1 : 0, chip.extensive() ? 1 : 0);
    row.extensive = chip.extensive();
  }
  row.nv = chip.nv();  // only about the chip's wear: not worth a line
}

}  // namespace

std::uint32_t deadline_ms(DurationClass duration) {
  switch (duration) {
    case DurationClass::kShort:
      return 10'000;
    case DurationClass::kMedium:
      return 20'000;
    case DurationClass::kLong:
      return 60'000;
    case DurationClass::kKeygen:
      return 300'000;
  }
  return 300'000;
}

const CommandTable& CommandTable::builtin() {
  static const CommandTable table = [] {
    CommandTable t;
    t.rows_.assign(std::begin(kRows), std::end(kRows));
    return t;
  }();
  return table;
}

const CommandRow* CommandTable::find(CommandCode code) const {
  const auto it = std::lower_bound(rows_.begin(), rows_.end(), code,
                                   [](const CommandRow& row, CommandCode wanted) { return row.code < wanted; });
  return it != rows_.end() && it->code == code ? &*it : nullptr;
}

std::vector<std::string> CommandTable::adopt(std::span<const CommandAttributes> chip) {
  std::vector<std::string> differences;
  std::vector<CommandRow> adopted;
  for (const auto& attributes : chip) {
    if (const CommandRow* known = find(attributes.code())) {
      adopted.push_back(*known);
      adopt_row(adopted.back(), attributes, differences);
    } else {
      adopted.push_back(row_from_chip(attributes));
      differences.push_back(
          fmt::format("command {:#x} is not in the table ({}); tpmspaced passes it on as the TPM describes it",
                      attributes.code(), adopted.back().name));
    }
  }
  std::sort(adopted.begin(), adopted.end(), [](const CommandRow& a, const CommandRow& b) { return a.code < b.code; });
  adopted.erase(std::unique(adopted.begin(), adopted.end(),
                            [](const CommandRow& a, const CommandRow& b) { return a.code == b.code; }),
                adopted.end());
  rows_ = std::move(adopted);
  return differences;
}

std::string_view name_of(PermissionClass permission) {
  switch (permission) {
    case P::kReadPublic:
      return "read-public";
    case P::kRandom:
      return "random";
    case P::kPcrRead:
      return "pcr-read";
    case P::kPcrExtend:
      return "pcr-extend";
    case P::kPcrReset:
      return "pcr-reset";
    case P::kSessions:
      return "sessions";
    case P::kContext:
      return "context";
    case P::kCreateKeys:
      return "create-keys";
    case P::kLoadKeys:
      return "load-keys";
    case P::kUseKeys:
      return "use-keys";
    case P::kAttest:
      return "attest";
    case P::kCredential:
      return "credential";
    case P::kMigrate:
      return "migrate";
    case P::kSharedCounter:
      return "shared-counter";
    case P::kNvRead:
      return "nv-read";
    case P::kNvWrite:
      return "nv-write";
    case P::kNvLock:
      return "nv-lock";
    case P::kNvDefine:
      return "nv-define";
    case P::kEvict:
      return "evict";
    case P::kHierarchy:
      return "hierarchy";
    case P::kLockout:
      return "lockout";
    case P::kPlatform:
      return "platform";
    case P::kAudit:
      return "audit";
    case P::kPower:
      return "power";
    case P::kFirmware:
      return "firmware";
    case P::kVendor:
      return "vendor";
  }
  return "vendor";
}

std::string_view name_of(DurationClass duration) {
  switch (duration) {
    case D::kShort:
      return "short";
    case D::kMedium:
      return "medium";
    case D::kLong:
      return "long";
    case D::kKeygen:
      return "keygen";
  }
  return "keygen";
}

}  // namespace tpmspace::wire
