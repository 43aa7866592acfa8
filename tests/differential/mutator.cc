#include "mutator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "wire/command.h"
#include "wire/handle.h"

namespace tpmspace::differential {

using wire::Writer;

namespace {

constexpr std::size_t kSizeAt = 2, kCodeAt = 6;

std::uint32_t u32_at(ByteView data, std::size_t at) {
  return wire::Reader(data.subspan(at)).u32().value_or(0);
}
void put_u16(Bytes& data, std::size_t at, std::uint16_t value) {
  data[at] = static_cast<std::uint8_t>(value >> 8);
  data[at + 1] = static_cast<std::uint8_t>(value);
}

// Where the authorization area's size is, and where it ends; nullopt: it has none.
struct Area {
  std::size_t at = 0, end = 0;
};
std::optional<Area> authorization_area(ByteView command, const wire::CommandTable& table) {
  const auto header = wire::read_header(command);
  const auto* row = header ? table.find(header->code) : nullptr;
  if (row == nullptr) return std::nullopt;
  const std::size_t at = wire::Command::handle_at(row->handles);
  if (header->tag != wire::kTagSessions) return at <= command.size() ? std::optional(Area{at, at}) : std::nullopt;
  if (at + 4 > command.size()) return std::nullopt;
  const std::size_t size = u32_at(command, at);
  return size <= command.size() - at - 4 ? std::optional(Area{at, at + 4 + size}) : std::nullopt;
}

Bytes splice(ByteView command, Area area, ByteView middle) {
  return Writer().raw(command.first(area.at)).raw(middle).raw(command.subspan(area.end)).take();
}

}  // namespace

std::uint64_t Random::next() {
  state_ += 0x9E3779B97F4A7C15;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

Mutator::Mutator(const wire::CommandTable& table, std::vector<std::uint32_t> handles)
    : table_(table), handles_(std::move(handles)) {}

Bytes Mutator::mutate(ByteView command, std::uint64_t number) {
  // How often each kind comes, in their order.
  constexpr std::uint64_t kWeights[] = {10, 8, 10, 8, 8, 3, 5, 1, 10, 4, 20, 8, 5};
  constexpr std::uint64_t kSum = 100;
  random_ = Random(number);
  keep_sizes_ = false;
  Bytes out = wire::to_bytes(command);
  const int rounds = random_.one_in(4) ? 2 : 1;
  for (int i = 0; i < rounds; ++i) {
    std::uint64_t at = random_.below(kSum);
    std::size_t kind = 0;
    while (at >= kWeights[kind]) at -= kWeights[kind++];
    damage(static_cast<Damage>(kind), out);
  }
  if (!keep_sizes_ && out.size() >= wire::kHeaderSize && !random_.one_in(10))
    wire::put_u32(out, kSizeAt, static_cast<std::uint32_t>(out.size()));
  return out;
}

void Mutator::damage(Damage kind, Bytes& command) {
  constexpr std::uint16_t kTags[] = {0x8001, 0x8002, 0x0000, 0x00C1, 0x00C4, 0x8000, 0x8003, 0x8019, 0x8024, 0x8029};
  if (command.size() < wire::kHeaderSize) return;
  const std::size_t place = static_cast<std::size_t>(random_.below(command.size()));
  switch (kind) {
    case Damage::kBits:
      command[place] ^= static_cast<std::uint8_t>(1U << random_.below(8));
      return;
    case Damage::kByte:
      command[place] = static_cast<std::uint8_t>(random_.next());
      return;
    case Damage::kTruncate:
      command.resize(place);
      return;
    case Damage::kExtend:
      for (auto n = random_.below(16) + 1; n > 0; --n) command.push_back(static_cast<std::uint8_t>(random_.next()));
      return;
    case Damage::kSizeField:
      return damage_size_field(command);
    case Damage::kTag:
      return put_u16(command, 0, random_.pick(kTags));
    case Damage::kHeaderSize:
      return damage_header_size(command);
    case Damage::kHuge:
      return make_huge(command);
    case Damage::kHandle:
      return swap_handle(command);
    case Damage::kCode:
      return change_code(command);
    case Damage::kAuthorizations:
      return replace_authorizations(command);
    case Damage::kAuthorizationSize:
      return damage_authorization_size(command);
    case Damage::kNoAuthorizations:
      return remove_authorizations(command);
  }
}

void Mutator::damage_size_field(Bytes& command) {
  constexpr std::uint16_t kSizes[] = {0, 1, 2, 8, 9, 31, 32, 33, 63, 64, 65, 128, 1024, 0x7FFF, 0x8000, 0xFFFF};
  if (command.size() < wire::kHeaderSize + 2) return;
  const auto place =
      wire::kHeaderSize + static_cast<std::size_t>(random_.below(command.size() - wire::kHeaderSize - 1));
  put_u16(command, place, random_.pick(kSizes));
}

void Mutator::damage_header_size(Bytes& command) {
  const auto size = static_cast<std::uint32_t>(command.size());
  const std::uint32_t sizes[] = {0, 5, 9, 10, size - 1, size + 1, 4096, 4097, 0x7FFFFFFF, 0xFFFFFFFF};
  wire::put_u32(command, kSizeAt, random_.pick(sizes));
  keep_sizes_ = true;
}

// Around and over the chip's buffer.
void Mutator::make_huge(Bytes& command) {
  constexpr std::size_t kSizes[] = {4090, 4095, 4096, 4097, 4100, 5000, 8000};
  command.resize(std::max(command.size(), random_.pick(kSizes)), 0x55);
}

void Mutator::swap_handle(Bytes& command) {
  const auto* row = table_.find(u32_at(command, kCodeAt));
  if (row == nullptr || row->handles == 0) return;
  const auto at = wire::Command::handle_at(static_cast<std::size_t>(random_.below(row->handles)));
  if (at + 4 <= command.size()) wire::put_u32(command, at, random_.pick(handles_));
}

void Mutator::change_code(Bytes& command) {
  const auto rows = table_.rows();
  const std::uint32_t old = u32_at(command, kCodeAt);
  const std::uint32_t codes[] = {
      random_.pick(rows).code, random_.pick(rows).code, old ^ 0x20000000, 0, old + 1, old - 1};
  wire::put_u32(command, kCodeAt, random_.pick(codes));
}

std::uint32_t Mutator::session_handle() {
  constexpr std::uint32_t kLikely[] = {wire::kPasswordSession, wire::kPasswordSession, wire::kPasswordSession,
                                       0x02000000, 0x03000001};
  constexpr std::uint32_t kOthers[] = {0x03000000, 0x02000001, 0x02000002, 0x0300003F, 0x02000040, 0x03FFFFFF,
                                       0x40000001, 0x40000007, 0x4000000A, 0x80000000, 0x01800001, 0x00000000};
  return random_.one_in(4) ? random_.pick(kOthers) : random_.pick(kLikely);
}

Bytes Mutator::authorization() {
  constexpr std::uint8_t kAttributes[] = {0x00, 0x01, 0x20, 0x21, 0x40, 0x41, 0x61,
                                          0x80, 0x81, 0x85, 0x83, 0x08, 0x10, 0xFF};
  constexpr std::uint16_t kLengths[] = {1, 16, 32, 63, 64, 65, 0xFFFF};
  const auto length = [&] { return random_.one_in(4) ? random_.pick(kLengths) : std::uint16_t{0}; };
  // Announced bytes are mostly there.
  const auto field = [&](std::uint16_t n) {
    const std::size_t there = n > 100 || random_.one_in(8) ? static_cast<std::size_t>(random_.below(8)) : n;
    return Writer().u16(n).raw(Bytes(there, 0x77)).take();
  };
  Writer out;
  out.u32(session_handle()).raw(field(length()));
  out.u8(random_.one_in(3) ? random_.pick(kAttributes) : std::uint8_t{1}).raw(field(length()));
  Bytes whole = out.take();
  if (random_.one_in(10)) whole.resize(static_cast<std::size_t>(random_.below(whole.size())));
  return whole;
}

void Mutator::replace_authorizations(Bytes& command) {
  const auto area = authorization_area(command, table_);
  if (!area) return;
  Writer authorizations;
  for (auto n = random_.below(5); n > 0; --n) authorizations.raw(authorization());
  const auto size = static_cast<std::uint32_t>(authorizations.bytes().size());
  command = splice(command, *area, Writer().u32(size).raw(authorizations.bytes()).take());
  put_u16(command, 0, wire::kTagSessions);
}

void Mutator::damage_authorization_size(Bytes& command) {
  constexpr std::uint32_t kSizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80000009, 0xFFFFFFFF};
  const auto area = authorization_area(command, table_);
  if (!area || area->end == area->at) return;
  const auto real = static_cast<std::uint32_t>(area->end - area->at - 4);
  const auto near = real + static_cast<std::uint32_t>(random_.below(41)) - 20;
  wire::put_u32(command, area->at, random_.one_in(2) ? random_.pick(kSizes) : near);
}

void Mutator::remove_authorizations(Bytes& command) {
  const auto area = authorization_area(command, table_);
  if (!area) return;
  command = splice(command, *area, {});
  if (!random_.one_in(3)) put_u16(command, 0, wire::kTagNoSessions);
}

}  // namespace tpmspace::differential
