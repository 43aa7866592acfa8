#include "guard/start_and_exit.h"

namespace tpmspace::guard {
namespace {

namespace rc = wire::rc;

// The only parameter of Shutdown (TPM_SU) and SelfTest (TPMI_YES_NO), as libtpms checks it: `last` is its greatest
// value.
template <typename Value>
wire::Rc fault_in_parameter(const std::optional<Value>& value, Value last, bool more_follows) {
  if (!value) return wire::from_manager(rc::in_parameter(rc::kInsufficient, 1));
  if (*value > last) return wire::from_manager(rc::in_parameter(rc::kValue, 1));
  return more_follows ? wire::from_manager(rc::kSize) : rc::kSuccess;
}

}  // namespace

std::optional<wire::Rc> answer_of_running_tpm(const wire::Command& command, const Verdict& refused) {
  // A running TPM does not look at the parameters of a Startup. With sessions `Command::parse` has refused it.
  if (command.code() == wire::cc::kStartup) return rc::kInitialize;
  if (refused.reason != Reason::kNoSuchCommand) return std::nullopt;
  if (command.has_sessions()) return std::nullopt;  // only the TPM can compute the response's HMAC
  wire::Reader in(command.parameters());
  if (command.code() == wire::cc::kShutdown) {
    constexpr std::uint16_t kState = 1;  // TPM_SU_STATE; TPM_SU_CLEAR is 0
    const auto type = in.u16();
    return fault_in_parameter<std::uint16_t>(type, kState, !in.empty());
  }
  if (command.code() == wire::cc::kSelfTest) {
    constexpr std::uint8_t kYes = 1;
    const auto full = in.u8();
    if (full == kYes) return std::nullopt;
    return fault_in_parameter<std::uint8_t>(full, kYes, !in.empty());
  }
  return std::nullopt;
}

std::string_view sentence_of_answer(wire::CommandCode code, Reason refused) {
  if (code == wire::cc::kStartup) return "tpmspaced answers 0x00000100 in place of the TPM, which is running already";
  if (refused != Reason::kNoSuchCommand) return "";
  if (code == wire::cc::kShutdown) return "tpmspaced answers with success in place of the TPM, which goes on running";
  if (code == wire::cc::kSelfTest) return "tpmspaced answers SelfTest(NO) with success in place of the TPM";
  return "";
}

const wire::Numbers& commands_of_everybody() {
  static const wire::Numbers commands =
      wire::Numbers::one(wire::cc::kStartup) | wire::Numbers::one(wire::cc::kShutdown);
  return commands;
}

}  // namespace tpmspace::guard
