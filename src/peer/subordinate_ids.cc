#include "peer/subordinate_ids.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "base/fd.h"

namespace tpmspace::peer {
namespace {

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// Removes and returns the text before `separator`; the whole text if there is no separator.
std::string_view take_before(std::string_view& text, char separator) {
  const std::size_t at = std::min(text.find(separator), text.size());
  const std::string_view out = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return out;
}

std::optional<std::uint32_t> uid_of_name(const std::string& name) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return found->pw_uid;
}

std::string read_file(const char* path, std::size_t limit) {
  const base::Fd file(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string out(limit, '\0');
  std::size_t used = 0;
  while (file && used < out.size()) {
    const auto n = ::read(file.get(), out.data() + used, out.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    used += static_cast<std::size_t>(n);
  }
  out.resize(used);
  return out;
}

// Users of the name service. For one thread at a time: getpwent.
std::vector<std::pair<std::string, std::uint32_t>> listed_users(std::size_t most) {
  std::vector<std::pair<std::string, std::uint32_t>> out;
  ::setpwent();
  while (const passwd* entry = out.size() < most ? ::getpwent() : nullptr)  // NOLINT(concurrency-mt-unsafe): see above
    out.emplace_back(entry->pw_name, entry->pw_uid);
  ::endpwent();
  return out;
}

// libsubid loads a dozen other libraries, and few machines need libsubid.
class Libsubid {
 public:
  Libsubid() {
    for (const char* name : {"libsubid.so.5", "libsubid.so.4"})
      if (library_ == nullptr) library_ = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) return;
    ranges_ = reinterpret_cast<GetRanges*>(::dlsym(library_, "subid_get_uid_ranges"));
    auto* init = reinterpret_cast<bool (*)(const char*, FILE*)>(::dlsym(library_, "subid_init"));
    if (init != nullptr) init("tpmspaced", stderr);
  }
  Libsubid(const Libsubid&) = delete;
  Libsubid& operator=(const Libsubid&) = delete;
  ~Libsubid() = default;  // libsubid stays loaded: services it has loaded may have threads

  [[nodiscard]] bool is_there() const { return ranges_ != nullptr; }
  void for_each_range(const std::string& user,
                      const std::function<void(unsigned long first, unsigned long count)>& take) const {
    Range* ranges = nullptr;
    const int count = ranges_(user.c_str(), &ranges);
    for (int i = 0; i < count; ++i) take(ranges[i].start, ranges[i].count);
    std::free(ranges);  // NOLINT: the library has it from malloc
  }

 private:
  struct Range {  // struct subid_range
    unsigned long start, count;
  };
  using GetRanges = int(const char* owner, Range** ranges);

  void* library_ = nullptr;
  GetRanges* ranges_ = nullptr;
};

}  // namespace

SubordinateIds SubordinateIds::parse(std::string_view text, const UidOf& uid_of) {
  SubordinateIds out;
  std::map<std::string, std::uint32_t> holders;  // each name is looked up once
  for (std::size_t lines = 0; !text.empty() && lines < kMaxLoans; ++lines) {
    std::string_view line = take_before(text, '\n');
    const std::string name(take_before(line, ':'));
    const auto first = number(take_before(line, ':'));
    const auto count = number(line);
    if (name.empty() || !first || !count || *first == 0 || *count == 0 || *count - 1 > UINT32_MAX - *first) continue;
    auto known = holders.find(name);
    if (known == holders.end()) {
      const auto uid = number(name) ? number(name) : uid_of(name);
      // If the directory with this name does not answer, the first uid of the first loan stands for its holder.
      known = holders.emplace(name, uid.value_or(*first)).first;
    }
    if (const auto holder = known->second; holder != 0) out.loans_.push_back({*first, *first + (*count - 1), holder});
  }
  return out;
}

bool SubordinateIds::are_lent_by_service(std::string_view nsswitch) {
  while (!nsswitch.empty()) {
    std::string_view line = take_before(nsswitch, '\n');
    line = take_before(line, '#');
    if (take_before(line, ':') != "subid") continue;
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const auto service = line.substr(0, line.find_first_of(" \t"));
    return !service.empty() && service != "files";
  }
  return false;
}

SubordinateIds SubordinateIds::of_this_machine() {
  if (are_lent_by_service(read_file("/etc/nsswitch.conf", kMaxFile))) return of_library();
  return parse(read_file("/etc/subuid", kMaxFile), uid_of_name);
}

SubordinateIds SubordinateIds::of_silent_service() {
  SubordinateIds out;
  out.in_blocks_ = true;
  return out;
}

SubordinateIds SubordinateIds::of_library() {
  SubordinateIds out = of_silent_service();
  const Libsubid library;
  if (!library.is_there()) return out;
  for (const auto& [name, uid] : listed_users(kMaxUsers))
    library.for_each_range(name, [&, holder = uid](unsigned long first, unsigned long count) {
      if (first == 0 || first > UINT32_MAX || count == 0 || count - 1 > UINT32_MAX - first) return;
      if (holder == 0 || out.loans_.size() >= kMaxLoans) return;
      const auto start = static_cast<std::uint32_t>(first);
      out.loans_.push_back({start, start + static_cast<std::uint32_t>(count - 1), holder});
    });
  return out;
}

std::uint32_t SubordinateIds::holder_of(std::uint32_t uid) const {
  const auto found = std::find_if(loans_.begin(), loans_.end(),
                                  [uid](const Loan& loan) { return loan.first <= uid && uid <= loan.last; });
  if (found != loans_.end()) return found->holder;
  constexpr std::uint32_t kUpperHalf = 0x8000'0000, kBlock = 0x1'0000;
  return in_blocks_ && uid >= kUpperHalf && uid != UINT32_MAX ? uid / kBlock * kBlock : uid;
}

}  // namespace tpmspace::peer
