#include "proto/clients.h"

#include <algorithm>

#include "proto/text.h"

namespace tpmspace::proto {
namespace {

constexpr std::string Who::*kTexts[] = {&Who::executable,    &Who::unit,     &Who::container, &Who::pod,
                                        &Who::tpm_namespace, &Who::listener, &Who::profile,   &Who::chip};

void put(wire::Writer& out, const Who& who) {
  out.u32(who.uid).u32(who.pid);
  for (const auto text : kTexts) put_string(out, who.*text);
}

bool get(wire::Reader& in, Who& who) {
  const auto uid = in.u32(), pid = in.u32();
  if (!uid || !pid) return false;
  who.uid = *uid;
  who.pid = *pid;
  for (const auto text : kTexts) {
    auto value = get_string(in);
    if (!value) return false;
    who.*text = std::move(*value);
  }
  return true;
}

void put(wire::Writer& out, const std::optional<RefusedCommand>& refusal) {
  out.u8(refusal ? 1 : 0);
  if (!refusal) return;
  out.u64(refusal->ago);
  put_string(out, refusal->command);
  out.u32(refusal->code);
  put_string(out, refusal->reason);
}

bool get(wire::Reader& in, std::optional<RefusedCommand>& refusal) {
  const auto has_one = in.u8();
  if (!has_one || *has_one > 1) return false;
  if (*has_one == 0) return true;
  const auto ago = in.u64();
  auto command = get_string(in);
  const auto code = in.u32();
  auto reason = get_string(in);
  if (!ago || !command || !code || !reason) return false;
  refusal = {*ago, std::move(*command), *code, std::move(*reason)};
  return true;
}

void put(wire::Writer& out, const ClientEntry& client) {
  out.u64(client.connection);
  put(out, client.who);
  out.u64(client.age).u64(client.commands).u64(client.tpm_time).u64(client.waiting);
  put_string(out, client.waits_for);
  out.u32(client.objects).u32(client.sessions);
  put(out, client.refusal);
}

bool get(wire::Reader& in, ClientEntry& client) {
  const auto connection = in.u64();
  if (!connection || !get(in, client.who)) return false;
  const auto age = in.u64(), commands = in.u64(), tpm_time = in.u64(), waiting = in.u64();
  auto waits_for = get_string(in);
  const auto objects = in.u32(), sessions = in.u32();
  if (!age || !commands || !tpm_time || !waiting || !waits_for || !objects || !sessions) return false;
  client.connection = *connection;
  client.age = *age;
  client.commands = *commands;
  client.tpm_time = *tpm_time;
  client.waiting = *waiting;
  client.waits_for = std::move(*waits_for);
  client.objects = *objects;
  client.sessions = *sessions;
  return get(in, client.refusal);
}

void put(wire::Writer& out, const std::vector<std::string>& texts, std::size_t most) {
  const std::size_t n = std::min(texts.size(), most);
  out.u16(static_cast<std::uint16_t>(n));
  for (std::size_t i = 0; i < n; ++i) put_string(out, texts[i]);
}

bool get(wire::Reader& in, std::vector<std::string>& texts, std::size_t most) {
  const auto n = in.u16();
  if (!n || *n > most) return false;
  for (std::size_t i = 0; i < *n; ++i) {
    auto text = get_string(in);
    if (!text) return false;
    texts.push_back(std::move(*text));
  }
  return true;
}

}  // namespace

wire::Bytes encode_clients(const Clients& clients) {
  const std::size_t n = std::min(clients.clients.size(), kMaxClients);
  wire::Writer out;
  out.u16(kClientsVersion).u32(clients.total).u16(static_cast<std::uint16_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    wire::Writer record;
    put(record, clients.clients[i]);
    out.tpm2b(record.bytes());
  }
  return out.take();
}

std::optional<Clients> decode_clients(wire::ByteView body) {
  wire::Reader in(body);
  if (!has_version(in, kClientsVersion)) return std::nullopt;
  const auto total = in.u32();
  const auto n = in.u16();
  if (!total || !n || *n > kMaxClients) return std::nullopt;
  Clients out{*total, {}};
  for (std::size_t i = 0; i < *n; ++i) {
    const auto record = in.tpm2b();
    if (!record) return std::nullopt;
    wire::Reader fields(*record);
    if (!get(fields, out.clients.emplace_back())) return std::nullopt;
  }
  return out;
}

wire::Bytes encode_question(const WhoQuestion& question) {
  wire::Writer out;
  out.u32(question.pid);
  put(out, question.words, kMaxWords);
  return out.take();
}

std::optional<WhoQuestion> decode_question(wire::ByteView body) {
  wire::Reader in(body);
  const auto pid = in.u32();
  WhoQuestion out{pid.value_or(0), {}};
  if (!pid || !get(in, out.words, kMaxWords) || !in.empty()) return std::nullopt;
  return out;
}

wire::Bytes encode_report(const WhoReport& report) {
  wire::Writer out;
  out.u16(kClientsVersion).u64(report.connection);
  put(out, report.who);
  out.u32(report.connections).u8(report.administers ? 1 : 0);
  put(out, report.reasons, kMaxReasons);
  put(out, report.refusal);
  put_string(out.u8(static_cast<std::uint8_t>(report.outcome)), report.text);
  return out.take();
}

std::optional<WhoReport> decode_report(wire::ByteView body) {
  wire::Reader in(body);
  if (!has_version(in, kClientsVersion)) return std::nullopt;
  WhoReport out;
  const auto connection = in.u64();
  if (!connection || !get(in, out.who)) return std::nullopt;
  const auto connections = in.u32();
  const auto administers = in.u8();
  if (!connections || !administers || *administers > 1 || !get(in, out.reasons, kMaxReasons) || !get(in, out.refusal))
    return std::nullopt;
  const auto outcome = in.u8();
  auto text = get_string(in);
  if (!outcome || *outcome > static_cast<std::uint8_t>(WhoReport::Outcome::kCannotBeSaid) || !text) return std::nullopt;
  out.connection = *connection;
  out.connections = *connections;
  out.administers = *administers != 0;
  out.outcome = WhoReport::Outcome{*outcome};
  out.text = std::move(*text);
  return out;
}

}  // namespace tpmspace::proto
