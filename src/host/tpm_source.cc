#include "host/tpm_source.h"

#include <fmt/core.h>

#include <utility>

#include "base/limits.h"
#include "host/logged_tpm.h"
#include "tpm/bring_up.h"
#include "tpm/open.h"
#include "tpm/overdue.h"
#include "tpm/session_ledger.h"

namespace tpmspace::host {
namespace {

space::Chip chip_of(const tpm::ChipFacts& facts, tpm::Kind kind) {
  // Other users use a device between our commands and need slots (tpm-behaviour 35).
  const std::uint32_t keep_free = kind == tpm::Kind::kDevice ? 1 : 0;
  return {.object_slots = facts.object_slots,
          .loaded_sessions = facts.loaded_sessions,
          .active_sessions = facts.active_sessions,
          .session_numbers = facts.active_max,
          .context_gap = facts.context_gap,
          .max_command = facts.max_command,
          .max_response = facts.max_response,
          .reset_count = facts.reset_count,
          .restart_count = facts.restart_count,
          .keep_free_objects = keep_free,
          .keep_free_sessions = keep_free,
          .others_loaded_sessions = facts.foreign_loaded,
          .can_be_suspended = kind == tpm::Kind::kDevice,
          .uncounted_pcrs = facts.uncounted_pcrs,
          .max_auth_fail = facts.max_auth_fail,
          .lockout_interval = facts.lockout_interval,
          .lockout_counter = facts.lockout_counter};
}

std::vector<std::string> notes_of(const tpm::ChipFacts& facts) {
  std::vector<std::string> out;
  if (facts.flushed != 0)
    out.push_back(fmt::format("objects and sessions that were left in the TPM and are now flushed: {}", facts.flushed));
  if (facts.foreign_loaded.size() + facts.foreign_saved != 0)
    out.push_back(fmt::format("sessions of other programs in the TPM, which tpmspaced leaves alone and cannot use: {}",
                              facts.foreign_loaded.size() + facts.foreign_saved));
  return out;
}

ChipReport report_of(const tpm::ChipFacts& facts, tpm::Kind kind) {
  ChipReport out;
  out.table = wire::CommandTable::builtin();
  out.chip = chip_of(facts, kind);
  out.manufacturer = facts.manufacturer;
  out.vendor = facts.vendor;
  out.firmware = fmt::format("{:x}.{:x}", facts.firmware >> 32, facts.firmware & 0xFFFFFFFF);
  out.notes = notes_of(facts);
  std::vector<wire::CommandAttributes> commands;
  for (const std::uint32_t raw : facts.commands) commands.push_back({raw});
  for (auto& difference : out.table.adopt(commands)) out.notes.push_back(std::move(difference));
  return out;
}

}  // namespace

TpmSource tpm_source(const tpm::Spec& spec, log::Log& log, const std::string& ledger_path) {
  const tpm::Kind kind = spec.kind();
  std::shared_ptr<tpm::SessionLedger> ledger;
  if (kind == tpm::Kind::kDevice && !ledger_path.empty()) ledger = std::make_shared<tpm::SessionLedger>(ledger_path);
  TpmSource out;
  out.open = [spec, &log](const Opening& opening) -> tl::expected<std::unique_ptr<tpm::BackEnd>, std::string> {
    tpm::News news{.waiting = {}, .made = [&log](const std::string& sentence) { log.info("{}", sentence); }};
    if (!opening.again) news.waiting = [&log](const std::string& sentence) { log.notice("{}", sentence); };
    auto opened = tpm::open_tpm(spec, news, opening.given_up);
    if (!opened) return opened;
    return std::make_unique<LoggedTpm>(std::move(*opened), log);
  };
  out.bring_up = [kind, &log, ledger, name = tpm::to_text(spec)](wire::Tpm& tpm, const Opening& opening) {
    std::function<void()> say;
    if (!opening.again) say = [&] { log.notice("waiting for {} to answer its first commands", name); };
    const tpm::Overdue overdue(limits::kSlowStart, say);
    const auto left_behind = ledger ? ledger->read() : tpm::HeldSessions{};
    return tpm::bring_up(tpm, kind, left_behind).map([kind](const tpm::ChipFacts& facts) {
      return report_of(facts, kind);
    });
  };
  if (ledger)
    out.remember = [ledger, &log, said = false](const engine::Engine::HeldSessions& held) mutable {
      const auto written = ledger->write({held.reset_count, held.restart_count, held.handles});
      if (!written && !std::exchange(said, true)) log.warning("{}", written.error());
    };
  out.name = tpm::to_text(spec);
  if (const auto* swtpm = std::get_if<tpm::SwtpmUnixSpec>(&spec.backend)) out.socket = swtpm->path;
  out.can_hang = kind != tpm::Kind::kEmbedded;
  out.can_return = !std::holds_alternative<tpm::DescriptorSpec>(spec.backend);
  return out;
}

}  // namespace tpmspace::host
