// Units, containers and pods by their cgroups; and that no user becomes one by naming cgroups below their own.
#include "peer/cgroup_names.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tpmspace::peer {
namespace {

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kInner(64, 'e');
const std::string kPod = "2c48913c-b29f-11e7-9350-020968147796";
const std::string kPodInSlice = "2c48913c_b29f_11e7_9350_020968147796";
const std::string kStaticPod = "0123456789abcdef0123456789abcdef";

struct Case {
  std::string path;
  CgroupNames names;
};
void check(const std::vector<Case>& cases) {
  for (const auto& [path, expected] : cases) {
    const auto got = names_in_cgroup(path);
    EXPECT_EQ(got.unit, expected.unit) << path;
    EXPECT_EQ(got.container, expected.container) << path;
    EXPECT_EQ(got.pod, expected.pod) << path;
  }
}

TEST(CgroupNames, Units) {
  check({
      {"/system.slice/nginx.service", {.unit = "nginx.service"}},
      {"/system.slice/system-getty.slice/getty@tty1.service", {.unit = "getty@tty1.service"}},
      {"/system.slice/nginx.service/worker", {.unit = "nginx.service"}},
      {"/init.scope", {.unit = "init.scope"}},
      {"/user.slice/user-1000.slice/session-3.scope", {.unit = "session-3.scope"}},
      {"/system.slice/dev-disk-by\\x2duuid.swap", {.unit = "dev-disk-by\\x2duuid.swap"}},
      {"/system.slice/_cpu.service", {.unit = "cpu.service"}},
      {"/machine.slice/machine-debian.scope/payload", {.unit = "machine-debian.scope"}},
  });
}

TEST(CgroupNames, NoUnits) {
  for (const std::string path :
       {"", "/", "/system.slice", "/system.slice/", "/system.slice/nginx", "/system.slice/.service", "/a b.service",
        "/system.slice/nginx.service (deleted)", "/lxc.payload.web/nginx.service", "//", "/system.slice//nginx.service",
        "/system.slice/nginx\x01.service"})
    EXPECT_EQ(names_in_cgroup(path), CgroupNames()) << path;
  EXPECT_EQ(names_in_cgroup("/" + std::string(250, 'x') + ".service"), CgroupNames());
}

TEST(CgroupNames, Containers) {
  check({
      {"/system.slice/docker-" + kId + ".scope", {.unit = "docker-" + kId + ".scope", .container = kId}},
      {"/machine.slice/libpod-" + kId + ".scope/container", {.unit = "libpod-" + kId + ".scope", .container = kId}},
      {"/system.slice/nerdctl-" + kId + ".scope", {.unit = "nerdctl-" + kId + ".scope", .container = kId}},
      {"/docker/" + kId, {.container = kId}},
      {"/libpod_parent/libpod-" + kId, {.container = kId}},
      // Monitors are not in the containers that they watch.
      {"/machine.slice/libpod-conmon-" + kId + ".scope", {.unit = "libpod-conmon-" + kId + ".scope"}},
      {"/kubepods.slice/crio-conmon-" + kId + ".scope", {.unit = "crio-conmon-" + kId + ".scope"}},
      // Ids are whole or none.
      {"/system.slice/docker-abc.scope", {.unit = "docker-abc.scope"}},
      {"/system.slice/docker-" + kId + "0.scope", {.unit = "docker-" + kId + "0.scope"}},
      {"/system.slice/docker-" + std::string(64, 'A') + ".scope",
       {.unit = "docker-" + std::string(64, 'A') + ".scope"}},
      {"/system.slice/docker-" + kId + ".service", {.unit = "docker-" + kId + ".service"}},
      {"/docker", {}},
      {"/docker/buildkit", {}},
      {"/libpod_parent/" + kId, {}},
  });
}

TEST(CgroupNames, Pods) {
  const std::string slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kPodInSlice + ".slice";
  const std::string scope = "cri-containerd-" + kId + ".scope", crio = "crio-" + kId + ".scope";
  check({
      {slices + "/" + scope, {.unit = scope, .container = kId, .pod = kPod}},
      {slices + "/" + crio + "/container", {.unit = crio, .container = kId, .pod = kPod}},
      {slices, {.pod = kPod}},
      {"/kubepods.slice/kubepods-pod" + kPodInSlice + ".slice/" + scope,
       {.unit = scope, .container = kId, .pod = kPod}},
      {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" +
           kPodInSlice + ".slice/" + scope,
       {.unit = scope, .container = kId, .pod = kPod}},
      {"/kubepods.slice/kubepods-pod" + kStaticPod + ".slice/" + scope,
       {.unit = scope, .container = kId, .pod = kStaticPod}},
      {"/kubepods/burstable/pod" + kPod + "/" + kId, {.container = kId, .pod = kPod}},
      {"/kubepods/besteffort/pod" + kPod + "/crio-" + kId, {.container = kId, .pod = kPod}},
      {"/kubepods/pod" + kPod + "/" + kId, {.container = kId, .pod = kPod}},
      {"/kubepods/pod" + kStaticPod, {.pod = kStaticPod}},
      {"/kubepods", {}},
      {"/kubepods/burstable", {}},
      {"/kubepods/other/pod" + kPod + "/" + kId, {}},
      {"/kubepods/podx/" + kId, {}},
      {"/kubepods.slice/kubepods-podx.slice", {}},
      {"/my-kubepods-pod" + kPodInSlice + ".slice", {}},
  });
}

TEST(CgroupNames, CgroupsBelowBelongToTheirOwnerAndProveNothing) {
  const std::string own = "/user.slice/user-1000.slice/user@1000.service";
  const CgroupNames user = {.unit = "user@1000.service"};
  const CgroupNames outer = {.unit = "docker-" + kId + ".scope", .container = kId};
  check({
      {own + "/app.slice/nginx.service", user},
      {own + "/user.slice/libpod-" + kId + ".scope", user},
      {own + "/docker/" + kId, user},
      {own + "/kubepods.slice/kubepods-pod" + kPodInSlice + ".slice/cri-containerd-" + kId + ".scope", user},
      {"/system.slice/docker-" + kId + ".scope/docker/" + kInner, outer},
      {"/system.slice/docker-" + kId + ".scope/system.slice/nginx.service", outer},
      {"/docker/" + kId + "/docker/" + kInner, {.container = kId}},
      {"/user.slice/docker/" + kId, {}},
      {"/user.slice/kubepods/pod" + kPod + "/" + kId, {}},
  });
}

// --- All hierarchies together

using guard::Match;
using Text = guard::Known<std::string>;

TEST(CgroupFacts, TheMainPathIsThatOfV2OrElseOfSystemd) {
  const std::string unit = "/system.slice/nginx.service";
  const struct {
    std::vector<CgroupPath> all;
    Text cgroup, unit;
  } cases[] = {
      {{{"", unit}}, unit, Text("nginx.service")},
      {{{"memory", "/x"}, {"name=systemd", unit}}, unit, Text("nginx.service")},
      {{{"name=systemd", unit}, {"", "/"}}, unit, Text("nginx.service")},  // v2 is mounted and not used
      {{{"name=systemd", "/"}, {"", unit}}, unit, Text("nginx.service")},
      {{{"", "/"}}, Text("/"), Text::none()},
      {{{"memory", unit}}, Text::none(), Text::none()},
      {{}, Text::none(), Text::none()},
      {{{"", "/../nginx.service"}}, Text(), Text()},
      {{{"name=systemd", "/../../x"}}, Text(), Text()},
  };
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    const auto got = facts_of(cases[i].all, {});
    EXPECT_EQ(got.cgroup, cases[i].cgroup) << i;
    EXPECT_EQ(got.unit, cases[i].unit) << i;
  }
}

