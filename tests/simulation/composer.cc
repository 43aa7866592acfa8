// The meaning of a step's numbers, and the two resulting commands. Private to ReferenceClient.
#include <fmt/format.h>

#include <algorithm>

#include "digest.h"
#include "object_slots.h"
#include "reference_client.h"
#include "wire/command_table.h"
#include "wire/handle.h"

namespace tpmspace::simulation {
namespace {

using speech::Auths;
using speech::Template;
using wire::Bytes;
namespace cc = wire::cc;

constexpr std::uint32_t kOwner = 0x40000001;
constexpr std::uint32_t kNull = 0x40000007;
constexpr std::uint32_t kLockout = 0x4000000A;
constexpr std::uint32_t kEndorsement = 0x4000000B;
constexpr std::uint32_t kPlatform = 0x4000000C;
constexpr std::array kHierarchies = {kOwner, kNull, kEndorsement, kPlatform};
// Handles after the third only where many are wanted: the ends of a window, and handles behind the window.
constexpr std::array kPersistentHandles = {0x81000000U, 0x81000001U, 0x81800000U, 0x8101FFFFU, 0x81020000U};
constexpr std::size_t kFewPersistent = 3;
constexpr std::array kStrangeHandles = {0x80000000U, 0x80000001U, 0x80000002U, 0x81000000U, 0x81000007U, 0x01500000U,
                                        0x40000001U, 0x40000007U, 0x4000000BU, 0x00000010U, 0x03000001U, 0x02000000U,
                                        0x02000021U, 0x03000035U, 0x90000000U, 0x02000040U, 0x03FFFFFFU};

struct VerbShare {
  Verb verb;
  unsigned share;  // of the ordinary weight, in quarters
};
constexpr std::array kOrdinary = {
    VerbShare{Verb::kCreatePrimary, 10},
    VerbShare{Verb::kCreate, 4},
    VerbShare{Verb::kCreateLoaded, 3},
    VerbShare{Verb::kLoad, 8},
    VerbShare{Verb::kLoadExternal, 3},
    VerbShare{Verb::kReadPublic, 4},
    VerbShare{Verb::kSign, 9},
    VerbShare{Verb::kUnseal, 6},
    VerbShare{Verb::kObjectChangeAuth, 2},
    VerbShare{Verb::kContextSave, 9},
    VerbShare{Verb::kContextLoad, 9},
    VerbShare{Verb::kFlush, 11},
    VerbShare{Verb::kHashStart, 4},
    VerbShare{Verb::kHmacStart, 3},
    VerbShare{Verb::kSequenceUpdate, 6},
    VerbShare{Verb::kSequenceComplete, 4},
    VerbShare{Verb::kEventComplete, 2},
    VerbShare{Verb::kStartSession, 9},
    VerbShare{Verb::kPolicyCommandCode, 4},
    VerbShare{Verb::kPolicyPcr, 3},
    VerbShare{Verb::kPolicyOther, 3},
    VerbShare{Verb::kPolicyPlain, 5},
    VerbShare{Verb::kPolicySecret, 3},
    VerbShare{Verb::kListHandles, 4},
    VerbShare{Verb::kProperty, 2},
    VerbShare{Verb::kGetRandom, 3},
    VerbShare{Verb::kPcrExtend, 1},
    VerbShare{Verb::kPcrRead, 1},
};

bool is_about_sessions(Verb verb) {
  return verb == Verb::kStartSession || verb == Verb::kContextSave || verb == Verb::kPolicyPlain ||
         verb == Verb::kPolicyCommandCode;
}

bool is_about_policies(Verb verb) {
  return verb == Verb::kStartSession || verb == Verb::kPolicyCommandCode || verb == Verb::kPolicyPcr ||
         verb == Verb::kPolicyOther || verb == Verb::kUnseal;
}

Verb verb_of(std::uint16_t number, const Weights& weights) {
  std::vector<VerbShare> shares;
  for (const auto& entry : kOrdinary) {
    const bool tries = entry.verb == Verb::kSign || entry.verb == Verb::kUnseal;
    const unsigned factor = (is_about_sessions(entry.verb) ? weights.sessions : 1) *
                            (is_about_policies(entry.verb) ? weights.policies : 1) *
                            (tries && weights.protects ? 6 : 1);
    shares.push_back({entry.verb, entry.share * weights.ordinary * factor});
  }
  shares.push_back({Verb::kPersist, 8 * weights.persist});
  shares.push_back({Verb::kUnpersist, 5 * weights.persist});
  shares.push_back({Verb::kClear, weights.global});
  shares.push_back({Verb::kHierarchyControl, 3 * weights.global});
  shares.push_back({Verb::kChangeSeed, weights.global});
  shares.push_back({Verb::kLockReset, weights.lock_resets});
  unsigned sum = 0;
  for (const auto& entry : shares) sum += entry.share;
  unsigned at = sum == 0 ? 0 : number % sum;
  for (const auto& entry : shares) {
    if (at < entry.share) return entry.verb;
    at -= entry.share;
  }
  return Verb::kGetRandom;
}

bool is_session_number(std::uint32_t handle) {
  return wire::is_session(handle);
}

}  // namespace

const char* name_of(Verb verb) {
  constexpr std::array names = {"CreatePrimary",
                                "Create",
                                "CreateLoaded",
                                "Load",
                                "LoadExternal",
                                "ReadPublic",
                                "Sign",
                                "Unseal",
                                "ObjectChangeAuth",
                                "EvictControl(make)",
                                "EvictControl(remove)",
                                "ContextSave",
                                "ContextLoad",
                                "FlushContext",
                                "HashSequenceStart",
                                "HMAC_Start",
                                "SequenceUpdate",
                                "SequenceComplete",
                                "EventSequenceComplete",
                                "StartAuthSession",
                                "PolicyCommandCode",
                                "PolicyPCR",
                                "PolicyOther",
                                "PolicyPlain",
                                "PolicySecret",
                                "GetCapability(HANDLES)",
                                "GetCapability(PROPERTY)",
                                "GetRandom",
                                "PCR_Extend",
                                "PCR_Read",
                                "Clear",
                                "HierarchyControl",
                                "ChangeSeed",
                                "DictionaryAttackLockReset"};
  return names[static_cast<std::size_t>(verb)];
}

// Turns the numbers of one step into two commands.
class ReferenceClient::Composer {
 public:
  Composer(ReferenceClient& client, const Step& step) : client_(client), step_(step) {
    said_.verb = verb_of(step.what, client.weights_);
  }

