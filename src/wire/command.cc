#include "wire/command.h"

#include <algorithm>
#include <utility>

namespace tpmspace::wire {
namespace {

// TPM2B_NONCE and TPM2B_AUTH hold at most the largest digest of any TPM (SHA-512); a chip with a smaller limit refuses
// by itself.
constexpr std::size_t kMaxDigest = 64;
constexpr std::uint32_t kMinAuthorizationArea = 9;

// Tags of structures that are not commands: libtpms distinguishes them from unknown tags (TPM_ST, Part 2, 6.9).
bool is_tag_of_something_else(std::uint16_t tag) {
  constexpr std::uint16_t kResponseOfTpm12 = 0x00C4, kNull = 0x8000, kAttestNv = 0x8014, kAttestCreation = 0x801A,
                          kCreation = 0x8021, kAuthSigned = 0x8025;
  return tag == kResponseOfTpm12 || tag == kNull || (tag >= kAttestNv && tag <= kAttestCreation) ||
         (tag >= kCreation && tag <= kAuthSigned);
}

// A TPM2B of at most kMaxDigest bytes. On failure: the code without its session number.
tl::expected<std::pair<std::size_t, std::size_t>, Rc> digest_field(Reader& in, std::size_t base) {
  const auto size = in.u16();
  if (!size) return tl::unexpected(rc::kInsufficient);
  if (*size > kMaxDigest) return tl::unexpected(rc::kSize);
  const std::size_t at = base + in.offset();
  if (!in.take(*size)) return tl::unexpected(rc::kInsufficient);
  return std::pair{at, std::size_t{*size}};
}

// Reads one authorization from `in`, which starts `base` bytes into the command.
tl::expected<Authorization, Rc> read_authorization(Reader& in, std::size_t base) {
  Authorization out;
  out.at = base + in.offset();
  const auto handle = in.u32();
  if (!handle) return tl::unexpected(rc::kInsufficient);
  if (!is_session(*handle) && *handle != kPasswordSession) return tl::unexpected(rc::kValue);
  out.handle = ClientHandle{*handle};

  const auto nonce = digest_field(in, base);
  if (!nonce) return tl::unexpected(nonce.error());
  std::tie(out.nonce_at, out.nonce_size) = *nonce;

  const auto attributes = in.u8();
  if (!attributes) return tl::unexpected(rc::kInsufficient);
  if ((*attributes & session_attribute::kReserved) != 0) return tl::unexpected(rc::kReservedBits);
  out.attributes = *attributes;

  const auto hmac = digest_field(in, base);
  if (!hmac) return tl::unexpected(hmac.error());
  std::tie(out.hmac_at, out.hmac_size) = *hmac;
  return out;
}

tl::expected<std::vector<Authorization>, Rc> read_authorizations(ByteView area, std::size_t base) {
  std::vector<Authorization> out;
  Reader in(area);
  while (!in.empty()) {
    const auto number = static_cast<unsigned>(out.size() + 1);
    if (out.size() == kMaxAuthorizations) return tl::unexpected(rc::in_session(rc::kSize, number));
    auto one = read_authorization(in, base);
    if (!one) return tl::unexpected(rc::in_session(one.error(), number));
    out.push_back(*one);
  }
  return out;
}

// The number of the session that encrypts the first parameter, counted from 1. Nullopt: none.
std::optional<unsigned> decrypt_session(const std::vector<Authorization>& authorizations) {
  for (std::size_t i = 0; i < authorizations.size(); ++i)
    if (!authorizations[i].is_password() && (authorizations[i].attributes & session_attribute::kDecrypt) != 0)
      return static_cast<unsigned>(i + 1);
  return std::nullopt;
}

// The size of an encrypted parameter is never encrypted. If the size is cut, or exceeds the following bytes, many TPMs
// read and write beyond their buffer (CVE-2023-1017, CVE-2023-1018): no TPM gets such a command.
tl::expected<void, Rc> check_encrypted_parameter(ByteView parameters) {
  Reader in(parameters);
  const auto size = in.u16();
  if (!size) return tl::unexpected(rc::kInsufficient);
  if (*size > in.remaining()) return tl::unexpected(rc::kSize);
  return {};
}

bool any_has(const std::vector<Authorization>& authorizations, std::uint8_t attribute) {
  return std::any_of(authorizations.begin(), authorizations.end(),
                     [&](const Authorization& a) { return (a.attributes & attribute) != 0; });
}

}  // namespace

std::optional<Header> read_header(ByteView message) {
  Reader in(message);
  const auto tag = in.u16();
  const auto size = in.u32();
  const auto code = in.u32();
  if (!tag || !size || !code) return std::nullopt;
  return Header{*tag, *size, *code};
}

// The order of the checks is that of libtpms (ExecCommand.c, SessionProcess.c): header, code, handles, authorizations,
// the parameter to decrypt.
tl::expected<Command, Rc> Command::parse(Bytes message, const CommandTable& table, std::size_t max_size) {
  Reader in(message);
  const auto tag = in.u16();
  if (!tag) return tl::unexpected(rc::kInsufficient);
  if (*tag != kTagNoSessions && *tag != kTagSessions)
    return tl::unexpected(is_tag_of_something_else(*tag) ? rc::kBadTagTpm12 : rc::kValue);
  const auto announced = in.u32();
  if (!announced) return tl::unexpected(rc::kInsufficient);
  if (*announced != message.size() || message.size() > max_size) return tl::unexpected(rc::kCommandSize);
  const auto code = in.u32();
  if (!code) return tl::unexpected(rc::kInsufficient);

  Command out;
  out.row_ = table.find(*code);
  if (out.row_ == nullptr) return tl::unexpected(rc::kCommandCode);
  out.has_sessions_ = *tag == kTagSessions;
  for (unsigned i = 0; i < out.row_->handles; ++i)
    if (!in.u32()) return tl::unexpected(rc::in_handle(rc::kInsufficient, i + 1));

  if (out.has_sessions_) {
    const auto size = in.u32();
    if (!size) return tl::unexpected(rc::kInsufficient);
    if (*size < kMinAuthorizationArea || *size > in.remaining()) return tl::unexpected(rc::kSize);
    if (!out.row_->sessions_allowed) return tl::unexpected(rc::kAuthContext);
    const std::size_t base = in.offset();
    const auto area = in.take(*size);
    auto authorizations = read_authorizations(*area, base);
    if (!authorizations) return tl::unexpected(authorizations.error());
    out.authorizations_ = std::move(*authorizations);
  }
  if (out.authorizations_.size() < out.row_->auth_handles) return tl::unexpected(rc::kAuthMissing);

  if (const auto session = decrypt_session(out.authorizations_); session && out.row_->encryptable)
    if (const auto good = check_encrypted_parameter(in.rest()); !good)
      return tl::unexpected(rc::in_session(good.error(), *session));

  out.parameters_at_ = in.offset();
  out.bytes_ = std::move(message);
  return out;
}

ClientHandle Command::handle(std::size_t index) const {
  Reader in(bytes().subspan(handle_at(index)));
  return ClientHandle{in.u32().value_or(0)};
}

bool Command::first_parameter_encrypted() const {
  return any_has(authorizations_, session_attribute::kDecrypt);
}
bool Command::first_response_parameter_encrypted() const {
  return any_has(authorizations_, session_attribute::kEncrypt);
}

}  // namespace tpmspace::wire