TEST(CgroupFacts, AContainerOrPodMayStandInAnyHierarchy) {
  const std::string pod = "/kubepods/burstable/pod" + kPod + "/" + kId;
  for (const std::vector<CgroupPath>& all :
       {std::vector<CgroupPath>{{"", pod}}, {{"memory", pod}, {"", "/"}}, {{"name=systemd", "/"}, {"pids", pod}}}) {
    const auto got = facts_of(all, {});
    EXPECT_EQ(got.container, Text(kId));
    EXPECT_EQ(got.pod, Text(kPod));
    EXPECT_EQ(got.is_contained, Match::kYes);
  }
  const auto outside = facts_of(std::vector<CgroupPath>{{"", "/user.slice/user-0.slice/session-1.scope"}}, {});
  EXPECT_EQ(outside.container, Text::none());
  EXPECT_EQ(outside.pod, Text::none());
}

TEST(CgroupFacts, APathOutsideOfOurCgroupNamespaceIsKnownByItsEnd) {
  const auto of = [](const std::string& path) { return facts_of(std::vector<CgroupPath>{{"", path}}, {{"", "/"}}); };
  EXPECT_EQ(of("/../docker-" + kId + ".scope").container, Text(kId));
  EXPECT_EQ(of("/../docker-" + kId + ".scope").pod, Text()) << "it may be in one";
  EXPECT_EQ(of("/../../user.slice/user-0.slice").container, Text());
}