  Utterance compose() {
    switch (said_.verb) {
      case Verb::kCreatePrimary:
      case Verb::kCreate:
      case Verb::kCreateLoaded:
      case Verb::kLoad:
      case Verb::kLoadExternal:
        make_object();
        break;
      case Verb::kReadPublic:
      case Verb::kSign:
      case Verb::kUnseal:
      case Verb::kObjectChangeAuth:
      case Verb::kPersist:
      case Verb::kUnpersist:
        use_object();
        break;
      case Verb::kContextSave:
      case Verb::kContextLoad:
      case Verb::kFlush:
        move_context();
        break;
      case Verb::kHashStart:
      case Verb::kHmacStart:
      case Verb::kSequenceUpdate:
      case Verb::kSequenceComplete:
      case Verb::kEventComplete:
        use_sequence();
        break;
      case Verb::kStartSession:
      case Verb::kPolicyCommandCode:
      case Verb::kPolicyPcr:
      case Verb::kPolicyOther:
      case Verb::kPolicyPlain:
      case Verb::kPolicySecret:
        use_session();
        break;
      default:
        ask_or_change_chip();
    }
    said_.text = fmt::format("{} {:#x}/{:#x}", name_of(said_.verb), said_.handle[0], said_.handle[1]);
    return std::move(said_);
  }

 private:
  template <typename Build>
  void build(Build make) {
    for (std::size_t side = 0; side < kSides; ++side) said_.bytes[side] = make(side);
  }

  [[nodiscard]] static Handles both(std::uint32_t handle) { return {handle, handle}; }

  // A raw handle, said to both sides.
  [[nodiscard]] Handles raw(std::uint32_t handle) const {
    if (!is_session_number(handle)) return both(handle);
    return {handle, client_.session_map_ ? client_.session_map_(handle) : handle};
  }

  [[nodiscard]] bool wild(std::uint16_t number) const { return client_.weights_.wild && number % 16 >= 14; }

