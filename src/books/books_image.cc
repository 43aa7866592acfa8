// The books as bytes, and back.
//
// Idea: `fields` names the fields of a record once, in the order of the image. An ImageWriter writes the named fields,
// an ImageReader reads them. Sums and indices are not in the image: they follow from the rest.
#include <algorithm>
#include <array>
#include <concepts>
#include <map>
#include <memory>
#include <set>
#include <type_traits>
#include <utility>

#include "books/books.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ByteView;

namespace {

constexpr std::uint32_t kImageVersion = 8;

// --- the fields of each record

// `T` is `Record`, constant in a writer.
template <typename T, typename Record>
concept A = std::same_as<std::remove_const_t<T>, Record>;

// An identity or a handle: one number.
template <typename T>
concept HasValue = requires(T one) {
  one.value;
};
template <HasValue T>
void fields(auto& image, T& one) {
  image(one.value);
}

void fields(auto& image, A<Object> auto& object) {
  image(object.sequence, object.counts_misses, object.last_use, object.seen_at, object.used_at, object.made_by,
        object.twin, object.context);
}

void fields(auto& image, A<wire::Numbers::Range> auto& range) {
  image(range.first, range.last);
}

void fields(auto& image, A<View> auto& view) {
  image(view.commands, view.persistent, view.nv, view.pcrs, view.persistent_base);
}

void fields(auto& image, A<SessionTerms> auto& terms) {
  image(terms.claim, terms.lease, terms.tenure, terms.deadline, terms.exhaustion);
}

void fields(auto& image, A<Part> auto& part) {
  image(part.user, part.connection);
}

void fields(auto& image, A<Pool> auto& pool) {
  image(pool.id, pool.sessions, pool.objects, pool.bytes);
}

void fields(auto& image, A<SpaceLimits> auto& limits) {
  image(limits.objects, limits.sessions, limits.terms, limits.administers, limits.shares_tries, limits.part,
        limits.share, limits.priority, limits.may_be, limits.pools, limits.view, limits.pins);
  image.require(limits.share != 0);
}

void fields(auto& image, A<Tombstone> auto& stone) {
  image(stone.order, stone.told);
}

void fields(auto& image, A<Space> auto& space) {
  image(space.owner, space.limits, space.objects, space.taken_objects, space.tombstones, space.given_up);
}

void fields(auto& image, A<PolicyStep> auto& step) {
  image(step.code, step.key, step.parameters, step.key_context);
}

// Without `trial`, which follows from the kind of the session.
void fields(auto& image, A<PolicyLog> auto& log) {
  image(log.rebuildable, log.hash, log.decrypts, log.password, log.auth_value, log.start, log.steps, log.digest,
        log.pcr_counter, log.pcr_changed);
}

void fields(auto& image, A<Session> auto& session) {
  image(session.handle, session.client, session.kind, session.owner, session.part, session.space, session.client_saved,
        session.left_pools, session.sequence, session.client_copy, session.last_use, session.started_at,
        session.used_at, session.lease, session.tenure, session.served_at, session.seen_at, session.asked_authority,
        session.bound_to_what_counts, session.reserved, session.stale, session.context, session.nonce, session.log);
}

void fields(auto& image, A<ParkedKey> auto& key) {
  image(key.space, key.number);
}

void fields(auto& image, A<Slot> auto& slot) {
  image(slot.tpm, slot.space, slot.object, slot.left_by);
}

void fields(auto& image, A<UnwantedSession> auto& unwanted) {
  image(unwanted.handle, unwanted.loaded, unwanted.sequence, unwanted.left_by);
}

void fields(auto& image, A<Books> auto& books) {
  image(books.spaces, books.sessions, books.parked, books.parked_files, books.slots, books.unwanted_sessions,
        books.tick, books.last_space, books.newest_sequence, books.reclaims, books.last_token, books.last_twin,
        books.reset_count, books.restart_count, books.in_doubt, books.doubted_at, books.counters_read_at);
}

// --- the values of enumerations

constexpr bool is_one(CountsMisses value) {
  return value <= CountsMisses::kYes;
}
constexpr bool is_one(Exhaustion value) {
  return value <= std::max(Exhaustion::kClose, Exhaustion::kReclaim);
}
constexpr bool is_one(Rebuildable value) {
  return value <= Rebuildable::kFull;
}
constexpr bool is_one(SessionKind value) {
  return value == SessionKind::kHmac || value == SessionKind::kPolicy || value == SessionKind::kTrial;
}

// --- writing

class ImageWriter {
 public:
  template <typename... Fields>
  void operator()(const Fields&... field) {
    (put(field), ...);
  }
  void require(bool /*holds*/) {}
  Bytes take() { return out_.take(); }

