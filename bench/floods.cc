#include "bench/floods.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <iostream>
#include <utility>

#include "bench/flood_kit.h"
#include "bench/statistics.h"

namespace tpmspace::bench {
namespace {

std::vector<Flood> all_floods() {
  std::vector<Flood> out;
  for (auto&& some : {session_floods(), room_floods(), connection_floods()})
    out.insert(out.end(), some.begin(), some.end());
  return out;
}

double slow_one(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() * 9 / 10);
}

// A site for each: nothing is left of the one when the other begins.
double measure(Lab& lab, const Flood& flood, bool is_control, bool quick) {
  auto site = lab.build(Peer::kTpmspace, false, flood.config);
  if (!site) throw std::runtime_error(site.error());
  // Other users come in.
  const auto folder = std::filesystem::path(site->socket()).parent_path();
  std::filesystem::permissions(folder, std::filesystem::perms(0755));
  Scene scene{site->socket(), is_control, quick};
  auto times = flood.run(scene);
  scene.check();
  return slow_one(std::move(times));
}

// The daemon gets it from us.
void allow_many_descriptors() {
  constexpr rlim_t kMany = 20'000;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kMany) return;
  limit.rlim_cur = kMany;
  limit.rlim_max = std::max(limit.rlim_max, kMany);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

tl::expected<std::vector<FloodRow>, std::string> measure_floods(Lab& lab, bool quick, const std::string& about) try {
  if (::geteuid() != 0) {
    std::cerr << "tpmspace-bench: SKIPPED: floods (only root can be several users)\n";
    return {};
  }
  allow_many_descriptors();
  std::vector<FloodRow> out;
  for (const Flood& flood : all_floods()) {
    if (flood.what.find(about) == std::string::npos) continue;
    FloodRow row{flood.what, flood.control, measure(lab, flood, true, quick), measure(lab, flood, false, quick)};
    std::cerr << fmt::format("tpmspace-bench: {}: {} ms, control {} ms\n", row.what, figure(row.flood_ms),
                             figure(row.control_ms));
    out.push_back(std::move(row));
  }
  return out;
} catch (const std::exception& e) {
  return tl::unexpected(std::string(e.what()));
}

std::vector<std::string> missed(const std::vector<FloodRow>& rows) {
  std::vector<std::string> out;
  for (const auto& row : rows)
    if (row.flood_ms > kMostOfControl * row.control_ms)
      out.push_back(fmt::format("{}: {} ms, more than {} times the control's {} ms", row.what, figure(row.flood_ms),
                                kMostOfControl, figure(row.control_ms)));
  return out;
}

}  // namespace tpmspace::bench
