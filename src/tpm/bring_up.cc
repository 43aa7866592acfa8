#include "tpm/bring_up.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>

#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/handle.h"

namespace tpmspace::tpm {
namespace {

using wire::Bytes;
using wire::ByteView;
using Failure = tl::unexpected<std::string>;
template <typename T>
using Expected = tl::expected<T, std::string>;

// TPM_CAP (Part 2, 6.12).
constexpr std::uint32_t kCapHandles = 1, kCapCommands = 2, kCapProperties = 6, kCapPcrProperties = 7;
constexpr std::uint32_t kPcrNoIncrement = 0x11;  // TPM_PT_PCR (Part 2, 6.14)

// TPM_PT (Part 2, 6.13).
constexpr std::uint32_t kFirstFixed = 0x100, kManufacturer = 0x105, kVendorString1 = 0x106, kVendorString4 = 0x109,
                        kFirmware1 = 0x10B, kFirmware2 = 0x10C, kTransientMin = 0x10E, kLoadedMin = 0x110,
                        kActiveSessionsMax = 0x111, kContextGapMax = 0x114, kMaxCommandSize = 0x11E,
                        kMaxResponseSize = 0x11F, kFirstVariable = 0x200, kLoadedAvailable = 0x204,
                        kActiveAvailable = 0x206, kTransientAvailable = 0x207, kLockoutCounter = 0x20E,
                        kMaxAuthFail = 0x20F, kLockoutInterval = 0x210, kLastVariable = 0x2FF;

// Bounds on a TPM's answers; each far above any real chip, and small enough to be harmless if a TPM lies.
constexpr std::size_t kMaxPages = 64;
constexpr std::size_t kMaxItems = 4096;
constexpr std::uint32_t kMaxSlots = 4096;
constexpr std::uint32_t kMaxSessions = 65536;
constexpr std::uint32_t kSmallestBuffer = 1024, kLargestBuffer = 65536;
constexpr std::uint32_t kAskFor = 254;  // a chip gives as many as fit into its buffer and reports that more follow

constexpr std::uint32_t kFirstLoadedSession = 0x02000000, kFirstSavedSession = 0x03000000;

Bytes command(wire::CommandCode code, ByteView parameters) {
  return wire::Writer()
      .u16(wire::kTagNoSessions)
      .u32(static_cast<std::uint32_t>(wire::kHeaderSize + parameters.size()))
      .u32(code)
      .raw(parameters)
      .take();
}

struct Reply {
  wire::Rc code = 0;
  Bytes parameters;
};

std::string refusal(const char* asked, wire::Rc code) {
  if (code == wire::rc::kFailure)
    return fmt::format(
        "the TPM is in failure mode (0x101 to {}): a self test has failed. Switch the machine off and on; if that does "
        "not help, the TPM is broken, or its stored state is damaged",
        asked);
  return fmt::format("the TPM answered {:#x} to {}", code, asked);
}

// Asks one question in locality 0. `name`: the question in sentences.
class Asker {
 public:
  explicit Asker(wire::Tpm& tpm) : tpm_(tpm) {}

  // Any well-formed answer.
  Expected<Reply> ask(const char* name, wire::CommandCode code, ByteView parameters) {
    const auto answer = tpm_.transact(command(code, parameters), 0);
    if (!answer) return Failure(fmt::format("no answer to {}: {}", name, answer.error().what));
    const auto header = wire::read_header(*answer);
    if (!header || header->size != answer->size() ||
        (header->tag != wire::kTagNoSessions && header->code == wire::rc::kSuccess))
      return Failure(fmt::format("this is not a TPM 2.0: the response to {} is malformed", name));
    return Reply{header->code, Bytes(answer->begin() + wire::kHeaderSize, answer->end())};
  }
  // The parameters of a success.
  Expected<Bytes> demand(const char* name, wire::CommandCode code, ByteView parameters) {
    auto reply = ask(name, code, parameters);
    if (!reply) return Failure(reply.error());
    if (reply->code != wire::rc::kSuccess) return Failure(refusal(name, reply->code));
    return std::move(reply->parameters);
  }