  // A careful client names only known entities.
  [[nodiscard]] Handles strange(std::uint16_t number) const {
    if (client_.weights_.careful) return both(kNull);
    const std::size_t index = number / 16;
    const auto& foreign = client_.foreign_;
    const auto& known = client_.entities_;
    if (index % 3 == 0 && !known.empty()) return raw(known[index / 3 % known.size()].handle[0]);
    if (index % 3 == 1 && !foreign.empty()) return raw(foreign[index / 3 % foreign.size()]);
    return raw(kStrangeHandles[index / 3 % kStrangeHandles.size()]);
  }

  [[nodiscard]] std::uint32_t persistent(std::size_t number) const {
    const std::size_t count = client_.weights_.more_persistent ? kPersistentHandles.size() : kFewPersistent;
    return kPersistentHandles[number % count];
  }

  template <typename Predicate>
  [[nodiscard]] const Entity* pick(std::uint16_t number, Predicate predicate) const {
    std::vector<const Entity*> fitting;
    for (const auto& entity : client_.entities_)
      if (entity.alive && predicate(entity)) fitting.push_back(&entity);
    return fitting.empty() ? nullptr : fitting[(number / 16U) % fitting.size()];
  }

  // A handle that should do, or a wild one.
  template <typename Predicate>
  [[nodiscard]] Handles choose(std::uint16_t number, Predicate predicate) {
    chosen_ = nullptr;
    if (wild(number)) return strange(number);
    const bool stored =
        number % 16 == 13 || (client_.weights_.more_persistent && number % 16 >= 10 && number % 16 < 13);
    if (stored && !client_.weights_.careful) return both(persistent(number / 16U));
    chosen_ = pick(number, predicate);
    return chosen_ != nullptr ? chosen_->handle : strange(number);
  }

  [[nodiscard]] static bool is_parent(const Entity& e) {
    return e.kind == EntityKind::kObject && (e.made_as == Template::kParent || e.made_as == Template::kStClearParent);
  }
  [[nodiscard]] static bool is_key(const Entity& e) { return e.kind == EntityKind::kObject && !is_parent(e); }
  [[nodiscard]] static bool is_object(const Entity& e) { return e.kind == EntityKind::kObject; }
  [[nodiscard]] static bool is_sequence(const Entity& e) {
    return e.kind == EntityKind::kSequence || e.kind == EntityKind::kEventSequence;
  }
  [[nodiscard]] static bool is_session(const Entity& e) { return e.kind == EntityKind::kSession && !e.saved; }
  [[nodiscard]] static bool is_policy(const Entity& e) {
    return is_session(e) && e.session != speech::SessionKind::kHmac;
  }

  // An authorization session of the command, on one side.
  struct Use {
    Handles session = both(wire::kPasswordSession);
    std::uint8_t attributes = 0x01;
    Bytes secret;
  };

  void use_session_as(Use& use, const Entity* session, bool continues) {
    if (session == nullptr) return;
    use.session = session->handle;
    use.secret.clear();
    said_.used_sessions.push_back(session->handle);
    if (continues) return;
    use.attributes = 0;
    said_.ending_sessions.push_back(session->handle);
  }

  // The policy that opens it.
  [[nodiscard]] static std::optional<Entity::Policy> policy_of(Template kind) {
    switch (kind) {
      case Template::kPolicySealed:
        return Entity::Policy::kUnseal;
      case Template::kPcrSealed:
        return Entity::Policy::kPcr;
      case Template::kPasswordSealed:
      case Template::kProtectedPasswordSealed:
        return Entity::Policy::kPassword;
      case Template::kBranchSealed:
        return Entity::Policy::kBranch;
      default:
        return std::nullopt;
    }
  }
  [[nodiscard]] std::optional<Entity::Policy> wanted_policy() const {
    return said_.verb == Verb::kUnseal && chosen_ != nullptr ? policy_of(chosen_->made_as) : std::nullopt;
  }

