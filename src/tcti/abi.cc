#include "tcti/abi.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>

#include "tcti/config.h"
#include "tcti/library_name.h"
#include "tcti/log.h"
#include "tcti/session.h"

namespace tpmspace::tcti {
namespace {

constexpr std::uint64_t kMagic = 0x74706D7370616365;  // "tpmspace"
constexpr std::uint32_t kVersion = 2;

// The content of the caller's memory.
struct Context {
  TSS2_TCTI_CONTEXT_COMMON_V2 common;
  Session* session;
};
static_assert(std::is_trivial_v<Context> && std::is_standard_layout_v<Context>);

// The only conversion from the C type. Null unless the context is from this library.
Context* ours(TSS2_TCTI_CONTEXT* opaque) {
  auto* context = reinterpret_cast<Context*>(opaque);  // NOLINT: the TCTI's ABI
  if (context->common.v1.magic != kMagic || context->common.v1.version != kVersion) return nullptr;
  return context;
}

// Runs `call(session)` for a valid context, and stops every exception.
template <typename Call>
TSS2_RC with_session(TSS2_TCTI_CONTEXT* opaque, Call&& call) {
  if (opaque == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  Context* context = ours(opaque);
  if (context == nullptr || context->session == nullptr) return TSS2_TCTI_RC_BAD_CONTEXT;
  try {
    return call(*context->session);
  } catch (const std::bad_alloc&) {
    return TSS2_TCTI_RC_MEMORY;
  } catch (...) {
    return TSS2_TCTI_RC_GENERAL_FAILURE;
  }
}

TSS2_RC transmit(TSS2_TCTI_CONTEXT* context, size_t size, const uint8_t* command) {
  if (command == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  return with_session(context, [&](Session& session) { return session.transmit({command, size}); });
}

TSS2_RC receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response, int32_t timeout) {
  if (size == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  return with_session(context, [&](Session& session) { return session.receive(*size, response, timeout); });
}

TSS2_RC cancel(TSS2_TCTI_CONTEXT* context) {
  return with_session(context, [](Session& session) { return session.cancel(); });
}

TSS2_RC get_poll_handles(TSS2_TCTI_CONTEXT* context, TSS2_TCTI_POLL_HANDLE* handles, size_t* count) {
  if (count == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  return with_session(context, [&](Session& session) -> TSS2_RC {
    const std::size_t room = *count;
    *count = 1;
    if (handles == nullptr) return TSS2_RC_SUCCESS;
    if (room < 1) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    if (const TSS2_RC rc = session.descriptor(handles[0].fd); rc != TSS2_RC_SUCCESS) return rc;
    handles[0].events = POLLIN;
    handles[0].revents = 0;
    return TSS2_RC_SUCCESS;
  });
}

TSS2_RC set_locality(TSS2_TCTI_CONTEXT* context, uint8_t locality) {
  return with_session(context, [&](Session& session) { return session.set_locality(locality); });
}

TSS2_RC make_sticky(TSS2_TCTI_CONTEXT* context, TPM2_HANDLE*, uint8_t) {
  return with_session(context, [](Session&) { return TSS2_TCTI_RC_NOT_IMPLEMENTED; });
}

void finalize(TSS2_TCTI_CONTEXT* opaque) {
  if (opaque == nullptr) return;
  Context* context = ours(opaque);
  if (context == nullptr) return;
  const std::unique_ptr<Session> last(context->session);
  *context = Context{};
}

Context make_context(std::unique_ptr<Session> session) {
  Context context{};
  context.common.v1.magic = kMagic;
  context.common.v1.version = kVersion;
  context.common.v1.transmit = transmit;
  context.common.v1.receive = receive;
  context.common.v1.finalize = finalize;
  context.common.v1.cancel = cancel;
  context.common.v1.getPollHandles = get_poll_handles;
  context.common.v1.setLocality = set_locality;
  context.common.makeSticky = make_sticky;
  context.session = session.release();
  return context;
}

TSS2_RC init(TSS2_TCTI_CONTEXT* opaque, const char* text) {
  const auto config =
      parse_config(text == nullptr ? "" : text, loaded_as_tabrmd() ? KnownKeys::kOursAndAbrmds : KnownKeys::kOurs);
  if (!config) {
    log_error(config.error());
    return TSS2_TCTI_RC_BAD_VALUE;
  }
  auto connection = config->fd ? client::Connection::share(*config->fd) : client::Connection::open(config->path);
  if (!connection) {
    log_error(connection.error().what);
    return to_tcti(connection.error());
  }
  auto origin = config->fd ? std::nullopt : std::optional(Origin{config->path, config->chip});
  auto session = std::make_unique<Session>(std::move(*connection), std::move(origin));
  if (!config->chip.empty())
    if (const auto used = session->use_chip(config->chip); !used) {
      log_error(used.error().what);
      return to_tcti(used.error());
    }
  if (config->locality && *config->locality != 0) {
    const TSS2_RC set = session->set_locality(*config->locality);
    if (set != TSS2_RC_SUCCESS) {
      const std::string where = config->fd ? "fd " + std::to_string(*config->fd) : config->path;
      log_error("tpmspaced at " + where + " refuses locality " + std::to_string(*config->locality));
      return set;
    }
  }
  const Context context = make_context(std::move(session));
  std::memcpy(opaque, &context, sizeof context);
  return TSS2_RC_SUCCESS;
}

const TSS2_TCTI_INFO kInfo = {
    kVersion,
    "tcti-space",
    "TCTI for tpmspaced, the TPM 2.0 access broker and resource manager.",
    "Nothing (the default socket), a path, or key=value pairs separated by commas: path=PATH,locality=N,chip=NAME or "
    "fd=N. The default is $TPMSPACE_SOCKET, else $XDG_RUNTIME_DIR/tpmspace/tpm.sock if it exists, else "
    "/run/tpmspace/tpm.sock.",
    Tss2_Tcti_Space_Init,
};

}  // namespace
}  // namespace tpmspace::tcti

TSS2_RC Tss2_Tcti_Space_Init(TSS2_TCTI_CONTEXT* context, size_t* size, const char* config) {
  using tpmspace::tcti::Context;
  if (context == nullptr) {
    if (size == nullptr) return TSS2_TCTI_RC_BAD_VALUE;
    *size = sizeof(Context);
    return TSS2_RC_SUCCESS;
  }
  if (size != nullptr && *size < sizeof(Context)) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  try {
    return tpmspace::tcti::init(context, config);
  } catch (const std::bad_alloc&) {
    return TSS2_TCTI_RC_MEMORY;
  } catch (...) {
    return TSS2_TCTI_RC_GENERAL_FAILURE;
  }
}

const TSS2_TCTI_INFO* Tss2_Tcti_Info(void) {
  return &tpmspace::tcti::kInfo;
}
