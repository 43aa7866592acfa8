// Writes the dictionary and the seed corpora: fuzz_seeds FOUND.TXT DIRECTORY makes DIRECTORY/dictionary and
// DIRECTORY/<fuzzer>/.
//
// Idea: everything comes from the command table and the same command builders that the tests use, so nothing binary has
// to be kept.

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "../support/tpm_commands.h"
#include "books/books.h"
#include "proto/control.h"
#include "wire/command_table.h"
#include "wire/response.h"

namespace tpmspace::fuzz {
namespace {

using namespace support;
namespace fs = std::filesystem;

class Corpus {
 public:
  Corpus(const fs::path& directory, const std::string& fuzzer) : directory_(directory / fuzzer) {
    fs::create_directories(directory_);
  }
  void add(ByteView data) {
    std::ofstream file(directory_ / fmt::format("seed-{:03}", count_++), std::ios::binary);
    for (const auto byte : data) file.put(static_cast<char>(byte));
  }
  void add(const std::string& text) {
    std::ofstream(directory_ / fmt::format("seed-{:03}", count_++), std::ios::binary) << text;
  }

 private:
  fs::path directory_;
  unsigned count_ = 0;
};

void write_dictionary(const fs::path& file) {
  std::set<std::uint32_t> words = {kOwner,     kNull,      kEndorsement, kPlatform,  kLockout,   wire::kPasswordSession,
                                   0x80000000, 0x80000001, 0x80000002,   0x81000001, 0x01800001, 0x02000000,
                                   0x02000001, 0x03000000, 0x03000001,   0x03000002, 9,          18};
  for (const auto& row : wire::CommandTable::builtin().rows()) words.insert(row.code);
  std::ofstream out(file);
  for (const auto word : words)
    out << fmt::format("\"\\x{:02x}\\x{:02x}\\x{:02x}\\x{:02x}\"\n", word >> 24, word >> 16 & 255, word >> 8 & 255,
                       word & 255);
  out << "\"\\x80\\x01\"\n\"\\x80\\x02\"\n\"SP\"\n";
  for (const char* text :
       {"embedded",    "swtpm:",       "device:",    "path=",      "host=",        "port=",       "ctrl=",
        "fd=",         "latency=",     "slb9670",    "st33ktpm2x", "socket",       "socket_mode", "log_level",
        "[limits]",    "connections",  "objects",    "sessions",   "bytes",        "queue",       "[profile.",
        "[[rule]]",    "[[listener]]", "base",       "allow",      "deny",         "localities",  "hierarchies",
        "persistent.", "nv.",          "pcr.",       "use-keys",   "TPM2_NV_Read", "all",         "safe",
        "profile",     "user",         "executable", "cgroup",     "unit",         "listener",    "disable",
        "path",        "owner",        "mode",       "locality"})
    out << fmt::format("\"{}\"\n", text);
}

// One command of every row: right handles, a password for each that wants one, parameters of zeros.
std::vector<Bytes> command_of_every_row() {
  std::vector<Bytes> out;
  for (const auto& row : wire::CommandTable::builtin().rows()) {
    Writer area;
    for (unsigned i = 0; i < row.auth_handles; ++i) area.raw(password());
    Writer body;
    for (unsigned i = 0; i < row.handles; ++i) body.u32(0x80000000 + i);
    if (row.auth_handles > 0) body.u32(static_cast<std::uint32_t>(area.bytes().size())).raw(area.bytes());
    body.raw(Bytes(8));
    const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + body.bytes().size());
    const auto tag = row.auth_handles > 0 ? wire::kTagSessions : wire::kTagNoSessions;
    out.push_back(Writer().u16(tag).u32(size).u32(row.code).raw(body.bytes()).take());
  }
  return out;
}

Bytes after(std::initializer_list<std::uint8_t> head, ByteView rest) {
  return Writer().raw(Bytes(head)).raw(rest).take();
}

void write_wire(const fs::path& directory) {
  Corpus command(directory, "command"), guard(directory, "guard"), response(directory, "response"),
      frame(directory, "frame");
  for (const auto& one : command_of_every_row()) {
    command.add(after({0}, one));
    guard.add(after({0, 0, 0, 3}, one));
  }
  Writer chip;
  for (const auto code : {0x10400173U, 0x0000017BU, 0x36000001U}) chip.u32(code);
  command.add(after({3}, join({chip.take(), get_random()})));
  response.add(wire::error_response(0x101));
  response.add(wire::success_response(Bytes(20)));
  response.add(Writer().u16(0x8002).u32(0x19).u32(0).u32(0x80000001).u32(2).u16(0xAABB).u16(0).u8(1).u16(0).take());
  const Bytes several = join({get_random(), proto::encode(proto::Request(proto::Hello{})), flush_context(0x80000000),
                              proto::encode(proto::Request(proto::Cancel{})), Bytes(10, 0xFF)});
  for (std::uint8_t limits = 0; limits < 4; ++limits) frame.add(after({limits, 0x12, 0x34}, several));
}

void write_control(const fs::path& directory) {
  Corpus control(directory, "control");
  const auto add = [&](ByteView frame) { control.add(frame.subspan(6)); };
  add(proto::encode(proto::Request(proto::Hello{})));
  add(proto::encode(proto::Request(proto::Locality{3})));
  add(proto::encode(proto::Request(proto::StatusRequest{})));
  add(proto::encode(proto::Request(proto::Share{{1, 2, 3}})));
  add(proto::encode(proto::Request(proto::Join{{1, 2, 3}, 5})));
  add(proto::encode(proto::Reply(proto::JoinReply{})));
  add(proto::encode(proto::Request(proto::Sync{7})));
  add(proto::encode(proto::Reply(proto::SyncReply{7})));
  add(proto::encode(proto::Reply(proto::HelloReply{1, "tpmspaced", 7})));
  add(proto::encode(proto::Reply(proto::Refusal{1, 0x000B0084, 1})));
  const proto::Status status;
  add(proto::encode(proto::Reply(proto::StatusReply{status})));
  control.add(after({0, 0, 0, 0}, proto::encode_status(status)));
  add(proto::encode(proto::Request(proto::SessionsRequest{})));
  add(proto::encode(proto::Request(proto::OrderRequest{proto::FlushThese{{0x02000000, 0x03000001}}})));
  add(proto::encode(proto::Request(proto::OrderRequest{proto::FlushAbandoned{}})));
  add(proto::encode(proto::Request(proto::OrderRequest{proto::FlushOwner{1000}})));
  add(proto::encode(proto::Request(proto::Learn{"p"})));
  add(proto::encode(proto::Reply(proto::LearnReply{"[profile.p]\n"})));
  proto::Sessions sessions;
  sessions.sessions = {{.handle = 0x03000001, .kind = proto::SessionKind::kPolicy, .uid = 1000, .lease = 9}};
  sessions.waiting = {{.uid = 1000, .connection = 3, .waited = 4, .left = 5}};
  add(proto::encode(proto::Reply(proto::SessionsReply{sessions})));
  add(proto::encode(proto::Reply(proto::OrderReply{sessions.sessions})));
  add(proto::encode(proto::Request(proto::ClientsRequest{17})));
  add(proto::encode(proto::Request(proto::WhoRequest{{4711, {"TPM2_Sign", "0x81000001"}}})));
  proto::Clients clients;
  clients.total = 2;
  clients.clients.resize(1);
  clients.clients[0].refusal = proto::RefusedCommand{5, "TPM2_Clear", 0x000B0143, "no"};
  add(proto::encode(proto::Reply(proto::ClientsReply{clients})));
  proto::WhoReport report;
  report.reasons = {"a rule"};
  add(proto::encode(proto::Reply(proto::WhoReply{report})));
}

void write_space(const fs::path& directory) {
  Corpus context(directory, "context"), books(directory, "books");
  for (const std::uint32_t handle : {0x80000000U, 0x80000001U, 0x80000002U, 0x02000000U, 0x03000001U})
    context.add(Writer().u64(7).u32(handle).u32(kOwner).tpm2b(Bytes(12, 0xCC)).take());
  space::Books full;
  books.add(space::encode(full));
  const space::SpaceId one = space::open_space(full, space::OwnerId{1001}, {});
  space::SpaceLimits seen;
  seen.pools = {space::Pool{.id = {1}, .objects = 4}, space::Pool{.id = {2}, .bytes = 1 << 20}};
  seen.view = std::make_shared<const space::View>(
      space::View{.commands = {{0x11F, 0x193}}, .nv = {{1, 2}, {5, 9}}, .persistent_base = 0x81100000});
  seen.pins = std::make_shared<const wire::Numbers>(wire::Numbers{{1, 2}});
  space::open_space(full, space::OwnerId{}, seen);
  space::add_object(full, one, {0x80000000}, {});
  space::add_object(full, one, {0x80000001}, {true, Bytes(4, 1), 0});
  space::Session session;
  session.handle = 0x03000001;
  session.owner = space::OwnerId{1001};
  session.space = one;
  session.context = Bytes(4, 2);
  full.sessions[1] = session;
  session.context.clear();
  session.handle = 0x03000002;
  session.client = {0x03000002};
  session.kind = space::SessionKind::kPolicy;
  session.log.rebuildable = space::Rebuildable::kYes;
  session.log.hash = kSha256;
  session.log.start = start_session(SessionType::kPolicy);
  session.log.steps = {{cc::kPolicyCommandCode, Bytes(4), {}, 0}, {cc::kPolicySigned, Bytes(6), Bytes(9, 3), 0}};
  session.log.digest = Bytes(32, 4);
  space::add_parked(full, session);
  session.client_saved = true;
  session.client_copy.fill(5);
  session.log.pcr_changed = true;
  space::add_parked(full, session);
  full.slots.push_back(space::Slot{{0x80000000}, {1}, {0x80000000}});
  full.unwanted_sessions.push_back(space::UnwantedSession{0x02000002, true});
  books.add(space::encode(full));
}

void write_texts(const fs::path& directory) {
  Corpus spec(directory, "tool_spec");
  for (const char* text : {"embedded", "embedded:/var/lib/tpm,latency=slb9670", "swtpm:path=/run/s,ctrl=/run/c",
                           "swtpm:path=/run/s", "swtpm:host=localhost,port=2321",
                           "swtpm:host=::1,port=2321,ctrl=5,latency=st33ktpm2x", "device:/dev/tpm0", "device:fd=3"})
    spec.add(std::string(text));
  Corpus config(directory, "config");
  for (const char* text :
       {"tpm = \"embedded\"\nsocket = \"/run/s\"\nsocket_mode = \"0660\"\nlog_level = \"debug\"\n",
        "socket_mode = 0o600\n[limits]\nconnections = 0\nconnections_per_owner = 1\nobjects = 2\nsessions = 3\n",
        "limits = { bytes = 65536, client_saved_sessions = 0, queue = 0x10 }\n",
        "limits.queue = 1\nlimits.bytes = -1\n", "tpm = '''\nx'''\n[[limits]]\n",
        "limits = [1, 2.5, inf, 1979-05-27T07:32:00Z]\n", "socket = \"\\u0000\"\n",
        "[profile.a]\nbase = \"b\"\nallow = [\"use-keys\", \"0x20000001\"]\ndeny = \"TPM2_Sign\"\nclaim = 1\n"
        "[profile.b]\nbase = \"safe\"\nlocalities = [0, \"2-4\"]\nhierarchies = [\"owner\"]\npersistent.use = "
        "[0x81000001]\nnv.read = \"0x01500000-0x0150ffff\"\npcr.extend = \"all\"\n",
        "[[rule]]\nuser = [0, \"1-9\", \"u\"]\ncgroup = \"/a/**\"\nlistener = \"d\"\nprofile = \"attest\"\n[[rule]]\n"
        "executable = \"/x\"\ndisable = \"attest\"\nprofile = \"safe\"\n[[listener]]\nname = \"d\"\npath = \"/d\"\n"
        "owner = \"o\"\nprofile = \"admin\"\nlocality = 2\n",
        "[[namespace]]\nname = \"a\"\nuser = \"1-9\"\nprofile = \"storage\"\nsessions = 3\nbytes = 65536\n"
        "nv = \"0x01500000-0x0150ffff\"\npersistent_base = \"0x81200000\"\n[[namespace]]\nname = \"b\"\n"
        "pod = \"1*\"\nlistener = \"main\"\npersistent_base = 0x81220000\n[[rule]]\nnamespace = \"a\"\n"
        "profile = \"safe\"\n"})
    config.add(std::string(text));
}

void write_peer(const fs::path& directory) {
  Corpus peer(directory, "peer");
  const std::string id(64, 'a'), pod = "2c48913c_b29f_11e7_9350_020968147796";
  for (const std::string& path :
       {std::string("/system.slice/nginx.service"), "/system.slice/docker-" + id + ".scope", "/docker/" + id,
        std::string("/user.slice/user-1000.slice/user@1000.service/app.slice"), "/libpod_parent/libpod-" + id,
        "/kubepods.slice/kubepods-pod" + pod + ".slice/cri-containerd-" + id + ".scope",
        "/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/crio-" + id, std::string("/../x (deleted)")}) {
    peer.add(path);
    peer.add("9:name=systemd:/\n0::" + path + "\n");
  }
  peer.add("42 (a) b) S 1 42 42 0 -1 4194560 113 0 0 0 0 1 2 3 20 0 1 0 4711 2326528 195\n");
  peer.add("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t1 2 \n");
  peer.add("system_u:system_r:httpd_t:s0");
}

// Clients with policy sessions and their steps, more than a chip with few numbers has: `head` says what chip, `run` is
// the step that says a command and runs it (Play::act); what the others mean, Commands says.
Bytes parkers(std::initializer_list<std::uint8_t> head, std::uint8_t run, std::uint32_t seed) {
  Bytes out(head);
  const auto draw = [&](std::uint32_t below) {
    seed = seed * 1664525 + 1013904223;
    return static_cast<std::uint8_t>((seed >> 16) % below);
  };
  const auto add = [&](std::initializer_list<std::uint8_t> bytes) { out.insert(out.end(), bytes); };
  for (int i = 0; i < 6; ++i) add({0, 0x7F});  // open
  for (int i = 0; i < 60; ++i) {
    const std::uint8_t who = draw(6), number = draw(8);
    add({run, who});
    switch (draw(8)) {
      case 0:
      case 1:
      case 2:
        add({3, 5, draw(4), 0, 0});  // start
        break;
      case 3:
      case 4:
        add({3, 2, number, draw(9), draw(2), 0});  // a step
        break;
      case 5:
        add({2, 1, 0, 0x80, draw(2), static_cast<std::uint8_t>(0x80 + number)});  // use
        break;
      case 6:
        add({3, 2, number, 1, 0x80, 1, draw(8)});  // PolicySecret under another session
        break;
      default:
        add({5, draw(4), draw(4), number});  // save, load, flush
    }
  }
  return out;
}

// A client's life, as engine.cc reads it: bytes that mean steps. See there.
void write_engine(const fs::path& directory) {
  Corpus engine(directory, "engine");
  for (std::uint8_t mode = 0; mode < 3; ++mode) {
    Bytes life = {mode, 2, 2, 60, 0, 0};
    for (std::uint8_t i = 0; i < 120; ++i)
      for (const std::uint8_t byte : {std::uint8_t(i % 11), i, std::uint8_t(i * 7), std::uint8_t(i % 5)})
        life.push_back(byte);
    engine.add(life);
    for (std::uint8_t i = 0; i < 12; ++i)
      engine.add(parkers({mode, 0, 0, std::uint8_t(1 + i % 4), 0, 0}, 1, i * 3U + mode));
    for (std::uint8_t i = 0; i < 12; ++i) {
      Bytes other = {mode, std::uint8_t(i % 3), 2, 60, std::uint8_t(i % 2), i};
      for (unsigned j = 0; j < 200; ++j) other.push_back(static_cast<std::uint8_t>((j * (2U * i + 3U)) ^ (j >> 2)));
      engine.add(other);
    }
  }
}

// Likewise engine_libtpms.cc.
void write_engine_libtpms(const fs::path& directory) {
  Corpus engine(directory, "engine_libtpms");
  for (std::uint8_t i = 0; i < 8; ++i) {
    Bytes life = {std::uint8_t(i % 2), std::uint8_t(i % 4)};
    for (unsigned j = 0; j < 300; ++j) life.push_back(static_cast<std::uint8_t>((j * (2U * i + 3U)) ^ (j >> 2)));
    engine.add(life);
    engine.add(parkers({1, i, 0, 0}, 6, i));
  }
}

// found.txt: inputs that once found a fault.
void write_found(const fs::path& list, const fs::path& directory) {
  std::ifstream in(list);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto space = line.find(' ');
    fs::create_directories(directory / line.substr(0, space));
    const auto name = fmt::format("found-{}", std::hash<std::string>()(line));
    std::ofstream out(directory / line.substr(0, space) / name, std::ios::binary);
    for (std::size_t at = space + 1; at + 2 <= line.size(); at += 2)
      out.put(static_cast<char>(std::stoi(line.substr(at, 2), nullptr, 16)));
  }
}

}  // namespace
}  // namespace tpmspace::fuzz

int main(int argc, char** argv) {
  using namespace tpmspace::fuzz;
  if (argc != 3) {
    fmt::print(stderr, "usage: fuzz_seeds FOUND.TXT DIRECTORY\n");
    return 2;
  }
  const fs::path directory(argv[2]);
  fs::create_directories(directory);
  write_dictionary(directory / "dictionary");
  write_wire(directory);
  write_control(directory);
  write_space(directory);
  write_texts(directory);
  write_peer(directory);
  write_engine(directory);
  write_engine_libtpms(directory);
  write_found(argv[1], directory);
  return 0;
}
