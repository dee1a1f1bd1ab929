#!/usr/bin/env bash
# MySQL 9.7 for the process runtime, out of Debian sid's packages, in the layout of MySQL's own generic Linux tarball:
#
#   $DBAAS_TEST_SITE/mysql/folder     a link to mysql-VERSION-linux-glibc2.28-x86_64/{bin,lib,share}
#   $DBAAS_TEST_SITE/mysql/tarball    a link to the same, packed; sha256sums.txt is beside it
#   $DBAAS_TEST_SITE/glibc            sid's C library and loader, which its programs name as their interpreter
#
# The folder runs from wherever it is copied to, for any user. Nothing is made anew while what is there works.
set -euo pipefail
. "$(dirname "$0")/packages.sh"

target=$site/mysql
glibc=$site/glibc
key=$(key "$0" "$here/packages.sh")

works() { [ "$(cat "$target/key" 2>/dev/null)" = "$key" ] && "$target/folder/bin/mysqld" --version >/dev/null 2>&1; }
report() { say "$("$target/folder/bin/mysqld" --version)"; say "folder $(readlink -f "$target/folder")"; say "tarball $(readlink -f "$target/tarball")"; }
if works; then report; exit; fi

for program in patchelf dpkg-deb xz; do command -v "$program" >/dev/null || die "there is no $program"; done
work=$site/build/mysql
rm -rf "$work"
mkdir -p "$work"
download sid mysql-server-core mysql-client-core >"$work/debs"
unpack "$work/tree" <"$work/debs"
tree=$work/tree
libraries=$tree/usr/lib/x86_64-linux-gnu

version=$(dpkg-deb -f "$(grep /mysql-server-core_ "$work/debs")" Version | sed 's/-.*//')
[[ $version == 9.7.* ]] || die "sid has MySQL $version by now: this is made for 9.7"
name=mysql-$version-linux-glibc2.28-x86_64
folder=$work/$name
mkdir -p "$folder/bin" "$folder/lib/private" "$folder/lib/plugin" "$folder/share"
for deb in $(grep -E '/mysql-(server|client)-core_' "$work/debs"); do
  dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's|^\./usr/s\?bin/\(.\)|\1|p'
done | while read -r program; do
  if [ -e "$tree/usr/sbin/$program" ]; then cp "$tree/usr/sbin/$program" "$folder/bin/"; else cp "$tree/usr/bin/$program" "$folder/bin/"; fi
done
cp -a "$tree/usr/lib/mysql/plugin/." "$folder/lib/plugin/"
cp -a "$tree/usr/share/mysql/." "$folder/share/"
# Debian's build looks for these one folder deeper.
mkdir "$folder/lib/mysql"
ln -s ../plugin "$folder/lib/mysql/plugin"
ln -s . "$folder/share/mysql"
cp "$tree/usr/share/doc/mysql-server-core/copyright" "$folder/LICENSE"

# What its programs and plugins load, of the same suite: the C library into its fixed place, all else into lib/private.
elf=()
for file in "$folder"/bin/* "$folder"/lib/plugin/*; do if is_elf "$file"; then elf+=("$file"); fi; done
dpkg-deb --fsys-tarfile "$(grep '/libc6_' "$work/debs")" | tar -t | sed -n 's|.*/\([^/]*\.so[.0-9]*\)$|\1|p' | sort -u >"$work/libc"
for file in "${elf[@]}"; do
  "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --list "$file" | awk '$3 ~ /^\// {print $3}'
done | sort -u | while read -r library; do
  grep -qx "$(basename "$library")" "$work/libc" || cp -L "$library" "$folder/lib/private/"
done
rm -rf "$glibc.new" && mkdir "$glibc.new"
while read -r library; do [ ! -e "$libraries/$library" ] || cp -L "$libraries/$library" "$glibc.new/"; done <"$work/libc"

for file in "$folder"/lib/private/*; do patchelf --force-rpath --set-rpath "\$ORIGIN:$glibc" "$file"; done
for file in "${elf[@]}"; do
  case $file in
    */lib/plugin/*) patchelf --force-rpath --set-rpath "\$ORIGIN/../private:$glibc" "$file" ;;
    *) patchelf --set-interpreter "$glibc/ld-linux-x86-64.so.2" --force-rpath --set-rpath "\$ORIGIN/../lib/private:$glibc" "$file" ;;
  esac
done
# The tarball's default of secure_file_priv is NULL; Debian's is a folder that its server package makes.
LC_ALL=C sed -i 's|/var/lib/mysql-files\x00|NULL\x00               \x00|' "$folder/bin/mysqld"
chmod -R a+rX "$folder" "$glibc.new"
mkdir "$work/target"
mv "$folder" "$work/target/"
XZ_OPT='-1 -T2' tar -C "$work/target" --owner=0 --group=0 -cJf "$work/target/$name.tar.xz" "$name"
(cd "$work/target" && sha256sum "$name.tar.xz" >sha256sums.txt)
ln -s "$name" "$work/target/folder"
ln -s "$name.tar.xz" "$work/target/tarball"
echo "$key" >"$work/target/key"
rm -rf "$glibc" "$target"
mv "$glibc.new" "$glibc"
mv "$work/target" "$target"
rm -rf "$work"
works || die "what was made does not run: $("$target/folder/bin/mysqld" --version 2>&1)"
report