 private:
  wire::Tpm& tpm_;
};

struct Page {
  bool more = false;
  std::vector<std::uint32_t> words;  // as received: handles, TPMA_CC, or property and value in turn
};

// moreData, capability, count, then `count` items of `words_each` words, and no trailing bytes.
std::optional<Page> parse_page(ByteView parameters, std::uint32_t capability, std::size_t words_each) {
  wire::Reader reader(parameters);
  const auto more = reader.u8();
  const auto echoed = reader.u32();
  const auto count = reader.u32();
  if (!more || !echoed || *echoed != capability || !count) return std::nullopt;
  if (reader.remaining() != std::size_t{*count} * words_each * 4) return std::nullopt;
  Page page{*more != 0, {}};
  while (const auto word = reader.u32()) page.words.push_back(*word);
  return page;
}

Expected<Page> capability(Asker& tpm, std::uint32_t which, std::uint32_t from, std::size_t words_each) {
  const Bytes parameters = wire::Writer().u32(which).u32(from).u32(kAskFor).take();
  const auto reply = tpm.demand("GetCapability", wire::cc::kGetCapability, parameters);
  if (!reply) return Failure(reply.error());
  auto page = parse_page(*reply, which, words_each);
  if (!page) return Failure("the TPM's answer to GetCapability is malformed");
  return std::move(*page);
}

// Requests page after page until the TPM has no more, or `last` is passed. `key`: the position of an item in the order.
template <typename Key>
Expected<std::vector<std::uint32_t>> all_pages(Asker& tpm, std::uint32_t which, std::uint32_t first, std::uint32_t last,
                                               std::size_t words_each, Key key) {
  std::vector<std::uint32_t> words;
  std::uint32_t next = first;
  for (std::size_t pages = 0; pages < kMaxPages; ++pages) {
    const auto page = capability(tpm, which, next, words_each);
    if (!page) return Failure(page.error());
    for (std::size_t i = 0; i < page->words.size(); i += words_each) {
      const std::uint32_t at = key(page->words[i]);
      if (at > last) return words;
      // A decreasing order would cause an endless loop.
      if (at < next) return Failure("the TPM lists its capabilities out of order");
      words.insert(words.end(), &page->words[i], &page->words[i] + words_each);
      if (words.size() > kMaxItems) return Failure("the TPM lists more capabilities than any TPM has");
      if (at == last) return words;
      next = at + 1;
    }
    if (!page->more || page->words.empty()) return words;
  }
  return Failure("the TPM's list of capabilities does not end");
}

std::uint32_t itself(std::uint32_t word) {
  return word;
}

// Sessions of all types are listed by number: 02000000, 03000001, 02000002 share one number space.
Expected<std::vector<std::uint32_t>> handles(Asker& tpm, std::uint32_t first) {
  auto listed = all_pages(tpm, kCapHandles, first, first | 0x00FFFFFF, 1,
                          [first](std::uint32_t handle) { return first | wire::number_of(handle); });
  if (!listed) return listed;
  for (const std::uint32_t handle : *listed)
    if (wire::is_session(handle) != wire::is_session(first) || wire::is_transient(handle) != wire::is_transient(first))
      return Failure(
          fmt::format("the TPM lists {:#010x} in response to a request for handles like {:#010x}", handle, first));
  return listed;
}

// Startup(CLEAR); true if the TPM wanted one.
Expected<bool> start(Asker& tpm) {
  const auto reply = tpm.ask("Startup", wire::cc::kStartup, wire::Writer().u16(0 /* TPM_SU_CLEAR */).bytes());
  if (!reply) return Failure(reply.error());
  if (reply->code == wire::rc::kSuccess) return true;
  if (reply->code == wire::rc::kInitialize) return false;  // already started
  return Failure(refusal("Startup", reply->code));
}

// Flushes all listed handles from `first` on; returns their number. The list is read again after flushing, since a chip
// may show only a part; the rounds are bounded in case an entity stays.
Expected<std::uint32_t> flush_all(Asker& tpm, std::uint32_t first) {
  std::uint32_t flushed = 0;
  for (std::size_t rounds = 0; rounds < kMaxPages; ++rounds) {
    const auto listed = handles(tpm, first);
    if (!listed) return Failure(listed.error());
    if (listed->empty()) return flushed;
    for (const std::uint32_t handle : *listed) {
      const auto reply = tpm.ask("FlushContext", wire::cc::kFlushContext, wire::Writer().u32(handle).bytes());
      if (!reply) return Failure(reply.error());
      // A handle that is gone meanwhile is no error: on a device the kernel flushes too.
      if (reply->code != wire::rc::kSuccess && wire::base_code(reply->code) != wire::rc::kHandle)
        return Failure(fmt::format("{:#010x} cannot be flushed: {}", handle, refusal("FlushContext", reply->code)));
      if (reply->code == wire::rc::kSuccess) ++flushed;
    }
  }
  return Failure(fmt::format("the TPM still lists handles from {:#010x} on after they were flushed", first));
}

Expected<void> empty_chip(Asker& tpm, Kind kind, ChipFacts& facts) {
  std::vector<std::uint32_t> kinds = {wire::kFirstTransient};
  if (kind != Kind::kDevice) kinds.insert(kinds.end(), {kFirstLoadedSession, kFirstSavedSession});
  for (const std::uint32_t first : kinds) {
    const auto flushed = flush_all(tpm, first);
    if (!flushed) return Failure(flushed.error());
    facts.flushed += *flushed;
  }
  return {};
}

// Only listed handles: another user's session may have got the number since.
Expected<void> flush_left_behind(Asker& tpm, const HeldSessions& left_behind, ChipFacts& facts) {
  if (left_behind.handles.empty() || left_behind.reset_count != facts.reset_count ||
      left_behind.restart_count != facts.restart_count)
    return {};
  for (const std::uint32_t first : {kFirstLoadedSession, kFirstSavedSession}) {
    const auto listed = handles(tpm, first);
    if (!listed) return Failure(listed.error());
    for (const std::uint32_t handle : *listed) {
      const bool ours = std::any_of(left_behind.handles.begin(), left_behind.handles.end(),
                                    [&](std::uint32_t one) { return wire::number_of(one) == wire::number_of(handle); });
      if (!ours) continue;
      const auto reply = tpm.ask("FlushContext", wire::cc::kFlushContext, wire::Writer().u32(handle).bytes());
      if (!reply) return Failure(reply.error());
      if (reply->code == wire::rc::kSuccess) ++facts.flushed;
    }
  }
  return {};
}

Expected<void> count_foreign(Asker& tpm, ChipFacts& facts) {
  const auto loaded = handles(tpm, kFirstLoadedSession);
  if (!loaded) return Failure(loaded.error());
  const auto saved = handles(tpm, kFirstSavedSession);
  if (!saved) return Failure(saved.error());
  facts.foreign_loaded = *loaded;
  facts.foreign_saved = static_cast<std::uint32_t>(saved->size());
  return {};
}

using Properties = std::map<std::uint32_t, std::uint32_t>;

Expected<void> read_properties(Asker& tpm, std::uint32_t first, std::uint32_t last, Properties& into) {
  const auto words = all_pages(tpm, kCapProperties, first, last, 2, itself);
  if (!words) return Failure(words.error());
  for (std::size_t i = 0; i + 1 < words->size(); i += 2) into[(*words)[i]] = (*words)[i + 1];
  return {};
}

std::optional<std::uint32_t> property(const Properties& properties, std::uint32_t which) {
  const auto found = properties.find(which);
  if (found == properties.end()) return std::nullopt;
  return found->second;
}

// Four bytes of text, as the TPM packs its names; unprintable characters are left out.
std::string text_of(std::uint32_t word) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto byte = static_cast<char>(word >> shift & 0xFF);
    if (byte >= ' ' && byte <= '~') text.push_back(byte);
  }
  return text;
}