  // Authorization for the entity chosen last (whose auth value is known), by `step_.auth`.
  [[nodiscard]] Use authorization(std::uint16_t number) {
    Use use;
    if (chosen_ != nullptr) use.secret = chosen_->auth;
    const bool continues = number % 3 != 0;
    if (const auto policy = wanted_policy()) {
      const Bytes password = use.secret;
      use_session_as(use, pick(number, [&](const Entity& e) { return is_policy(e) && e.policy == *policy; }),
                     continues);
      if (*policy == Entity::Policy::kPassword) use.secret = password;
      return use;
    }
    // No client here computes an HMAC with a key.
    if (client_.weights_.careful && !use.secret.empty()) return use;
    if (client_.weights_.protects && !client_.weights_.careful && number % 4 == 3) use.secret = Bytes{1, 2, 3};
    switch (number % 16) {
      case 8:
      case 9:
      case 10:
        use_session_as(use, pick(number, [](const Entity& e) { return is_session(e) && !is_policy(e); }), continues);
        break;
      case 11:
        use_session_as(use, pick(number, is_policy), continues);
        break;
      case 12:
        use_session_as(use, pick(number, is_session), continues);
        break;
      case 13:
        if (!client_.weights_.careful) use.secret = Bytes{1, 2, 3};  // wrong
        break;
      case 14:
        if (client_.weights_.wild) use.session = raw(strange(static_cast<std::uint16_t>(number * 7))[0]);
        break;
      default:
        break;
    }
    return use;
  }

  // Authorizations of a command with that many authorized handles; the first by `step_.auth`, others empty passwords.
  void authorize(std::size_t count = 1) {
    uses_.clear();
    uses_.push_back(authorization(step_.auth));
    for (std::size_t i = 1; i < count; ++i) uses_.push_back(Use{});
    add_audit();
    if (client_.weights_.wild && step_.auth % 64 == 63) uses_.clear();
  }

  // Now and then an HMAC session that audits.
  void add_audit() {
    if (step_.auth % 32 != 31 && step_.auth % 32 != 30) return;
    const Entity* session = pick(step_.auth, [](const Entity& e) { return is_session(e) && !is_policy(e); });
    if (session == nullptr) return;
    Use use;
    use.session = session->handle;
    use.attributes = step_.auth % 64 == 30 ? 0x83 : 0x81;  // continue, audit, perhaps exclusive
    said_.audit = true;
    uses_.push_back(use);
  }

  [[nodiscard]] Auths auths(std::size_t side) const {
    Auths out;
    constexpr std::uint8_t kExclusive = 0x02;
    const bool ask_exclusive = side == 0 || client_.weights_.exclusive_reference;
    for (const auto& use : uses_) {
      const auto attributes = ask_exclusive ? use.attributes : use.attributes & ~kExclusive;
      out.push_back({use.session[side], static_cast<std::uint8_t>(attributes), use.secret});
    }
    return out;
  }

  [[nodiscard]] Bytes new_auth(std::uint16_t number) const {
    return number % 4 == 3 ? Bytes{0x70, 0x61, 0x73, static_cast<std::uint8_t>(1 + number % 9)} : Bytes{};
  }

  [[nodiscard]] Template pick_template(std::uint16_t number) const {
    constexpr std::array kinds = {Template::kParent,         Template::kHmacKey,   Template::kSealed,
                                  Template::kHmacKey,        Template::kParent,    Template::kPolicySealed,
                                  Template::kStClearKey,     Template::kHmacKey,   Template::kStClearParent,
                                  Template::kAdminPolicyKey, Template::kPcrSealed, Template::kPasswordSealed,
                                  Template::kBranchSealed};
    constexpr std::array protected_kinds = {Template::kProtectedKey, Template::kProtectedSealed,
                                            Template::kProtectedPasswordSealed};
    if (client_.weights_.protects && number % 4 != 0) return protected_kinds[number / 4 % protected_kinds.size()];
    return kinds[number % kinds.size()];
  }

  void will_make(EntityKind kind, Template made_as, Bytes auth, std::uint64_t individual) {
    Entity entity;
    entity.kind = kind;
    entity.made_as = made_as;
    entity.auth = std::move(auth);
    entity.individual = individual;
    said_.makes = std::move(entity);
  }

