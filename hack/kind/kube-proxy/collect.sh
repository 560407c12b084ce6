#!/bin/sh
# collect.sh TARGET: copies the packet filter tools, their extensions and every library these load to TARGET, at the
# same paths.
set -eu

target=$1
mkdir -p "$target/tmp" "$target/run" "$target/var/lib" "$target/etc"
tools='conntrack ipset iptables iptables-restore iptables-save ip6tables ip6tables-restore ip6tables-save kmod modprobe nft'
for tool in $tools; do
  echo "$(readlink -f "$(dirname "$(command -v "$tool")")")/$tool"
done >/tmp/wanted
find /usr/lib -path '*/xtables/*.so' >>/tmp/wanted
# Extensions load libraries that no tool does (libm): ask each file.
xargs ldd </tmp/wanted | grep -o '/[^ ]*' | grep -v ':$' | sort -u >/tmp/libraries
sort -u /tmp/wanted /tmp/libraries | while read -r file; do
  cp -L --parents "$file" "$target"
done
cp /etc/protocols /etc/services "$target/etc/" 2>/dev/null || true
chroot "$target" /usr/sbin/iptables -m statistic --help >/dev/null