struct Containment {
  std::string theirs, ours;
  bool is_contained;
};
TEST(CgroupFacts, ContainedMeansInAContainerThatTheDaemonIsNotIn) {
  const std::string pod_slice = "/kubepods.slice/kubepods-pod" + kPodInSlice + ".slice";
  const Containment cases[] = {
      // A root shell, sudo, a unit, cron; with and without systemd.
      {"/", "/", false},
      {"/user.slice/user-0.slice/session-3.scope", "/system.slice/tpmspaced.service", false},
      {"/user.slice/user-1000.slice/user@1000.service/app.slice/vte.scope", "/system.slice/tpmspaced.service", false},
      {"/system.slice/cron.service", "/system.slice/tpmspaced.service", false},
      {"/system.slice/machine-agent.service", "/", false},
      {"/init.scope", "/system.slice/tpmspaced.service", false},
      {"/openrc.sshd", "/openrc.tpmspaced", false},
      {"/system.slice/docker.service", "/", false},
      {"/system.slice/containerd.service", "/", false},
      {"/system.slice/kubelet.service", "/", false},
      {"/lxc.monitor.web", "/", false},
      {"/machine.slice/libpod-conmon-" + kId + ".scope", "/machine.slice", false},
      {"/system.slice/crio-conmon-" + kId + ".scope", "/", false},
      // Containers, by the engine's name wherever it stands.
      {"/system.slice/docker-" + kId + ".scope", "/system.slice/tpmspaced.service", true},
      {"/docker/" + kId, "/", true},
      {"/docker/buildkit/abc", "/", true},
      {"/system.slice/web.service/libpod-payload-" + kId, "/system.slice/tpmspaced.service", true},
      {"/machine.slice/libpod-" + kId + ".scope/container", "/", true},
      {"/machine.slice/machine-debian.scope/payload", "/", true},
      {"/machine.slice/systemd-nspawn@x.service", "/", true},
      {"/machine-x.scope", "/", true},
      {pod_slice + "/cri-containerd-" + kId + ".scope", "/system.slice/tpmspaced.service", true},
      {pod_slice, "/", true},
      {"/kubepods/besteffort/podx/y", "/", true},
      {"/system.slice/kubelet.service/kubepods/x", "/", true},
      {"/lxc.payload.web/init.scope", "/", true},
      {"/lxc/web", "/", true},
      {"/ecs/task/" + kId, "/", true},
      {"/x/y/" + kId + "/z", "/", true},
      // The daemon itself is in a container: a process in the same container is native.
      {"/docker/" + kId, "/docker/" + kId, false},
      {"/docker/" + kId + "/inner", "/docker/" + kId, false},
      {"/docker/" + kInner, "/docker/" + kId, true},
      {pod_slice + "/cri-containerd-" + kInner + ".scope", pod_slice + "/cri-containerd-" + kId + ".scope", true},
      {"/system.slice/cron.service", "/system.slice/docker-" + kId + ".scope", false},
      // And its cgroup namespace hides where.
      {"/../../user.slice/user-0.slice/session-1.scope", "/", false},
      {"/../cron.service", "/", false},
      {"/..", "/", false},
      {"/../docker-" + kId + ".scope", "/", true},
      {"/../" + kId, "/", true},
      {"/../../kubepods-pod" + kPodInSlice + ".slice/x", "/", true},
      {"/../x/docker/y", "/x", true},
  };
  for (const auto& [theirs, ours, is_contained] : cases)
    EXPECT_EQ(facts_of(std::vector<CgroupPath>{{"", theirs}}, {{"", ours}}).is_contained, guard::match_if(is_contained))
        << theirs << " from " << ours;
}

TEST(CgroupFacts, WithoutAPathNothingIsKnown) {
  EXPECT_EQ(facts_of(Text()), CgroupFacts());
  EXPECT_EQ(facts_of(Text::none()).is_contained, Match::kNo);
}

}  // namespace
}  // namespace tpmspace::peer