  void make_object() {
    const Template kind = pick_template(step_.b);
    const Bytes auth = new_auth(step_.c);
    const std::uint64_t individual = client_.id_ << 32 | ++client_.individuals_;
    will_make(EntityKind::kObject, kind, auth, individual);
    switch (said_.verb) {
      case Verb::kCreatePrimary: {
        const std::uint32_t hierarchy = kHierarchies[step_.a % kHierarchies.size()];
        said_.handle = both(hierarchy);
        authorize();
        build([&](std::size_t s) { return speech::create_primary(hierarchy, auths(s), kind, individual, auth); });
        break;
      }
      case Verb::kCreate:
        said_.handle = choose(step_.a, is_parent);
        authorize();
        build([&](std::size_t s) { return speech::create(said_.handle[s], auths(s), kind, individual, auth); });
        break;
      case Verb::kCreateLoaded:
        said_.handle =
            step_.a % 8 < 2 ? both(kHierarchies[step_.a / 8U % kHierarchies.size()]) : choose(step_.a, is_parent);
        authorize();
        build([&](std::size_t s) { return speech::create_loaded(said_.handle[s], auths(s), kind, individual, auth); });
        break;
      case Verb::kLoad:
        make_by_loading();
        break;
      default: {
        const std::uint32_t hierarchy = step_.a % 4 == 0 ? kHierarchies[step_.a / 4U % kHierarchies.size()] : kNull;
        said_.makes->made_as = Template::kHmacKey;
        said_.makes->auth.clear();
        const bool with_secret = client_.weights_.bound_sessions || step_.b % 4 != 0;
        build([&](std::size_t) { return speech::load_external(hierarchy, individual, with_secret); });
      }
    }
  }

  void make_by_loading() {
    auto& wrapped = client_.pool_->wrapped;
    if (wrapped.empty()) {
      said_.verb = Verb::kCreate;
      return make_object();
    }
    const Wrapped& source = wrapped[step_.b % wrapped.size()];
    said_.makes = source.about;
    // Mostly under the parent it was made with, if that still lives here.
    const Entity* parent = pick(0, [&](const Entity& e) { return is_parent(e) && e.handle == source.parent; });
    chosen_ = parent;
    said_.handle = parent != nullptr && !wild(step_.a) ? parent->handle : choose(step_.a, is_parent);
    authorize();
    build([&](std::size_t s) { return speech::load(said_.handle[s], auths(s), source.bytes[s]); });
  }

  void use_object() {
    switch (said_.verb) {
      case Verb::kReadPublic:
        said_.handle = choose(step_.a, is_object);
        uses_.clear();
        add_audit();
        build([&](std::size_t s) { return speech::read_public(said_.handle[s], auths(s)); });
        break;
      case Verb::kSign: {
        const Bytes digest = sha256({text("to sign"), wire::Writer().u16(step_.b).bytes()});
        said_.handle = choose(step_.a, is_key);
        authorize();
        build([&](std::size_t s) { return speech::sign(said_.handle[s], auths(s), digest); });
        break;
      }
      case Verb::kUnseal:
        said_.handle = choose(step_.a, [](const Entity& e) {
          return is_object(e) &&
                 (e.made_as == Template::kSealed || e.made_as == Template::kProtectedSealed || policy_of(e.made_as));
        });
        authorize();
        build([&](std::size_t s) { return speech::unseal(said_.handle[s], auths(s)); });
        break;
      case Verb::kObjectChangeAuth: {
        Handles parent = choose(step_.b, is_parent);
        said_.handle = choose(step_.a, [](const Entity& e) { return is_key(e) && e.parent[0] != 0; });
        if (chosen_ != nullptr && step_.b % 8 != 0) parent = chosen_->parent;
        authorize();
        build([&](std::size_t s) {
          return speech::object_change_auth(said_.handle[s], parent[s], auths(s), new_auth(step_.c));
        });
        break;
      }
      default:
        use_persistent();
    }
  }

  void use_persistent() {
    const std::uint32_t at = persistent(step_.b);
    const bool platform = wire::number_of(at) >= 0x800000 || step_.c % 8 == 7;
    const std::uint32_t authority = platform ? kPlatform : kOwner;
    said_.handle = said_.verb == Verb::kUnpersist ? both(at) : choose(step_.a, is_object);
    chosen_ = nullptr;
    authorize();
    said_.persistent = at;
    build([&](std::size_t s) { return speech::evict_control(authority, said_.handle[s], auths(s), at); });
  }

