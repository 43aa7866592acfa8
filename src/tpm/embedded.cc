#include "tpm/embedded.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_nvfilename.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string_view>

#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::tpm {
namespace {

using wire::Bytes;
using wire::ByteView;

constexpr std::uint32_t kBufferSize = 4096;

// libtpms is one machine per process, and its callbacks carry no context: so these two variables are global.
std::atomic<bool> in_use = false;      // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
EmbeddedTpm* machine_owner = nullptr;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

// Without a log descriptor, libtpms reports its own faults on standard error; tpmspace uses response codes and
// sentences instead. The descriptor stays open: libtpms keeps its number.
void silence_libtpms() {
  static const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  TPMLIB_SetDebugFD(nowhere);
  TPMLIB_SetDebugLevel(0);
}

std::optional<std::string_view> known_name(const char* name) {
  for (const std::string_view known : {TPM_PERMANENT_ALL_NAME, TPM_SAVESTATE_NAME, TPM_VOLATILESTATE_NAME})
    if (name != nullptr && name == known) return known;
  return std::nullopt;
}

// libtpms treats localities that do not exist as 0.
bool exists(std::uint8_t locality) {
  return locality <= 4 || locality >= 32;
}

}  // namespace

// The functions that libtpms calls. Exceptions (memory) must not reach its C frames.
struct EmbeddedTpm::Library {
  static TPM_RESULT nothing_to_do() { return TPM_SUCCESS; }

  static TPM_RESULT load(unsigned char** data, std::uint32_t* length, std::uint32_t /*number*/, const char* name) try {
    const auto known = known_name(name);
    if (!known) return TPM_FAIL;
    const auto blob = machine_owner->store_->load(*known);
    if (!blob) return TPM_FAIL;
    if (!*blob) return TPM_RETRY;  // "no state yet": any other code would be a broken TPM
    // libtpms frees the copy with free().
    auto* copy = static_cast<unsigned char*>(std::malloc((*blob)->size()));
    if (copy == nullptr) return TPM_FAIL;
    std::copy((*blob)->begin(), (*blob)->end(), copy);
    *data = copy;
    *length = static_cast<std::uint32_t>((*blob)->size());
    return TPM_SUCCESS;
  } catch (...) {
    return TPM_FAIL;
  }

  static TPM_RESULT store(const unsigned char* data, std::uint32_t length, std::uint32_t /*number*/,
                          const char* name) try {
    const auto known = known_name(name);
    if (!known || !machine_owner->store_->store(*known, ByteView(data, length))) return TPM_FAIL;
    return TPM_SUCCESS;
  } catch (...) {
    return TPM_FAIL;
  }

  static TPM_RESULT remove(std::uint32_t /*number*/, const char* name, TPM_BOOL must_exist) try {
    const auto known = known_name(name);
    if (!known) return TPM_FAIL;
    const auto removed = machine_owner->store_->remove(*known);
    return removed && (*removed || must_exist == 0) ? TPM_SUCCESS : TPM_FAIL;
  } catch (...) {
    return TPM_FAIL;
  }

  static TPM_RESULT locality(TPM_MODIFIER_INDICATOR* modifier, std::uint32_t /*number*/) {
    *modifier = machine_owner->locality_;
    return TPM_SUCCESS;
  }
  static TPM_RESULT physical_presence(TPM_BOOL* asserted, std::uint32_t /*number*/) {
    *asserted = 0;
    return TPM_SUCCESS;
  }
};

tl::expected<std::unique_ptr<EmbeddedTpm>, std::string> EmbeddedTpm::open(const std::string& directory,
                                                                          const News& news) {
  if (in_use.exchange(true))
    return tl::unexpected(
        std::string("this process has an embedded TPM already, and libtpms can be only one TPM: start another "
                    "tpmspaced for a second TPM"));
  std::unique_ptr<StateStore> store = memory_store();
  if (!directory.empty()) {
    auto kept = directory_store(directory);
    if (!kept) {
      in_use = false;
      return tl::unexpected(kept.error());
    }
    store = std::move(*kept);
  }
  // From here on the destructor resets `in_use`.
  std::unique_ptr<EmbeddedTpm> tpm(new EmbeddedTpm(std::move(store)));
  machine_owner = tpm.get();
  // Unreadable state is not new state, and power_on reports the reason.
  const auto before = tpm->store_->load(TPM_PERMANENT_ALL_NAME);
  if (auto on = tpm->power_on(); !on) return tl::unexpected(on.error());
  if (news.made && !directory.empty() && before && !*before)
    news.made(fmt::format("a new TPM is made in {}", directory));
  return tpm;
}

EmbeddedTpm::~EmbeddedTpm() {
  if (powered_) {
    shut_down_in_order();
    TPMLIB_Terminate();
  }
  std::free(response_);
  machine_owner = nullptr;
  in_use = false;
}