// A chip pads the parts of its name with spaces: "SW  ", " TPM".
std::string without_padding(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

void name_chip(const Properties& properties, ChipFacts& facts) {
  facts.manufacturer = without_padding(text_of(property(properties, kManufacturer).value_or(0)));
  for (std::uint32_t which = kVendorString1; which <= kVendorString4; ++which)
    facts.vendor += text_of(property(properties, which).value_or(0));
  facts.vendor = without_padding(facts.vendor);
  facts.firmware =
      std::uint64_t{property(properties, kFirmware1).value_or(0)} << 32 | property(properties, kFirmware2).value_or(0);
}

// The chip's free room, or else the minimum of its kind; never more than is credible.
std::uint32_t room(const Properties& properties, std::uint32_t available, std::uint32_t least, std::uint32_t bound) {
  const auto value = property(properties, available);
  return std::min(value ? *value : property(properties, least).value_or(0), bound);
}

Expected<void> read_limits(const Properties& properties, ChipFacts& facts) {
  facts.object_slots = room(properties, kTransientAvailable, kTransientMin, kMaxSlots);
  facts.loaded_sessions = room(properties, kLoadedAvailable, kLoadedMin, kMaxSlots);
  facts.active_sessions = room(properties, kActiveAvailable, kActiveSessionsMax, kMaxSessions);
  facts.active_max = std::min(property(properties, kActiveSessionsMax).value_or(facts.active_sessions), kMaxSessions);
  facts.context_gap = property(properties, kContextGapMax).value_or(255);  // the smallest value of old chips
  facts.max_command = std::min(property(properties, kMaxCommandSize).value_or(kSmallestBuffer), kLargestBuffer);
  facts.max_response = std::min(property(properties, kMaxResponseSize).value_or(kSmallestBuffer), kLargestBuffer);
  facts.max_auth_fail = property(properties, kMaxAuthFail).value_or(facts.max_auth_fail);
  facts.lockout_interval = property(properties, kLockoutInterval).value_or(facts.lockout_interval);
  facts.lockout_counter = property(properties, kLockoutCounter).value_or(facts.lockout_counter);
  if (facts.object_slots == 0) return Failure("the TPM has no free object slot, although its objects were flushed");
  if (facts.loaded_sessions == 0 || facts.active_sessions == 0)
    return Failure(
        fmt::format("the TPM has no room for a session: other programs hold {} loaded and {} saved sessions. Stop "
                    "these programs, or restart the machine",
                    facts.foreign_loaded.size(), facts.foreign_saved));
  if (facts.max_command < kSmallestBuffer || facts.max_response < kSmallestBuffer)
    return Failure(fmt::format("the TPM reports buffers of {} and {} bytes, less than any TPM has", facts.max_command,
                               facts.max_response));
  return {};
}

Expected<void> read_clock(Asker& tpm, ChipFacts& facts) {
  const auto reply = tpm.demand("ReadClock", wire::cc::kReadClock, {});
  if (!reply) return Failure(reply.error());
  wire::Reader reader(*reply);
  (void)reader.u64();  // time since power-on
  (void)reader.u64();  // clock
  const auto resets = reader.u32();
  const auto restarts = reader.u32();
  if (!resets || !restarts || !reader.u8() || !reader.empty())
    return Failure("the TPM's answer to ReadClock is malformed");
  facts.reset_count = *resets;
  facts.restart_count = *restarts;
  return {};
}

// Start-up does not depend on the value, so an invalid response counts as none.
Expected<void> read_uncounted_pcrs(Asker& tpm, ChipFacts& facts) {
  const Bytes parameters = wire::Writer().u32(kCapPcrProperties).u32(kPcrNoIncrement).u32(1).take();
  const auto reply = tpm.ask("GetCapability", wire::cc::kGetCapability, parameters);
  if (!reply) return Failure(reply.error());
  wire::Reader in(reply->parameters);  // moreData, capability, count, then tag, sizeofSelect and the bits of each
  if (reply->code != wire::rc::kSuccess || !in.u8() || in.u32() != kCapPcrProperties || in.u32() != 1U) return {};
  if (in.u32() != kPcrNoIncrement) return {};
  const auto size = in.u8();
  const auto bits = size ? in.take(*size) : std::nullopt;
  if (!bits) return {};
  facts.uncounted_pcrs = 0;
  for (std::size_t i = 0; i < bits->size() && i < sizeof facts.uncounted_pcrs; ++i)
    facts.uncounted_pcrs |= std::uint32_t{(*bits)[i]} << (8 * i);
  return {};
}

Expected<void> read_commands(Asker& tpm, ChipFacts& facts) {
  auto words =
      all_pages(tpm, kCapCommands, 0, ~0U, 1, [](std::uint32_t word) { return wire::CommandAttributes{word}.code(); });
  if (!words) return Failure(words.error());
  facts.commands = std::move(*words);
  return {};
}

}  // namespace

tl::expected<ChipFacts, std::string> bring_up(wire::Tpm& wire_tpm, Kind kind, const HeldSessions& left_behind) {
  Asker tpm(wire_tpm);
  ChipFacts facts;
  Properties properties;
  const auto started = start(tpm);
  if (!started) return Failure(started.error());
  facts.started = *started;
  Expected<void> done = read_clock(tpm, facts);
  if (done) done = empty_chip(tpm, kind, facts);
  if (done && kind == Kind::kDevice) done = flush_left_behind(tpm, left_behind, facts);
  if (done && kind == Kind::kDevice) done = count_foreign(tpm, facts);
  if (done) done = read_properties(tpm, kFirstFixed, kFirstVariable - 1, properties);
  if (done) done = read_properties(tpm, kFirstVariable, kLastVariable, properties);
  if (done) done = read_limits(properties, facts);
  if (done) done = read_commands(tpm, facts);
  if (done) done = read_uncounted_pcrs(tpm, facts);
  if (!done) return Failure(done.error());
  name_chip(properties, facts);
  return facts;
}

}  // namespace tpmspace::tpm