  void move_context() {
    if (said_.verb == Verb::kContextLoad) return load_context();
    const bool sessions = step_.b % 2 == 0;
    said_.handle = choose(step_.a, [&](const Entity& e) {
      if (said_.verb == Verb::kContextSave) return sessions ? is_session(e) : e.kind != EntityKind::kSession;
      return step_.b % 3 != 0 ? e.kind != EntityKind::kSession : e.kind == EntityKind::kSession;
    });
    if (said_.verb == Verb::kContextSave)
      build([&](std::size_t s) { return speech::context_save(said_.handle[s]); });
    else
      build([&](std::size_t s) { return speech::flush_context(said_.handle[s]); });
  }

  void load_context() {
    auto& blobs = client_.pool_->blobs;
    if (blobs.empty()) {
      said_.verb = Verb::kContextSave;
      return move_context();
    }
    // The newest most often.
    const std::size_t back =
        step_.a % 4 != 0 ? step_.b % std::min<std::size_t>(blobs.size(), 3) : step_.b % blobs.size();
    const Blob& blob = blobs[blobs.size() - 1 - back];
    said_.blob = blob;
    said_.makes = blob.about;
    said_.handle = blob.about.handle;
    build([&](std::size_t s) {
      Bytes context = blob.context[s];
      said_.blob_changed = wild(step_.c) && change(context);
      return speech::context_load(context);
    });
  }

  // Spoils a TPMS_CONTEXT: sequence(8) savedHandle(4) hierarchy(4) blob.
  [[nodiscard]] bool change(Bytes& context) const {
    constexpr std::size_t kSequenceAt = 7;
    constexpr std::size_t kSavedHandleAt = 11;
    constexpr std::size_t kHierarchyAt = 15;
    switch (step_.c / 16 % 5) {
      case 0:
        context.back() ^= 0x01;
        break;
      case 1:
        context[kSequenceAt] ^= 0x01;
        break;
      case 2:
        context[kSavedHandleAt] ^= 0x02;
        break;
      case 3:
        context[kHierarchyAt] = context[kHierarchyAt] == 0x07 ? 0x01 : 0x07;
        break;
      default:
        context.pop_back();
    }
    return true;
  }

  void use_sequence() {
    const Bytes data = sha256({text("data"), wire::Writer().u16(step_.b).bytes()});
    const Bytes auth = new_auth(step_.c);
    switch (said_.verb) {
      case Verb::kHashStart: {
        const bool event = step_.a % 4 == 0;
        will_make(event ? EntityKind::kEventSequence : EntityKind::kSequence, Template::kSealed, auth, 0);
        build([&](std::size_t) { return speech::hash_sequence_start(auth, event); });
        break;
      }
      case Verb::kHmacStart:
        said_.handle = choose(step_.a, is_key);
        will_make(EntityKind::kSequence, Template::kSealed, auth, 0);
        authorize();
        build([&](std::size_t s) { return speech::hmac_start(said_.handle[s], auths(s), auth); });
        break;
      case Verb::kSequenceUpdate:
        said_.handle = choose(step_.a, is_sequence);
        authorize();
        build([&](std::size_t s) { return speech::sequence_update(said_.handle[s], auths(s), data); });
        break;
      case Verb::kSequenceComplete:
        said_.handle = choose(step_.a, [](const Entity& e) { return e.kind == EntityKind::kSequence; });
        authorize();
        build([&](std::size_t s) { return speech::sequence_complete(said_.handle[s], auths(s), data); });
        break;
      default:
        complete_event(data);
    }
  }

  void complete_event(const Bytes& data) {
    const std::uint32_t pcr = step_.c % 3 == 0 ? kNull : 16;
    said_.handle = choose(step_.a, [](const Entity& e) { return e.kind == EntityKind::kEventSequence; });
    const Bytes secret = chosen_ != nullptr ? chosen_->auth : Bytes{};
    chosen_ = nullptr;
    authorize(2);
    if (uses_.size() >= 2 && uses_[1].session[0] == wire::kPasswordSession) uses_[1].secret = secret;
    build([&](std::size_t s) { return speech::event_sequence_complete(pcr, said_.handle[s], auths(s), data); });
  }