tl::expected<void, std::string> EmbeddedTpm::power_on() {
  libtpms_callbacks callbacks = {};
  callbacks.sizeOfStruct = sizeof callbacks;
  callbacks.tpm_nvram_init = Library::nothing_to_do;
  callbacks.tpm_nvram_loaddata = Library::load;
  callbacks.tpm_nvram_storedata = Library::store;
  callbacks.tpm_nvram_deletename = Library::remove;
  callbacks.tpm_io_init = Library::nothing_to_do;
  callbacks.tpm_io_getlocality = Library::locality;
  callbacks.tpm_io_getphysicalpresence = Library::physical_presence;
  silence_libtpms();
  TPM_RESULT result = TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2);
  if (result == TPM_SUCCESS) result = TPMLIB_RegisterCallbacks(&callbacks);
  if (result == TPM_SUCCESS) {
    TPMLIB_SetBufferSize(kBufferSize, nullptr, nullptr);
    result = TPMLIB_MainInit();
    if (result != TPM_SUCCESS) TPMLIB_Terminate();
  }
  if (result != TPM_SUCCESS)
    return tl::unexpected(
        fmt::format("libtpms could not start its TPM (result {:#x}): {}", result,
                    store_->error().empty() ? "the state may be damaged, or from a newer libtpms" : store_->error()));
  powered_ = true;
  orderly_ = true;
  return {};
}

tl::expected<void, std::string> EmbeddedTpm::power_cycle() {
  if (powered_) TPMLIB_Terminate();
  powered_ = false;
  return power_on();
}

void EmbeddedTpm::shut_down_in_order() {
  if (orderly_ || store_->ephemeral()) return;
  const Bytes shutdown =
      wire::Writer().u16(wire::kTagNoSessions).u32(12).u32(wire::cc::kShutdown).u16(0 /* TPM_SU_CLEAR */).take();
  // A TPM that refuses is in failure mode or was never started; then no Shutdown is needed.
  (void)transact(shutdown, 0);
}

wire::Tpm::Answer EmbeddedTpm::transact(ByteView command, std::uint8_t locality) {
  if (!powered_) return tl::unexpected(Error{Error::Kind::kGone, "the embedded TPM could not be switched on again"});
  if (!exists(locality))
    return tl::unexpected(Error{Error::Kind::kNotPossible, fmt::format("a TPM has no locality {}", locality)});
  locality_ = locality;
  Answer answer = process(command);
  if (!answer) return answer;
  const auto sent = wire::read_header(command);
  const auto got = wire::read_header(*answer);
  const bool shut_down = sent && got && sent->code == wire::cc::kShutdown && got->code == wire::rc::kSuccess;
  orderly_ = shut_down;
  if (got && got->code == wire::rc::kFailure && store_->error().empty() && is_in_failure_mode()) leave_failure_mode();
  return answer;
}

wire::Tpm::Answer EmbeddedTpm::process(ByteView command) {
  Bytes copy = wire::to_bytes(command);  // libtpms decrypts parameters in place
  {
    const std::lock_guard lock(mutex_);
    running_ = true;
  }
  // Process clears an earlier cancel before it begins, so a cancel after `running_` is cleared has no effect.
  std::uint32_t size = 0;
  const TPM_RESULT result =
      TPMLIB_Process(&response_, &size, &response_capacity_, copy.data(), static_cast<std::uint32_t>(copy.size()));
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
  }
  if (result != TPM_SUCCESS || response_ == nullptr || size > response_capacity_)
    return tl::unexpected(
        Error{Error::Kind::kGone, fmt::format("libtpms did not execute a command (result {:#x})", result)});
  return Bytes(response_, response_ + size);
}

// libtpms 0.9 also answers FAILURE to RSA_Decrypt of invalid ciphertext, and continues. GetTestResult shows the
// difference: it works in failure mode, and its last word is the result (Part 3, 10.4).
bool EmbeddedTpm::is_in_failure_mode() {
  const auto answer =
      process(wire::Writer().u16(wire::kTagNoSessions).u32(wire::kHeaderSize).u32(wire::cc::kGetTestResult).bytes());
  const auto header = answer ? wire::read_header(*answer) : std::nullopt;
  if (!header || header->code != wire::rc::kSuccess || answer->size() < wire::kHeaderSize + 4) return true;
  return wire::Reader(ByteView(*answer).last(4)).u32() == wire::rc::kFailure;
}

// An assertion inside libtpms (some can be caused by a client's command) sets failure mode, in which libtpms would
// answer no further command. The owner of a chip would switch the chip off and on; this function does the same. Loaded
// entities are lost, as on a chip.
void EmbeddedTpm::leave_failure_mode() {
  (void)power_cycle();  // after an error the TPM stays off, and the next command reports the error
}

void EmbeddedTpm::cancel() {
  const std::lock_guard lock(mutex_);
  if (running_) TPMLIB_CancelCommand();
}

std::string EmbeddedTpm::storage_error() const {
  return store_->error();
}

}  // namespace tpmspace::tpm
