#include "safe_client.h"

#include <algorithm>
#include <array>
#include <utility>

#include "guard/verdict.h"
#include "wire/handle.h"
#include "wire/response.h"

namespace tpmspace::fuzz {
namespace {

using wire::HandleUse;
using wire::Writer;
namespace cc = wire::cc;
namespace rc = wire::rc;

constexpr std::uint32_t kNull = 0x40000007;
constexpr std::array<std::uint32_t, 4> kPrimaryHierarchies = {0x40000001, kNull, 0x4000000B, kNull};

}  // namespace

SafeClient::SafeClient(std::uint64_t seed, const guard::Profile& profile, std::vector<std::uint32_t> nv,
                       std::vector<std::uint32_t> persistent)
    : dice_(seed), profile_(profile), nv_(std::move(nv)), persistent_(std::move(persistent)) {
  constexpr std::array kOften = {cc::kCreatePrimary, cc::kStartAuthSession, cc::kLoadExternal, cc::kHashSequenceStart,
                                 cc::kFlushContext,  cc::kCreate,           cc::kLoad};
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    if (!profile.commands.contains(row.code) || letters_of(row.code) == nullptr) continue;
    const bool often = std::count(kOften.begin(), kOften.end(), row.code) != 0;
    rows_.insert(rows_.end(), often ? 4 : 1, &row);
  }
}

std::vector<std::uint32_t> SafeClient::own() const {
  std::vector<std::uint32_t> out = objects_;
  out.insert(out.end(), sequences_.begin(), sequences_.end());
  out.insert(out.end(), sessions_.begin(), sessions_.end());
  return out;
}

Bytes SafeClient::next() {
  if (const auto gone = std::exchange(to_flush_, std::nullopt))
    return Writer().u16(wire::kTagNoSessions).u32(14).u32(cc::kFlushContext).u32(*gone).take();
  for (;;) {
    Bytes out = compose(*dice_.pick(rows_));
    if (out.size() > wire::kHeaderSize && dice_.one_in(10))
      out[wire::kHeaderSize + dice_.below(out.size() - wire::kHeaderSize)] ^=
          static_cast<std::uint8_t>(1U << dice_.below(8));
    const auto command = wire::Command::parse(out, wire::CommandTable::builtin(), 4096);
    if (command && guard::judge(profile_, *command, 0).allowed()) return out;
  }
}

Bytes SafeClient::compose(const wire::CommandRow& row) {
  Writer body;
  for (unsigned i = 0; i < row.handles; ++i) body.u32(handle_for(row.uses[i]));
  const Bytes area = authorizations(row);
  if (!area.empty()) body.u32(static_cast<std::uint32_t>(area.size())).raw(area);
  body.raw(parameters(letters_of(row.code), dice_, pool_, own()));
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size());
  return Writer()
      .u16(area.empty() ? wire::kTagNoSessions : wire::kTagSessions)
      .u32(size)
      .u32(row.code)
      .raw(body.bytes())
      .take();
}

std::uint32_t SafeClient::any_handle() {
  switch (dice_.below(5)) {
    case 0:
      return objects_.empty() ? kNull : dice_.pick(objects_);
    case 1:
      return dice_.pick(kPrimaryHierarchies);
    case 2:
      return sequences_.empty() ? kNull : dice_.pick(sequences_);
    case 3:
      return sessions_.empty() ? kNull : dice_.pick(sessions_);
    default:
      return dice_.one_in(2) ? dice_.pick(persistent_) : dice_.pick(nv_);
  }
}

std::uint32_t SafeClient::handle_for(HandleUse use) {
  if (dice_.one_in(12)) return any_handle();
  switch (use) {
    case HandleUse::kOwn:
      if (!sequences_.empty() && dice_.one_in(2)) return dice_.pick(sequences_);
      if (!objects_.empty() && dice_.one_in(6)) return dice_.pick(objects_);
      return sessions_.empty() ? any_handle() : dice_.pick(sessions_);
    case HandleUse::kParent:
      if (dice_.one_in(2)) return dice_.pick(kPrimaryHierarchies);
      return dice_.one_in(3) || objects_.empty() ? dice_.pick(persistent_) : dice_.pick(objects_);
    case HandleUse::kNvAuthority:
    case HandleUse::kNvRead:
      return dice_.pick(nv_);
    case HandleUse::kAuthority:
    case HandleUse::kSaltKey:
      return dice_.one_in(2) ? dice_.pick(kPrimaryHierarchies) : any_handle();
    case HandleUse::kPcrExtend:
      return kNull;
    case HandleUse::kPublic:
      return dice_.one_in(3) ? dice_.pick(nv_) : any_handle();
    default:
      return objects_.empty() ? any_handle() : dice_.pick(objects_);
  }
}

Bytes SafeClient::authorizations(const wire::CommandRow& row) {
  if (!row.sessions_allowed) return {};
  Writer out;
  const auto one = [&](std::uint32_t session, std::uint8_t attributes) {
    out.u32(session).u16(0).u8(attributes).u16(0);
  };
  for (unsigned i = 0; i < row.auth_handles; ++i) {
    const bool by_session = !sessions_.empty() && dice_.one_in(8);
    one(by_session ? dice_.pick(sessions_) : wire::kPasswordSession, by_session ? 0x01 : 0x00);
  }
  // One more that only encrypts, decrypts or audits.
  if (row.auth_handles < 3 && !sessions_.empty() && dice_.one_in(4)) {
    constexpr std::array<std::uint8_t, 6> kAttributes = {0x21, 0x41, 0x61, 0x81, 0x20, 0xC1};
    one(dice_.pick(sessions_), dice_.pick(kAttributes));
  }
  return out.take();
}

void SafeClient::forget(std::uint32_t handle) {
  for (auto* list : {&objects_, &sequences_, &sessions_}) std::erase(*list, handle);
}

void SafeClient::learn(const wire::Command& command, ByteView response) {
  const auto header = wire::read_header(response);
  if (!header) return;
  const bool objects_full = header->code == rc::kObjectMemory || header->code == rc::kObjectHandles;
  const bool sessions_full = header->code == rc::kSessionMemory || header->code == rc::kSessionHandles;
  if (objects_full && !(objects_.empty() && sequences_.empty()))
    to_flush_ = dice_.pick(sequences_.empty() || (!objects_.empty() && dice_.one_in(2)) ? objects_ : sequences_);
  if (sessions_full && !sessions_.empty()) to_flush_ = dice_.pick(sessions_);
  if (header->code != rc::kSuccess) return;
  const auto& row = command.row();
  const auto parsed = wire::Response::parse(wire::to_bytes(response), row, command.has_sessions());
  if (!parsed) return;
  if (const auto handle = parsed->handle()) {
    forget(handle->value);
    if (wire::is_session(handle->value))
      sessions_.push_back(handle->value);
    else if (row.creates == wire::Creates::kSequence)
      sequences_.push_back(handle->value);
    else
      objects_.push_back(handle->value);
  }
  if (row.flushes_handle >= 0) forget(command.handle(static_cast<std::size_t>(row.flushes_handle)).value);
  if (row.code == cc::kFlushContext)
    if (const auto gone = wire::Reader(command.parameters()).u32()) forget(*gone);
  if (row.code == cc::kContextSave && wire::is_session(command.handle(0).value)) forget(command.handle(0).value);
  pool_.learn(row.code, parsed->parameters());
}

}  // namespace tpmspace::fuzz