  void start_session() {
    constexpr std::array kinds = {speech::SessionKind::kHmac, speech::SessionKind::kPolicy, speech::SessionKind::kHmac,
                                  speech::SessionKind::kTrial};
    const bool any = client_.weights_.policies == 1 || step_.b % 8 == 7;
    const auto kind = any ? kinds[step_.b % kinds.size()] : speech::SessionKind::kPolicy;
    Handles key = both(kNull);
    Handles bind = both(kNull);
    const bool may_bind = client_.weights_.bound_sessions && !client_.weights_.careful;
    if (may_bind && step_.c % 8 == 7) bind = choose(step_.a, is_object);
    if (may_bind && step_.c % 16 == 14) bind = both(kHierarchies[step_.a % kHierarchies.size()]);
    if (step_.c % 32 == 5) key = choose(step_.a, is_object);
    // One wrong HMAC of a session bound to lockout disables lockout for all users (tpm-behaviour 34).
    if (bind[0] == kLockout) bind = both(kNull);
    said_.handle = bind;
    will_make(EntityKind::kSession, Template::kSealed, {}, 0);
    said_.makes->session = kind;
    build([&](std::size_t s) { return speech::start_auth_session(key[s], bind[s], kind); });
  }

  void use_session() {
    constexpr std::array plain = {cc::kPolicyGetDigest, cc::kPolicyPassword, cc::kPolicyRestart, cc::kPolicyAuthValue,
                                  cc::kPolicyGetDigest};
    constexpr std::array commands = {cc::kUnseal, cc::kUnseal, cc::kSign, cc::kObjectChangeAuth};
    switch (said_.verb) {
      case Verb::kStartSession:
        return start_session();
      case Verb::kPolicyCommandCode:
        said_.handle = choose(step_.a, is_policy);
        build([&](std::size_t s) {
          return speech::policy_command_code(said_.handle[s], commands[step_.b % commands.size()]);
        });
        said_.policy =
            commands[step_.b % commands.size()] == cc::kUnseal ? Entity::Policy::kUnseal : Entity::Policy::kOther;
        break;
      case Verb::kPolicyPcr:
        policy_pcr();
        break;
      case Verb::kPolicyOther:
        other_policy();
        break;
      case Verb::kPolicyPlain:
        said_.handle = choose(step_.a, is_policy);
        build([&](std::size_t s) { return speech::policy_plain(plain[step_.b % plain.size()], said_.handle[s]); });
        if (plain[step_.b % plain.size()] == cc::kPolicyRestart)
          said_.policy = Entity::Policy::kNothing;
        else if (plain[step_.b % plain.size()] == cc::kPolicyPassword)
          said_.policy = Entity::Policy::kPassword;
        else if (plain[step_.b % plain.size()] != cc::kPolicyGetDigest)
          said_.policy = Entity::Policy::kOther;
        break;
      default: {
        const Handles session = choose(step_.a, is_policy);
        constexpr std::array entities = {kOwner, kEndorsement, kPlatform, kLockout};
        const bool object = step_.b % 4 == 0;
        const Handles entity = object ? choose(step_.c, is_object) : both(entities[step_.c % entities.size()]);
        if (!object) chosen_ = nullptr;
        said_.handle = session;
        said_.policy = Entity::Policy::kOther;
        // A wrong secret for lockout would disable lockout for all users.
        if (!object && entity[0] == kLockout)
          uses_.assign(1, Use{});
        else
          authorize();
        build([&](std::size_t s) { return speech::policy_secret(entity[s], session[s], auths(s)); });
      }
    }
  }

  // Mostly of a PCR that no client extends, so that its policy can succeed.
  void policy_pcr() {
    std::optional<std::uint32_t> pcr = speech::kUntouchedPcr;
    Bytes expected;
    if (step_.b % 8 == 5) pcr = std::nullopt;
    if (step_.b % 8 == 6) pcr = step_.c % 2 == 0 ? 16 : step_.c / 2U % 4;  // the PCRs that PCR_Extend extends
    if (step_.b % 8 == 7) expected = sha256({Bytes(kDigestSize, step_.c % 2 == 0 ? 0 : 1)});
    said_.handle = choose(step_.a, is_policy);
    said_.policy = pcr == speech::kUntouchedPcr ? Entity::Policy::kPcr : Entity::Policy::kOther;
    build([&](std::size_t s) { return speech::policy_pcr(said_.handle[s], pcr, expected); });
  }

