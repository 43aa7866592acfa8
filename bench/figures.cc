#include "bench/figures.h"

#include <fmt/format.h>

#include <array>

#include "bench/statistics.h"

namespace tpmspace::bench {
namespace {

constexpr const char* kOpening = R"(# Figures

Made by `./dev bench`, all peers in one run on one machine, each with its own swtpm. "bare swtpm" is one client
that has the TPM for itself.{} Here: {}.

## TPM commands for each command of a client

Counted at the TPM by a relay in front of it, after one round to warm up. 1.00 means that no command was added. On the bare
swtpm it must be 1.00, which shows that the clients' commands are counted correctly. Clients use ESYS with HMAC sessions; the
policy session goes by context files, as between tpm2-tools.

| workload | tpmspace | tpm2-abrmd | bare swtpm | Linux /dev/tpmrm0 (measured elsewhere) |
|---|---|---|---|---|
)";

constexpr const char* kTimes = R"(
## Time, as a ratio to the bare swtpm

Each peer is visited in turn, {} times over, for each figure: within a visit the median of many, the ratio taken within a
turn, and the median of those. For times less is better; for numbers in a second more is better. Raw commands through each
peer's own TCTI. The last column is of one machine, for scale only: bare swtpm, tpmspace, tpm2-abrmd.

Clients, managers and TPMs all on one CPU, so that only the work counts:
)";

constexpr const char* kFree = R"(
As the scheduler places them; waking a thread on another CPU may cost more than all the work:
)";

constexpr const char* kTimesHead = R"(
| | tpmspace | tpm2-abrmd | for scale |
|---|---|---|---|
)";

constexpr const char* kFootprint = R"(
## Memory and start

Resident memory of the manager alone; its TPM is in another process. Of one machine, for scale; the ratio is to
tpm2-abrmd.

| | tpmspace | tpm2-abrmd | ratio |
|---|---|---|---|
)";

constexpr const char* kMicro = R"(
## In the manager alone

Without clients' sockets, and with a TPM that answers at once. A verdict allocates nothing (a test counts). The
identity of a peer is read once, from the kernel and from /proc, of a process of our own user over a Unix socket. Of one machine, for scale.

| | ns |
|---|---|
)";

constexpr const char* kFloods = R"(
## The effect of one user's flood on another

The time that a user waits for each thing while others do their worst, beside a control with its own TPM and tpmspaced:
the 90th percentile, since a flood shows in the slow times. The ratio is to the control; a row above 3 is a fault,
and `./dev bench` ends with an error. `./dev bench floods` measures this section in a run of its own. The last column is
of one machine, for scale only: flood, control.

| the measured work, and the flood | the control | ratio | for scale |
|---|---|---|---|
)";

std::string cell(const std::optional<double>& value) {
  return value ? figure(*value) : "–";
}

std::string count_line(const CountRow& row) {
  const auto exact = [](const std::optional<double>& v) { return v ? fmt::format("{:.2f}", *v) : "–"; };
  return fmt::format("| {} | {} | {} | {} | {} |\n", row.workload, exact(row.tpmspace), exact(row.abrmd),
                     exact(row.bare), row.linux_elsewhere.empty() ? "–" : row.linux_elsewhere);
}

std::string ratio_line(const RatioRow& row) {
  const auto ratio = [&](Peer peer) {
    const auto& measured = row.of[static_cast<std::size_t>(peer)];
    return measured ? figure(measured->ratio) + " ×" : "–";
  };
  std::string scale;
  for (const auto& measured : row.of) {
    if (!scale.empty()) scale += ", ";
    scale += measured ? figure(measured->value) : "–";
  }
  return fmt::format("| {} | {} | {} | {} {} |\n", row.what, ratio(Peer::kTpmspace), ratio(Peer::kAbrmd), scale,
                     row.unit);
}

std::string ratio_table(const std::vector<RatioRow>& rows) {
  std::string out = kTimesHead;
  for (const auto& row : rows) out += ratio_line(row);
  return out;
}

std::string footprint_line(const FootprintRow& row) {
  const auto with_unit = [&](const std::optional<double>& v) { return v ? figure(*v) + " " + row.unit : "–"; };
  std::optional<double> ratio;
  if (row.tpmspace && row.abrmd) ratio = *row.tpmspace / *row.abrmd;
  return fmt::format("| {} | {} | {} | {} |\n", row.what, with_unit(row.tpmspace), with_unit(row.abrmd), cell(ratio));
}

}  // namespace

std::string to_markdown(const Figures& figures) {
  std::string out = fmt::format(
      kOpening, figures.has_abrmd ? "" : " tpm2-abrmd was not installed: its column is empty.", figures.versions);
  for (const auto& row : figures.counts) out += count_line(row);
  if (!figures.times_one_cpu.empty())
    out += fmt::format(kTimes, figures.turns) + ratio_table(figures.times_one_cpu) + kFree +
           ratio_table(figures.times_free);
  if (!figures.footprint.empty()) out += kFootprint;
  for (const auto& row : figures.footprint) out += footprint_line(row);
  if (!figures.micro.empty()) out += to_markdown(figures.micro);
  if (!figures.floods.empty()) out += to_markdown(figures.floods);
  return out;
}

std::string to_markdown(const std::vector<MicroRow>& micro) {
  std::string out = kMicro;
  for (const auto& row : micro) out += fmt::format("| {} | {:.0f} |\n", row.what, row.nanoseconds);
  return out;
}

std::string to_markdown(const std::vector<FloodRow>& floods) {
  std::string out = kFloods;
  for (const auto& row : floods)
    out += fmt::format("| {} | {} | {} × | {}, {} ms |\n", row.what, row.control, figure(row.flood_ms / row.control_ms),
                       figure(row.flood_ms), figure(row.control_ms));
  return out;
}

// A section begins with an empty line and its heading.
std::string with_section(const std::string& page, const std::string& section) {
  const std::string heading = section.substr(0, section.find('\n', 1) + 1);
  const auto begin = page.find(heading);
  if (begin == std::string::npos) return page + section;
  const auto end = page.find("\n## ", begin + heading.size());
  return page.substr(0, begin) + section + (end == std::string::npos ? "" : page.substr(end));
}

std::vector<std::string> missed(const std::vector<CountRow>& counts) {
  struct Limit {
    const char* beginning;  // of the workload's name
    double most;
  };
  constexpr std::array<Limit, 4> kLimits{{{"1 key", 1.0}, {"3 keys", 1.0}, {"2 clients", 1.0}, {"8 clients", 5.0}}};
  std::vector<std::string> out;
  for (const auto& row : counts)
    for (const auto& limit : kLimits)
      if (row.workload.starts_with(limit.beginning) && row.tpmspace && *row.tpmspace > limit.most)
        out.push_back(fmt::format("{}: {:.2f} TPM commands, at most {:.2f} are allowed", row.workload, *row.tpmspace,
                                  limit.most));
  return out;
}

}  // namespace tpmspace::bench
