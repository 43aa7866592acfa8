#include "wire/rc.h"

#include <fmt/format.h>

#include <string_view>

namespace tpmspace::wire {
namespace {

struct Named {
  Rc code;
  std::string_view meaning;
};

constexpr Named kNames[] = {
    {rc::kSuccess, "success"},
    {rc::kInitialize, "the TPM was not started, or already was"},
    {rc::kFailure, "the TPM has failed or does not answer"},
    {rc::kDisabled, "the command is disabled"},
    {rc::kAuthMissing, "an authorization is missing"},
    {rc::kPcr, "not allowed for this PCR"},
    {rc::kPcrChanged, "a PCR changed since the policy checked it"},
    {rc::kTooManyContexts, "too many contexts"},
    {rc::kCommandSize, "the size of the command differs from its header, or is too large"},
    {rc::kCommandCode, "command code not supported"},
    {rc::kAuthContext, "this command takes no sessions"},
    {rc::kNvAuthorization, "not allowed for this NV index"},
    {rc::kContextGap, "the gap between saved contexts is too large"},
    {rc::kObjectMemory, "out of memory for objects"},
    {rc::kSessionMemory, "out of memory for sessions"},
    {rc::kMemory, "out of memory"},
    {rc::kSessionHandles, "out of session handles"},
    {rc::kObjectHandles, "out of object handles"},
    {rc::kLocality, "bad locality"},
    {rc::kYielded, "the TPM is busy with other work; send again"},
    {rc::kCanceled, "the command was canceled"},
    {rc::kTesting, "the TPM is testing itself"},
    {rc::kNvRate, "too many NV writes; wait"},
    {rc::kLockout, "locked out after too many wrong authorizations"},
    {rc::kRetry, "the TPM asks to send the command again"},
    {rc::kNvUnavailable, "NV is not available"},
    {rc::kAttributes, "wrong attributes"},
    {rc::kValue, "a value is out of range"},
    {rc::kHierarchy, "the hierarchy is not enabled or not right"},
    {rc::kHandle, "the handle is not right"},
    {rc::kAuthFail, "the authorization failed (counts towards lockout)"},
    {rc::kScheme, "the scheme is not supported here"},
    {rc::kSize, "a structure has the wrong size"},
    {rc::kTag, "a structure has the wrong tag"},
    {rc::kInsufficient, "the command is too short"},
    {rc::kIntegrity, "the integrity check failed"},
    {rc::kReservedBits, "reserved bits are set"},
    {rc::kBadAuth, "the authorization failed"},
};

std::string_view meaning_of(Rc code) {
  const Rc base = base_code(code);
  if (base >= rc::kReferenceH0 && base < rc::kReferenceH0 + 7) return "a handle refers to nothing that is loaded";
  if (base >= rc::kReferenceS0 && base < rc::kReferenceS0 + 7) return "a session refers to nothing that is loaded";
  for (const auto& named : kNames)
    if (named.code == base) return named.meaning;
  return "see Part 2, 6.6";
}

}  // namespace

std::string describe(Rc code) {
  const std::string_view speaker = layer_of(code) == 0                  ? "TPM"
                                   : (code & 0xFF0000) == kManagerLayer ? "resource manager"
                                                                        : "another layer";
  return fmt::format("{:#010x} ({}: {})", code, speaker, meaning_of(code));
}

}  // namespace tpmspace::wire