  void other_policy() {
    said_.policy = Entity::Policy::kOther;
    if (step_.b % 2 == 0) {
      said_.handle = choose(step_.a, [](const Entity& e) {
        return is_policy(e) && (e.policy == Entity::Policy::kUnseal || e.policy == Entity::Policy::kPcr);
      });
      said_.policy = Entity::Policy::kBranch;
      return build([&](std::size_t s) { return speech::policy_or(said_.handle[s], speech::branches()); });
    }
    said_.handle = choose(step_.a, is_policy);
    const bool locality = step_.b % 4 == 1;
    constexpr std::array<std::uint8_t, 8> localities = {1, 1, 3, 0x1F, 2, 0, 32, 255};
    const auto octet = static_cast<std::uint8_t>(locality ? localities[step_.c % localities.size()] : step_.c % 3);
    build([&](std::size_t s) {
      return speech::policy_octet(locality ? cc::kPolicyLocality : cc::kPolicyNvWritten, said_.handle[s], octet);
    });
  }

  void ask_or_change_chip() {
    constexpr std::array ranges = {0x80000000U, 0x02000000U, 0x03000000U, 0x81000000U,
                                   0x80000001U, 0x40000008U, 0x00000003U, 0x05000000U};
    chosen_ = nullptr;
    switch (said_.verb) {
      case Verb::kListHandles: {
        const std::uint32_t first = ranges[step_.a % ranges.size()] + (step_.b % 8 == 7 ? 1 : 0);
        const std::uint32_t count = step_.c % 4 == 0 ? step_.c / 4U % 4 : 254;
        said_.handle = both(first);
        uses_.clear();
        add_audit();
        build([&](std::size_t s) { return speech::get_capability(1, first, count, auths(s)); });
        break;
      }
      case Verb::kProperty:
        said_.handle = both(0x203 + step_.a % (client_.weights_.more_persistent ? 6U : 5U));
        if (client_.weights_.protects && step_.b % 2 == 0) said_.handle = both(0x20E + step_.a % 3U);
        build([&](std::size_t s) { return speech::get_capability(6, said_.handle[s], 1); });
        break;
      case Verb::kPcrExtend: {
        const std::uint32_t pcr = step_.a % 2 == 0 ? 16 : step_.a / 2U % 4;
        said_.handle = both(pcr);
        authorize();
        build([&](std::size_t s) {
          return speech::pcr_extend(pcr, auths(s), sha256({text("event"), wire::Writer().u16(step_.b).bytes()}));
        });
        break;
      }
      case Verb::kPcrRead:
        build([&](std::size_t) { return speech::pcr_read(step_.a % 2 == 0 ? 16 : step_.a / 2U % 4); });
        break;
      case Verb::kGetRandom:
        uses_.clear();
        add_audit();
        build([&](std::size_t s) { return speech::get_random(static_cast<std::uint16_t>(8 + step_.a % 8), auths(s)); });
        break;
      default:
        change_chip();
    }
  }

  void change_chip() {
    if (said_.verb == Verb::kLockReset)
      return build([](std::size_t) { return speech::dictionary_attack_lock_reset(); });
    if (said_.verb == Verb::kClear) {
      const std::uint32_t authority = step_.a % 2 == 0 ? kPlatform : kLockout;
      said_.handle = both(authority);
      uses_.assign(1, Use{});
      if (authority == kPlatform) authorize();
      return build([&](std::size_t s) { return speech::clear(authority, auths(s)); });
    }
    authorize();
    if (said_.verb == Verb::kChangeSeed) {
      const std::uint32_t code = step_.a % 2 == 0 ? cc::kChangeEPS : cc::kChangePPS;
      said_.handle = both(code);
      return build([&](std::size_t s) { return speech::change_seed(code, auths(s)); });
    }
    // Switching on again twice as often as off; the platform hierarchy itself stays on, nothing would bring it back.
    constexpr std::array targets = {kOwner, kEndorsement};
    const std::uint32_t target = targets[step_.a % targets.size()];
    const bool on = step_.b % 3 != 0;
    const std::uint32_t authority = on || step_.c % 2 == 0 ? kPlatform : target;
    said_.handle = both(target);
    build([&](std::size_t s) { return speech::hierarchy_control(authority, auths(s), target, on); });
  }

  ReferenceClient& client_;
  const Step& step_;
  Utterance said_;
  std::vector<Use> uses_;
  const Entity* chosen_ = nullptr;
};

Utterance ReferenceClient::say(const Step& step) {
  return Composer(*this, step).compose();
}

}  // namespace tpmspace::simulation
