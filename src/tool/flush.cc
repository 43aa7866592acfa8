#include "tool/flush.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <variant>

#include "client/connection.h"
#include "tool/accounts.h"
#include "tool/exit_code.h"
#include "tool/sessions.h"
#include "tool/time_limits.h"
#include "wire/handle.h"
#include "wire/rc.h"

namespace tpmspace::tool {
namespace {

std::optional<std::uint32_t> parse_handle(std::string_view text) {
  if (!text.starts_with("0x") && !text.starts_with("0X")) return std::nullopt;
  text.remove_prefix(2);
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  const std::uint32_t type = out >> 24;
  return type == 0x02 || type == 0x03 ? std::optional(out) : std::nullopt;
}

std::string not_a_handle(const std::string& text) {
  return "\"" + text + "\" is not a session handle: session handles are 0x02... or 0x03..., as in `tpmspace sessions`";
}

tl::expected<proto::SessionOrder, std::string> these(const std::vector<std::string>& handles) {
  proto::FlushThese out;
  if (handles.size() > proto::kMaxHandles)
    return tl::make_unexpected(fmt::format("flush takes at most {} handles", proto::kMaxHandles));
  for (const std::string& text : handles) {
    const auto handle = parse_handle(text);
    if (!handle) return tl::make_unexpected(not_a_handle(text));
    out.handles.push_back(*handle);
  }
  return out;
}

std::string flush_error(const client::Error& error) {
  if (error.code == wire::from_manager(wire::rc::kDisabled)) return error.what + only_administrators();
  if (error.code == wire::from_manager(wire::rc::kReferenceH0))
    return error.what + ": no program has this session in the TPM; `tpmspace sessions` lists the sessions";
  if (error.code == wire::from_manager(wire::rc::kSessionMemory))
    return error.what + ": no more sessions can be reserved: the chip has few slots, and other clients need a slot";
  if (error.code == wire::from_manager(wire::rc::kMemory))
    return error.what + ": too many orders about sessions are pending; try again";
  if (error.code == wire::from_manager(wire::rc::kFailure))
    return error.what + ": the TPM does not answer; see `tpmspace status` and the log of tpmspaced";
  return error.what;
}

}  // namespace

tl::expected<proto::SessionOrder, std::string> what_to_flush(const FlushOptions& options) {
  const int kinds = (options.handles.empty() ? 0 : 1) + (options.abandoned ? 1 : 0) + (options.owner ? 1 : 0);
  if (kinds != 1)
    return tl::make_unexpected("flush needs one of: handles, --abandoned, --owner USER; `tpmspace flush --help`");
  if (options.abandoned) return proto::FlushAbandoned{};
  if (options.owner) {
    const auto uid = user_named(*options.owner);
    if (!uid)
      return tl::make_unexpected(fmt::format(
          "--owner: there is no user \"{}\": write a name that this machine knows, or a number", *options.owner));
    return proto::FlushOwner{*uid};
  }
  return these(options.handles);
}

std::string flushed_text(const std::vector<proto::SessionEntry>& flushed) {
  if (flushed.empty()) return "flushed nothing: no such session exists\n";
  std::string out;
  for (const auto& entry : flushed)
    out += fmt::format("flushed 0x{:08x}: {}, {}, of uid {}, idle for {}\n", entry.handle, kind_name(entry.kind),
                       state_name(entry.state), entry.uid, age_text(entry.idle));
  return out;
}

std::vector<std::string> not_there(const proto::SessionOrder& what, const std::vector<proto::SessionEntry>& flushed) {
  std::vector<std::string> out;
  const auto* named = std::get_if<proto::FlushThese>(&what);
  if (named == nullptr) return out;
  for (const std::uint32_t handle : named->handles) {
    const bool there = std::any_of(flushed.begin(), flushed.end(), [&](const auto& entry) {
      return wire::number_of(entry.handle) == wire::number_of(handle);
    });
    if (!there) out.push_back(fmt::format("there is no session 0x{:08x}", handle));
  }
  return out;
}

int flush_sessions(const FlushOptions& options) {
  const auto what = what_to_flush(options);
  if (!what) {
    print_error(what.error());
    return kExitUsage;
  }
  auto connection = connect_to_administer(options.manager);
  if (!connection) {
    print_error(connection.error().what);
    return kExitFailure;
  }
  const auto flushed = connection->order(*what, kFlushMs);
  if (!flushed) {
    print_error(flush_error(flushed.error()));
    return kExitFailure;
  }
  const auto missing = not_there(*what, *flushed);
  if (!flushed->empty() || missing.empty())
    if (!print(flushed_text(*flushed))) return kExitFailure;
  for (const std::string& sentence : missing) print_error(sentence);
  return missing.empty() ? kExitOk : kExitFailure;
}

int reserve_session(const ReserveOptions& options) {
  const auto handle = parse_handle(options.handle);
  if (!handle) {
    print_error(not_a_handle(options.handle));
    return kExitUsage;
  }
  auto connection = connect_to_administer(options.manager);
  if (!connection) {
    print_error(connection.error().what);
    return kExitFailure;
  }
  const auto done = connection->order(proto::ReserveThis{*handle, !options.release}, kFlushMs);
  if (!done) {
    print_error(flush_error(done.error()));
    return kExitFailure;
  }
  if (done->empty()) {
    print_error(fmt::format("there is no session 0x{:08x} in the TPM", *handle));
    return kExitFailure;
  }
  std::string out;
  for (const auto& entry : *done)
    out +=
        fmt::format("0x{:08x} of uid {} {}\n", entry.handle, entry.uid,
                    options.release ? "may be moved and reclaimed again" : "stays loaded until it is released or ends");
  return print(out) ? kExitOk : kExitFailure;
}

}  // namespace tpmspace::tool
