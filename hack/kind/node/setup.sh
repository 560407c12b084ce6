#!/bin/sh
# setup.sh packages | configure | import TAR: the steps of the node image. Runs inside the image.
set -eu

# Services and tools that a node needs; the CNI plugins and runc are Debian's.
packages() {
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    systemd procps util-linux mount kmod e2fsprogs \
    conntrack ethtool iproute2 iptables nftables \
    runc containernetworking-plugins \
    bash ca-certificates curl jq pigz
  apt-get clean
  rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/*

  # In a container most of what systemd starts by default fails or harms the host; only our three units are wanted.
  for target in basic local-fs multi-user; do
    find "/lib/systemd/system/$target.target.wants" -mindepth 1 -delete 2>/dev/null || true
  done
  find /etc/systemd/system -path '*.wants/*' -delete
  find /lib/systemd/system/sockets.target.wants \( -name '*udev*' -o -name '*initctl*' \) -delete
  find /lib/systemd/system/sysinit.target.wants -name systemd-tmpfiles-setup.service -delete
  printf 'ReadKMsg=no\n' >>/etc/systemd/journald.conf
  systemctl enable kubelet.service containerd.service undo-mount-hacks.service
  systemctl mask systemd-binfmt.service

  ln -sf /usr/lib/systemd/systemd /sbin/init
  mkdir -p /opt/cni /etc/kubernetes/manifests /usr/local/sbin
  ln -sfn /usr/lib/cni /opt/cni/bin
  mv /kind/runc-wrapper.sh /usr/local/sbin/runc
}

configure() {
  printf '%s' "$KUBERNETES_VERSION" >/kind/version
  sed -i \
    -e "s#^\( *sandbox_image = \).*#\1\"$PAUSE_IMAGE\"#" \
    -e 's#^\( *restrict_oom_score_adj = \).*#\1true#' /etc/containerd/config.toml
  ctr oci spec |
    jq '.hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
      >/etc/containerd/cri-base.json
}

# The images stay packed: unpacking needs mounts, which a build may not make; the node does it when it starts.
import() {
  containerd >/tmp/containerd.log 2>&1 &
  daemon=$!
  tries=0
  until ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat /tmp/containerd.log; exit 1; }
    sleep 0.2
  done
  ctr --namespace k8s.io images import --local --all-platforms --no-unpack --digests \
    --label io.cri-containerd.pinned=pinned "$1"
  kill "$daemon"
  wait "$daemon" || true
  rm -f "$1"
}

"$@"