 private:
  void put(bool flag) { out_.u8(flag ? 1 : 0); }
  void put(std::uint8_t value) { out_.u8(value); }
  void put(std::uint16_t value) { out_.u16(value); }
  void put(std::uint32_t value) { out_.u32(value); }
  void put(std::uint64_t value) { out_.u64(value); }
  void put(const Bytes& bytes) {
    put_size(bytes.size());
    out_.raw(bytes);
  }
  void put(const ContextDigest& digest) { out_.raw(digest); }
  void put(const wire::Numbers& numbers) {
    put_size(numbers.ranges().size());
    for (const auto& range : numbers.ranges()) put(range);
  }
  template <typename T>
  void put(const std::shared_ptr<const T>& value) {
    put(value != nullptr);
    if (value) put(*value);
  }
  template <typename T>
  void put(const std::vector<T>& list) {
    put_size(list.size());
    for (const T& one : list) put(one);
  }
  template <typename T, std::size_t kSize>
  void put(const std::array<T, kSize>& list) {
    for (const T& one : list) put(one);
  }
  template <typename T>
  void put(const std::set<T>& all) {
    put_size(all.size());
    for (const T& one : all) put(one);
  }
  template <typename Key, typename T>
  void put(const std::map<Key, T>& all) {
    put_size(all.size());
    for (const auto& [key, one] : all) (*this)(key, one);
  }
  template <typename T>
  void put(const T& value) {
    if constexpr (std::is_enum_v<T>)
      out_.u8(static_cast<std::uint8_t>(value));
    else
      fields(*this, value);
  }
  void put_size(std::size_t size) { out_.u32(static_cast<std::uint32_t>(size)); }

  wire::Writer out_;
};

// --- reading

// Trusts no value. After the first invalid value nothing else is read.
class ImageReader {
 public:
  explicit ImageReader(ByteView image) : in_(image) {}

  template <typename... Fields>
  void operator()(Fields&... field) {
    (get(field), ...);
  }
  void require(bool holds) { valid_ = valid_ && holds; }
  // Whether the image was valid and complete.
  [[nodiscard]] bool ends_well() const { return valid_ && in_.empty(); }

 private:
  template <typename T>
  void take(T& out, const std::optional<T>& read) {
    require(read.has_value());
    if (valid_) out = *read;
  }
  void get(bool& out) {
    const auto value = in_.u8();
    require(value && *value <= 1);
    out = valid_ && *value == 1;
  }
  void get(std::uint8_t& out) { take(out, in_.u8()); }
  void get(std::uint16_t& out) { take(out, in_.u16()); }
  void get(std::uint32_t& out) { take(out, in_.u32()); }
  void get(std::uint64_t& out) { take(out, in_.u64()); }
  void get(Bytes& out) {
    const auto bytes = in_.take(get_size());
    require(bytes.has_value());
    if (valid_) out = wire::to_bytes(*bytes);
  }
  void get(ContextDigest& out) {
    const auto bytes = in_.take(out.size());
    require(bytes.has_value());
    if (valid_) std::copy(bytes->begin(), bytes->end(), out.begin());
  }
  // A set has one form (wire/numbers.h).
  void get(wire::Numbers& out) {
    std::vector<wire::Numbers::Range> ranges;
    get(ranges);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      require(ranges[i].first <= ranges[i].last);
      require(i == 0 || ranges[i].first > std::uint64_t{ranges[i - 1].last} + 1);
    }
    if (valid_) out = wire::Numbers(std::move(ranges));
  }
  template <typename T>
  void get(std::shared_ptr<const T>& out) {
    bool is_there = false;
    get(is_there);
    if (!is_there) return;
    T value{};
    get(value);
    if (valid_) out = std::make_shared<const T>(std::move(value));
  }
  template <typename T>
  void get(std::vector<T>& out) {
    for (std::uint32_t left = get_size(); valid_ && left > 0; --left) get(out.emplace_back());
  }
  template <typename T, std::size_t kSize>
  void get(std::array<T, kSize>& out) {
    for (T& one : out) get(one);
  }
  // Entries are sorted by key, without duplicates: equal books have one image.
  template <typename T>
  void get(std::set<T>& out) {
    for (std::uint32_t left = get_size(); valid_ && left > 0; --left) {
      T one{};
      get(one);
      require(out.empty() || *out.rbegin() < one);
      if (valid_) out.insert(out.end(), std::move(one));
    }
  }
  template <typename Key, typename T>
  void get(std::map<Key, T>& out) {
    for (std::uint32_t left = get_size(); valid_ && left > 0; --left) {
      Key key{};
      T one{};
      (*this)(key, one);
      require(out.empty() || out.rbegin()->first < key);
      if (valid_) out.emplace_hint(out.end(), std::move(key), std::move(one));
    }
  }
  template <typename T>
  void get(T& out) {
    if constexpr (std::is_enum_v<T>) {
      const auto value = in_.u8();
      require(value && is_one(static_cast<T>(*value)));
      if (valid_) out = static_cast<T>(*value);
    } else {
      fields(*this, out);
    }
  }
  std::uint32_t get_size() {
    std::uint32_t size = 0;
    get(size);
    return valid_ ? size : 0;
  }

  wire::Reader in_;
  bool valid_ = true;
};

}  // namespace

Bytes encode(const Books& books) {
  ImageWriter image;
  image(kImageVersion, books);
  return image.take();
}

std::optional<Books> decode(ByteView bytes) {
  ImageReader image(bytes);
  Books out;
  std::uint32_t version = 0;
  image(version);
  image.require(version == kImageVersion);
  image(out);
  if (!image.ends_well()) return std::nullopt;
  const auto note_trial = [](auto& sessions) {
    for (auto& [key, session] : sessions) session.log.trial = session.kind == SessionKind::kTrial;
  };
  note_trial(out.sessions);
  note_trial(out.parked);
  note_trial(out.parked_files);
  add_up(out);
  return out;
}

}  // namespace tpmspace::space
