#!/bin/sh
# collect.sh TARGET: copies the packet filter tools and every library they load to TARGET, at the same paths.
set -eu

target=$1
mkdir -p "$target/tmp" "$target/run" "$target/var/lib"
tools='conntrack ipset iptables iptables-restore iptables-save ip6tables ip6tables-restore ip6tables-save kmod modprobe nft'
for tool in $tools; do
  path=$(readlink -f "$(dirname "$(command -v "$tool")")")/$tool
  cp -L --parents "$path" "$target"
  ldd "$path" | grep -o '/[^ ]*' >>/tmp/libraries
done
find / -xdev -path '*/xtables/*.so' -not -path "$target/*" >/tmp/extensions
sort -u /tmp/libraries /tmp/extensions | while read -r library; do
  cp -L --parents "$library" "$target"
done
cp /etc/protocols /etc/services "$target/etc/" 2>/dev/null || true
