#!/usr/bin/env bash
# MariaDB 10.11 for the process runtime, out of bookworm's packages, in the layout of MariaDB's own systemd tarball:
#
#   $DBAAS_TEST_SITE/mariadb/folder     a link to mariadb-VERSION-linux-systemd-x86_64/{bin,lib,scripts,share}
#   $DBAAS_TEST_SITE/mariadb/tarball    a link to the same, packed; sha256sums.txt is beside it
#
# The folder runs from wherever it is copied to, for any user, with the C library of the machine (2.36 or newer).
# Nothing is made anew while what is there works.
set -euo pipefail
. "$(dirname "$0")/packages.sh"

target=$site/mariadb
key=$(key "$0" "$here/packages.sh")

works() { [ "$(cat "$target/key" 2>/dev/null)" = "$key" ] && "$target/folder/bin/mariadbd" --version >/dev/null 2>&1; }
report() { say "$("$target/folder/bin/mariadbd" --version)"; say "folder $(readlink -f "$target/folder")"; say "tarball $(readlink -f "$target/tarball")"; }
if works; then report; exit; fi

for program in patchelf dpkg-deb; do command -v "$program" >/dev/null || die "there is no $program"; done
work=$site/build/mariadb
rm -rf "$work"
mkdir -p "$work"
download bookworm mariadb-server-core mariadb-client-core libpam0g >"$work/debs"
# Of these only programs and plugins are wanted, not what Debian's service needs.
download_alone bookworm mariadb-server mariadb-client mariadb-backup >"$work/alone"
cat "$work/debs" "$work/alone" | unpack "$work/tree"
tree=$work/tree
libraries=$tree/usr/lib/x86_64-linux-gnu

version=$(dpkg-deb -f "$(grep /mariadb-server-core_ "$work/debs")" Version | sed 's/^[0-9]*://; s/-.*//')
name=mariadb-$version-linux-systemd-x86_64
folder=$work/$name
mkdir -p "$folder/bin" "$folder/lib/private" "$folder/lib/plugin" "$folder/share" "$folder/scripts"
for deb in $(grep -hE '/mariadb-(server|client|server-core|client-core|backup)_' "$work/debs" "$work/alone"); do
  dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's|^\./usr/\(s\?bin/.\)|\1|p'
done | while read -r program; do
  case $program in
    */mariadb-install-db | */mysql_install_db) cp -a "$tree/usr/$program" "$folder/scripts/" ;;
    *) cp -a "$tree/usr/$program" "$folder/bin/" ;;
  esac
done
cp -a "$tree/usr/lib/mysql/plugin/." "$folder/lib/plugin/"
cp -a "$tree/usr/share/mysql/." "$folder/share/"
# Debian's build looks for these one folder deeper.
mkdir "$folder/lib/mysql"
ln -s ../plugin "$folder/lib/mysql/plugin"
ln -s . "$folder/share/mysql"
sed -i 's#\(basedir\|dirname0\)/sbin/#\1/bin/#; s#$basedir/share/mysql#$basedir/share#' "$folder/scripts/mariadb-install-db"
cp "$tree/usr/share/doc/mariadb-server-core/copyright" "$folder/COPYING"

# What its programs and plugins load beside the C library goes into lib/private.
dpkg-deb --fsys-tarfile "$(grep '/libc6_' "$work/debs")" | tar -t | sed -n 's|.*/\([^/]*\.so[.0-9]*\)$|\1|p' | sort -u >"$work/libc"
elf=()
for file in "$folder"/bin/* "$folder"/lib/plugin/*; do if is_elf "$file"; then elf+=("$file"); fi; done
for file in "${elf[@]}"; do
  "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$libraries:$tree/lib/x86_64-linux-gnu" --list "$file" | awk '$3 ~ /^\// {print $3}'
done | sort -u | while read -r library; do
  grep -qx "$(basename "$library")" "$work/libc" || cp -L "$library" "$folder/lib/private/"
done
for file in "$folder"/lib/private/*; do patchelf --force-rpath --set-rpath "\$ORIGIN" "$file"; done
for file in "${elf[@]}"; do
  case $file in
    */lib/plugin/*) patchelf --force-rpath --set-rpath "\$ORIGIN/../private" "$file" ;;
    *) patchelf --force-rpath --set-rpath "\$ORIGIN/../lib/private" "$file" ;;
  esac
done
chmod -R a+rX "$folder"
mkdir "$work/target"
mv "$folder" "$work/target/"
tar -C "$work/target" --owner=0 --group=0 -c "$name" | gzip -1 >"$work/target/$name.tar.gz"
(cd "$work/target" && sha256sum "$name.tar.gz" >sha256sums.txt)
ln -s "$name" "$work/target/folder"
ln -s "$name.tar.gz" "$work/target/tarball"
echo "$key" >"$work/target/key"
rm -rf "$target"
mv "$work/target" "$target"
rm -rf "$work"
works || die "what was made does not run: $("$target/folder/bin/mariadbd" --version 2>&1)"
report
