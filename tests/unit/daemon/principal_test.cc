// What the guard's rules are about, from what the kernel said.
#include "daemon/principal.h"

#include <gtest/gtest.h>

namespace tpmspace::daemon {
namespace {

TEST(Principal, IsThePeerAndWhatItsCgroupSays) {
  const std::string id(64, 'a');
  PeerIdentity peer;
  peer.uid = 33;
  peer.gid = 34;
  peer.groups = {{4, 114}};
  peer.pid = 1234;
  peer.label = "a_t";
  peer.executable = "/usr/sbin/nginx";
  peer.cgroup =
      "/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/cri-containerd-" + id + ".scope";
  peer.user_namespace = 7;
  peer.mount_namespace = 8;
  guard::Principal wanted;
  wanted.uid = 33;
  wanted.gids = {{34, 4, 114}};
  wanted.pid = 1234;
  wanted.executable = "/usr/sbin/nginx";
  wanted.cgroup = peer.cgroup;
  wanted.unit = "cri-containerd-" + id + ".scope";
  wanted.container = id;
  wanted.pod = "2c48913c-b29f-11e7-9350-020968147796";
  wanted.user_namespace = 7;
  wanted.mount_namespace = 8;
  wanted.lsm_label = "a_t";
  EXPECT_EQ(principal_of(peer), wanted);
}

TEST(Principal, WhatIsNotKnownStaysSo) {
  PeerIdentity peer;
  peer.uid = 33;
  peer.gid = 34;
  guard::Principal wanted;
  wanted.uid = 33;
  wanted.gids = {{34}};
  EXPECT_EQ(principal_of(peer), wanted);
}

}  // namespace
}  // namespace tpmspace::daemon
