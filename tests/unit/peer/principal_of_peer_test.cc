// The guard's principal, from the kernel's facts.
#include "peer/principal_of_peer.h"

#include <gtest/gtest.h>

namespace tpmspace::peer {
namespace {

TEST(Principal, IsThePeerWithTheFactsOfItsCgroup) {
  const std::string id(64, 'a');
  PeerIdentity peer;
  peer.uid = 33;
  peer.gid = 34;
  peer.groups = {{4, 114}};
  peer.pid = 1234;
  peer.label = std::string("a_t");
  const std::string path =
      "/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/cri-containerd-" + id + ".scope";
  peer.cgroups = facts_of(guard::Known<std::string>(path));
  peer.program = {.executable = std::string("/usr/sbin/nginx"),
                  .user_namespace = std::uint64_t{7},
                  .mount_namespace = std::uint64_t{8}};
  peer.sight = Sight::kRead;
  peer.is_in_our_user_namespace = guard::Match::kYes;
  guard::Principal wanted;
  wanted.uid = 33;
  wanted.gids = {34, 4, 114};
  wanted.all_gids = true;
  wanted.pid = 1234;
  wanted.executable = std::string("/usr/sbin/nginx");
  wanted.cgroup = path;
  wanted.unit = "cri-containerd-" + id + ".scope";
  wanted.container = id;
  wanted.pod = std::string("2c48913c-b29f-11e7-9350-020968147796");
  wanted.user_namespace = std::uint64_t{7};
  wanted.mount_namespace = std::uint64_t{8};
  wanted.lsm_label = std::string("a_t");
  wanted.is_native = guard::Match::kNo;
  EXPECT_EQ(principal_of(peer), wanted);
}

TEST(Principal, UnknownFactsStayUnknown) {
  PeerIdentity peer;
  peer.uid = 33;
  peer.gid = 34;
  guard::Principal wanted;
  wanted.uid = 33;
  wanted.gids = {34};
  EXPECT_EQ(principal_of(peer), wanted);
}

TEST(Principal, IsNativeIfBothItsCgroupAndItsUserNamespaceAre) {
  using guard::Match;
  for (const Match in_ours : {Match::kNo, Match::kMaybe, Match::kYes})
    for (const Match contained : {Match::kNo, Match::kMaybe, Match::kYes}) {
      PeerIdentity peer;
      peer.sight = Sight::kRead;
      peer.is_in_our_user_namespace = in_ours;
      peer.cgroups.is_contained = contained;
      const Match outside = contained == Match::kMaybe ? contained : guard::match_if(contained == Match::kNo);
      EXPECT_EQ(principal_of(peer).is_native, in_ours & outside);
    }
}

TEST(Principal, IsUnidentifiedIfItCouldHaveBeenReadAndWasNot) {
  using guard::Match;
  const struct {
    Sight sight;
    bool is_nobody, is_unidentified;
    Match is_native;
  } cases[] = {
      {Sight::kRead, false, false, Match::kMaybe}, {Sight::kRead, true, true, Match::kMaybe},
      {Sight::kGone, false, true, Match::kMaybe},  {Sight::kForeign, false, false, Match::kMaybe},
      {Sight::kHidden, false, false, Match::kYes},
  };
  for (const auto& [sight, is_nobody, is_unidentified, is_native] : cases) {
    PeerIdentity peer;
    peer.sight = sight;
    peer.is_nobody = is_nobody;
    EXPECT_EQ(principal_of(peer).is_unidentified, is_unidentified);
    EXPECT_EQ(principal_of(peer).is_native, is_native);
  }
}

}  // namespace
}  // namespace tpmspace::peer
