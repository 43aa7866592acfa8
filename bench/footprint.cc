#include "bench/footprint.h"

#include <array>
#include <stdexcept>

#include "bench/link.h"
#include "bench/statistics.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

constexpr unsigned kConnections = 100, kKeys = 20;
constexpr double kMegabyte = 1e6;

struct Memory {
  double one_connection = 0, many_connections = 0;  // megabytes
};

void hold_keys(Link& link) {
  using namespace support;
  for (unsigned i = 0; i < kKeys; ++i) (void)link.run_for_handle(create_primary(kOwner, ecc_signing_template()));
}

Memory memory(const Site& site) {
  Memory out;
  std::vector<Link> links;
  links.emplace_back(site.tcti());
  links.back().run(support::get_random());
  out.one_connection = static_cast<double>(site.resident_bytes()) / kMegabyte;
  while (links.size() < kConnections) links.emplace_back(site.tcti());
  for (auto& link : links) hold_keys(link);
  out.many_connections = static_cast<double>(site.resident_bytes()) / kMegabyte;
  return out;
}

// Milliseconds.
double start_time(Site& site) {
  site.stop_manager();
  const auto start = demo::Clock::now();
  if (auto started = site.start_manager(); !started) throw std::runtime_error(started.error());
  Link(site.tcti()).run(support::get_random());
  return std::chrono::duration<double, std::milli>(demo::Clock::now() - start).count();
}

// Of each site, one after the other in turn, so that other work of the machine affects all sites alike.
std::vector<double> start_times(std::vector<Site>& sites, unsigned starts) {
  std::vector<std::vector<double>> times(sites.size());
  for (unsigned turn = 0; turn < starts; ++turn)
    for (std::size_t i = 0; i < sites.size(); ++i) times[i].push_back(start_time(sites[i]));
  std::vector<double> out;
  for (auto& of_one : times) out.push_back(median(std::move(of_one)));
  return out;
}

}  // namespace

tl::expected<std::vector<FootprintRow>, std::string> measure_footprint(Lab& lab, unsigned starts) try {
  std::array<FootprintRow, 3> rows{{{"memory, 1 connection", "MB", {}, {}},
                                    {"memory, 100 connections with 20 keys each", "MB", {}, {}},
                                    {"start to the first answer", "ms", {}, {}}}};
  std::vector<Site> sites;
  for (const Peer peer : {Peer::kTpmspace, Peer::kAbrmd}) {
    if (!lab.has(peer)) continue;
    auto site = lab.build(peer, false);
    if (!site) return tl::unexpected(site.error());
    sites.push_back(std::move(*site));
  }
  const auto starts_of = start_times(sites, starts);
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const auto member = sites[i].peer() == Peer::kTpmspace ? &FootprintRow::tpmspace : &FootprintRow::abrmd;
    const Memory found = memory(sites[i]);
    rows[0].*member = found.one_connection;
    rows[1].*member = found.many_connections;
    rows[2].*member = starts_of[i];
  }
  return std::vector<FootprintRow>(rows.begin(), rows.end());
} catch (const std::exception& e) {
  return tl::unexpected(std::string(e.what()));
}

}  // namespace tpmspace::bench
