#!/bin/sh
# Run a program as a container does, without one: container.sh ROOT DATA PROGRAM …
#
# Called by `unshare --mount --pid --fork` as root. ROOT is what an image holds; it cannot be written, but for /tmp and
# the DATA mounted at /var/lib/tollgate. The program is the first process, of user 10001, without any right.
set -eu
root=$1 data=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$data" "$root/var/lib/tollgate"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm"
chmod 1777 "$root/dev/shm"
for name in null zero random urandom; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
exec chroot "$root" /usr/bin/setpriv --no-new-privs --bounding-set=-all --inh-caps=-all \
    --reuid 10001 --regid 10001 --clear-groups "$@"
