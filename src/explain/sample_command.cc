#include "explain/sample_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <string_view>
#include <utility>

#include "config/number_list.h"
#include "explain/argument_error.h"
#include "explain/command_meant.h"
#include "wire/command_name.h"
#include "wire/handle.h"

namespace tpmspace::explain {
namespace {

using wire::Bytes;
using wire::CommandRow;
using wire::HandleUse;
using wire::Names;
using wire::Writer;

constexpr std::uint16_t kSha256 = 0x000B, kNoScheme = 0x0010, kAnonymous = 0x001A;  // TPM_ALG_NULL, TPM_ALG_ECDAA
constexpr std::uint32_t kOwnSession = 0x03000000, kOwnObject = wire::kFirstTransient;
constexpr std::uint32_t kMostPcr = 63;
constexpr std::size_t kMaxCommand = 4096;

// The words given.
struct Said {
  std::vector<std::uint32_t> handles;
  std::optional<std::uint32_t> hierarchy, persistent, index;
  std::optional<std::uint64_t> pcrs;  // a bit for each
  std::optional<std::uint16_t> scheme;
};

template <typename T>
using Result = tl::expected<T, std::string>;

std::optional<std::uint32_t> handle_in(std::string_view text) {
  const auto named = config::hierarchy_named(text);
  return named ? named : config::number_in(text);
}

// "16", "0-7", "none".
std::optional<std::uint64_t> pcrs_in(std::string_view text) {
  if (text == "none") return 0;
  const auto range = config::range_in(text);
  if (!range || range->first > range->last || range->last > kMostPcr) return std::nullopt;
  std::uint64_t out = 0;
  for (std::uint64_t pcr = range->first; pcr <= range->last; ++pcr) out |= std::uint64_t{1} << pcr;
  return out;
}

std::optional<std::uint16_t> scheme_in(std::string_view text) {
  if (text == "null") return kNoScheme;
  if (text == "ecdaa") return kAnonymous;
  const auto number = config::number_in(text);
  if (!number || *number > UINT16_MAX) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

std::optional<std::uint32_t> number_of_kind(std::optional<std::uint32_t> number, const config::NumberKind& kind) {
  return number && config::is_possible(kind, {*number, *number}) ? number : std::nullopt;
}

UsageError take_handle_of(const config::NumberKind& kind, std::string_view value, std::string_view example,
                          std::optional<std::uint32_t>& out) {
  return take_once(
      number_of_kind(config::number_in(value), kind),
      fmt::format("this is no {}: write {}; possible are {}", kind.singular, example, config::possible_of(kind)), out);
}

struct Parameter {
  std::string_view name, example;
  UsageError (*take)(std::string_view value, Said& out);
};
constexpr std::array kParameters{
    Parameter{"hierarchy", "hierarchy=owner",
              [](std::string_view value, Said& out) {
                return take_once(number_of_kind(handle_in(value), config::kHierarchies),
                                 "write a hierarchy: owner, endorsement, platform, lockout or null", out.hierarchy);
              }},
    Parameter{"persistent", "persistent=0x81000001",
              [](std::string_view value, Said& out) {
                return take_handle_of(config::kPersistentHandles, value, "persistent=0x81000001", out.persistent);
              }},
    Parameter{"index", "index=0x01500016",
              [](std::string_view value, Said& out) {
                return take_handle_of(config::kNvIndices, value, "index=0x01500016", out.index);
              }},
    Parameter{"pcr", "pcr=16, pcr=0-7, pcr=none",
              [](std::string_view value, Said& out) -> UsageError {
                const auto pcrs = pcrs_in(value);
                if (!pcrs) return "write pcr=16, pcr=0-7 (again for more) or pcr=none; PCRs are 0 to 63";
                out.pcrs = out.pcrs.value_or(0) | *pcrs;
                return std::nullopt;
              }},
    Parameter{"scheme", "scheme=null or scheme=ecdaa",
              [](std::string_view value, Said& out) {
                return take_once(scheme_in(value), "write scheme=null, scheme=ecdaa, or an algorithm's number",
                                 out.scheme);
              }},
};

UsageError take_parameter(std::string_view name, std::string_view value, Said& out) {
  const auto* const found = std::find_if(kParameters.begin(), kParameters.end(),
                                         [&](const Parameter& parameter) { return parameter.name == name; });
  if (found != kParameters.end()) return found->take(value, out);
  std::vector<std::string> examples;
  examples.reserve(kParameters.size());
  for (const Parameter& parameter : kParameters) examples.emplace_back(parameter.example);
  return fmt::format("this is not a parameter that the guard reads: write {}", config::joined(examples));
}

UsageError take_handle(std::string_view word, Said& out) {
  const auto handle = handle_in(word);
  if (handle) {
    out.handles.push_back(*handle);
    return std::nullopt;
  }
  if (word.find(':') != std::string_view::npos)
    return "this is not a handle: write a PCR's number alone, as 16 for a handle or pcr=16 for a parameter";
  return "this is not a handle: write it as 0x81000001, or owner, endorsement, platform, lockout, null";
}

Result<Said> said_in(std::span<const std::string> words) {
  Said out;
  for (const std::string& all : words) {
    const std::string_view word = all;
    const auto equals = word.find('=');
    const auto wrong = equals == std::string_view::npos
                           ? take_handle(word, out)
                           : take_parameter(word.substr(0, equals), word.substr(equals + 1), out);
    if (wrong) return tl::unexpected(fmt::format("\"{}\": {}", word, *wrong));
  }
  return out;
}

// --- The row.

// A command that the table lacks, with as many handles as given: as a chip would describe the command.
void add_unknown(wire::CommandTable& table, wire::CommandCode code, std::size_t handles) {
  const std::uint32_t vendor = code & 0x20000000;
  const wire::CommandAttributes one{(code & 0xFFFF) | vendor | static_cast<std::uint32_t>(handles) << 25};
  table.adopt(std::span(&one, 1));
}

Result<const CommandRow*> row_of(const std::string& word, std::size_t handles, wire::CommandTable& table) {
  if (const CommandRow* row = wire::command_named(word, table)) return row;
  const auto code = word.starts_with("0x") ? config::number_in(word) : std::nullopt;
  if (!code) return tl::unexpected(no_such_command(word, table));
  if (table.find(*code) == nullptr && (*code & ~0x2000FFFFU) == 0 && handles <= wire::kMaxHandles)
    add_unknown(table, *code, handles);
  if (const CommandRow* row = table.find(*code)) return row;
  return tl::unexpected(
      fmt::format("\"{}\" cannot be the code of a command, or the command has too many handles", word));
}

// --- Handles.

bool follows(HandleUse use) {
  return use == HandleUse::kNvAuthority || use == HandleUse::kOwn;
}

std::string_view word_of(HandleUse use) {
  switch (use) {
    case HandleUse::kNvAuthority:
      return "[AUTHORITY]";
    case HandleUse::kOwn:
      return "[OWN]";
    case HandleUse::kNvRead:
    case HandleUse::kNvWrite:
    case HandleUse::kNvLock:
    case HandleUse::kNvDefine:
      return "INDEX";
    case HandleUse::kPcrExtend:
    case HandleUse::kPcrReset:
      return "PCR";
    case HandleUse::kAuthority:
    case HandleUse::kNvLockAll:
      return "AUTHORITY";
    case HandleUse::kParent:
      return "PARENT";
    default:
      return "HANDLE";
  }
}

// The only possible handle in a place; null: several are possible.
const config::NumberKind* kind_of(HandleUse use) {
  switch (use) {
    case HandleUse::kNvRead:
    case HandleUse::kNvWrite:
    case HandleUse::kNvLock:
    case HandleUse::kNvDefine:
      return &config::kNvIndices;
    case HandleUse::kPcrExtend:
    case HandleUse::kPcrReset:
      return &config::kPcrs;
    default:
      return nullptr;
  }
}

std::string_view parameter_of(Names names) {
  switch (names) {
    case Names::kHierarchy:
    case Names::kHashAndHierarchy:
      return "hierarchy=owner";
    case Names::kPersistent:
      return "persistent=0x81000001";
    case Names::kNvPublic:
    case Names::kNvPublic2:
      return "index=0x01500016";
    case Names::kPcrs:
    case Names::kSchemeAndPcrs:
      return "pcr=NUMBER";
    case Names::kScheme:
    case Names::kNothing:
      return "";
  }
  return "";
}

// The value of a named parameter that belongs among the handles, at a place for such handles; nullopt: no such value.
std::optional<std::uint32_t> said_as_parameter(HandleUse use, const CommandRow& row, const Said& said) {
  const auto is_free = [&](std::string_view name) { return !parameter_of(row.names.what).starts_with(name); };
  const config::NumberKind* kind = kind_of(use);
  if (kind == &config::kPcrs && said.pcrs && std::has_single_bit(*said.pcrs) && is_free("pcr"))
    return static_cast<std::uint32_t>(std::countr_zero(*said.pcrs));
  if (kind == &config::kNvIndices && is_free("index")) return said.index;
  if (kind != nullptr || follows(use)) return std::nullopt;
  if (said.persistent && is_free("persistent")) return said.persistent;
  return is_free("hierarchy") ? said.hierarchy : std::nullopt;
}

std::string shown(std::uint32_t handle, HandleUse use) {
  return kind_of(use) == &config::kPcrs ? fmt::format("{}", handle) : fmt::format("{:#010x}", handle);
}

// The usage of the command, with such a value in its place among the handles.
std::string usage_of(const CommandRow& row, const Said& said = {}) {
  std::string out(row.name);
  for (std::size_t i = 0; i < row.handles; ++i) {
    const auto handle = said_as_parameter(row.uses[i], row, said);
    out += " " + (handle ? shown(*handle, row.uses[i]) : std::string(word_of(row.uses[i])));
  }
  const auto parameter = parameter_of(row.names.what);
  return parameter.empty() ? out : fmt::format("{} {}", out, parameter);
}

std::string counted(std::size_t n) {
  return fmt::format("{} handle{}", n, n == 1 ? "" : "s");
}

std::string wrong_count(const CommandRow& row, const Said& said, std::size_t needed) {
  const auto uses = std::span(row.uses).first(row.handles);
  const bool is_misplaced = std::any_of(uses.begin(), uses.end(),
                                        [&](HandleUse use) { return said_as_parameter(use, row, said).has_value(); });
  if (is_misplaced && said.handles.size() < needed)
    return fmt::format("{} takes this as a handle, without a name: write {}", row.name, usage_of(row, said));
  const std::string wanted =
      needed == row.handles ? counted(needed) : fmt::format("{} or {}", needed, counted(row.handles));
  return fmt::format("{} has {}, not {}: write {}", row.name, row.handles == 0 ? "no handles" : wanted,
                     said.handles.size(), usage_of(row));
}

std::optional<std::string> wrong_kind(const CommandRow& row, const std::vector<std::uint32_t>& handles) {
  for (std::size_t i = 0; i < row.handles; ++i) {
    const config::NumberKind* kind = kind_of(row.uses[i]);
    if (kind != nullptr && !config::is_possible(*kind, {handles[i], handles[i]}))
      return fmt::format("{:#010x} is no {} (possible are {}): write {}", handles[i], kind->singular,
                         config::possible_of(*kind), usage_of(row));
  }
  return std::nullopt;
}

// Of one's own: a session where a policy command has it, else an object or sequence.
std::uint32_t own_handle(const CommandRow& row) {
  return row.permission == wire::PermissionClass::kSessions ? kOwnSession : kOwnObject;
}

// All handles of the row. Either all derivable handles are omitted, or none.
Result<std::vector<std::uint32_t>> handles_of(const CommandRow& row, const Said& all) {
  const auto& said = all.handles;
  if (said.size() == row.handles) return said;
  const auto uses = std::span(row.uses).first(row.handles);
  const auto needed = static_cast<std::size_t>(std::count_if(uses.begin(), uses.end(), std::not_fn(follows)));
  if (said.size() != needed) return tl::unexpected(wrong_count(row, all, needed));
  std::vector<std::uint32_t> out;
  auto next = said.begin();
  for (const HandleUse use : uses) {
    if (use == HandleUse::kOwn)
      out.push_back(own_handle(row));
    else if (use == HandleUse::kNvAuthority)
      out.push_back(*next);  // the index in the next place
    else
      out.push_back(*next++);
  }
  return out;
}

// --- Parameters.

Bytes scheme_bytes(std::uint16_t scheme) {
  Writer out;
  out.u16(scheme);
  if (scheme != kNoScheme) out.u16(kSha256);
  if (scheme == kAnonymous) out.u16(0);  // the counter
  return out.take();
}

Bytes selection_bytes(std::uint64_t pcrs) {
  if (pcrs == 0) return Writer().u32(0).take();
  Writer out;
  out.u32(1).u16(kSha256).u8(sizeof pcrs);
  for (unsigned byte = 0; byte < sizeof pcrs; ++byte) out.u8(static_cast<std::uint8_t>(pcrs >> (8 * byte)));
  return out.take();
}

// TPMS_NV_PUBLIC: index, hash, attributes, no policy, size of data.
Bytes nv_public_bytes(std::uint32_t index, bool with_kind) {
  constexpr std::uint16_t kSize = 14;
  Writer out;
  out.u16(static_cast<std::uint16_t>(with_kind ? kSize + 1 : kSize));
  if (with_kind) out.u8(static_cast<std::uint8_t>(index >> 24));
  return out.u32(index).u16(kSha256).u32(0).u16(0).u16(0).take();
}

// The parameter that the guard reads, after the TPM2Bs; `wanted` names it if the words do not give it.
struct Named {
  Bytes bytes;
  std::string wanted;
};

template <typename T, typename Bytes>
Named named(const std::optional<T>& said, std::string wanted, const Bytes& bytes) {
  if (!said) return {{}, std::move(wanted)};
  return {bytes(*said), ""};
}

Named named_in(Names names, const Said& said) {
  constexpr const char *kHierarchy = "hierarchy=owner", *kPcr = "pcr=NUMBER, or pcr=none";
  const auto handle = [](std::uint32_t value) { return Writer().u32(value).take(); };
  const Bytes scheme = scheme_bytes(said.scheme.value_or(kNoScheme));
  switch (names) {
    case Names::kNothing:
      return {};
    case Names::kHierarchy:
      return named(said.hierarchy, kHierarchy, handle);
    case Names::kHashAndHierarchy:
      return named(said.hierarchy, kHierarchy,
                   [](std::uint32_t value) { return Writer().u16(kSha256).u32(value).take(); });
    case Names::kPersistent:
      return named(said.persistent, "persistent=0x81000001", handle);
    case Names::kNvPublic:
    case Names::kNvPublic2:
      return named(said.index, "index=0x01500016",
                   [&](std::uint32_t index) { return nv_public_bytes(index, names == Names::kNvPublic2); });
    case Names::kPcrs:
      return named(said.pcrs, kPcr, selection_bytes);
    case Names::kScheme:
      return {scheme, ""};
    case Names::kSchemeAndPcrs: {
      Named out = named(said.pcrs, kPcr, selection_bytes);
      out.bytes.insert(out.bytes.begin(), scheme.begin(), scheme.end());
      return out;
    }
  }
  return {};
}

// A given word that the command's parameters do not name; nullopt: none.
std::optional<std::string> too_much(const CommandRow& row, const Said& said) {
  const Names names = row.names.what;
  const auto any_of = [&](std::initializer_list<Names> list) {
    return std::find(list.begin(), list.end(), names) != list.end();
  };
  if (said.hierarchy && !any_of({Names::kHierarchy, Names::kHashAndHierarchy})) return "hierarchy";
  if (said.persistent && !any_of({Names::kPersistent})) return "persistent";
  if (said.index && !any_of({Names::kNvPublic, Names::kNvPublic2})) return "index";
  if (said.pcrs && !any_of({Names::kPcrs, Names::kSchemeAndPcrs})) return "pcr";
  if (said.scheme && !any_of({Names::kScheme, Names::kSchemeAndPcrs})) return "scheme";
  return std::nullopt;
}

Bytes bytes_of(const CommandRow& row, const std::vector<std::uint32_t>& handles, wire::ByteView parameters) {
  Writer body;
  for (const auto handle : handles) body.u32(handle);
  if (row.auth_handles > 0) {
    Writer area;
    for (unsigned i = 0; i < row.auth_handles; ++i) area.u32(wire::kPasswordSession).u16(0).u8(0).u16(0);
    body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
  }
  for (unsigned i = 0; i < row.names.after; ++i) body.u16(0);
  body.raw(parameters);
  return Writer()
      .u16(row.auth_handles > 0 ? wire::kTagSessions : wire::kTagNoSessions)
      .u32(static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size()))
      .u32(row.code)
      .raw(body.bytes())
      .take();
}

}  // namespace

Result<SampleCommand> sample_command(std::span<const std::string> words, wire::CommandTable& table) {
  if (words.empty())
    return tl::unexpected(std::string("the command is missing: write a command like TPM2_NV_Write 0x01500016"));
  const auto said = said_in(words.subspan(1));
  if (!said) return tl::unexpected(said.error());
  const auto row = row_of(words[0], said->handles.size(), table);
  if (!row) return tl::unexpected(row.error());
  const auto handles = handles_of(**row, *said);
  if (!handles) return tl::unexpected(handles.error());
  if (auto wrong = wrong_kind(**row, *handles)) return tl::unexpected(*std::move(wrong));
  if (const auto what = too_much(**row, *said))
    return tl::unexpected(fmt::format("the parameters of {} name no {}: leave {}= out", (*row)->name,
                                      *what == "pcr" ? "PCR" : *what, *what));
  Named named = named_in((*row)->names.what, *said);
  std::string text((*row)->name);
  if (!text.starts_with("TPM2_")) text = fmt::format("{:#010x}", (*row)->code);
  for (const auto handle : *handles) text += fmt::format(" {:#010x}", handle);
  for (const std::string& word : words)
    if (word.find('=') != std::string::npos) text += " " + word;
  auto command = wire::Command::parse(bytes_of(**row, *handles, named.bytes), table, kMaxCommand);
  if (!command)
    return tl::unexpected(fmt::format("cannot compose such a command: {}", wire::describe(command.error())));
  return SampleCommand{std::move(text), *std::move(command), std::move(named.wanted)};
}

}  // namespace tpmspace::explain
