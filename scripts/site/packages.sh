# Sourced by the other scripts here: Debian packages of any suite, downloaded and unpacked without touching what the
# machine itself has installed. Each suite has sources, lists and an archive folder of its own; the host's apt
# configuration (its mirror, proxy, credentials) is taken over as it is, so no host name is written anywhere.

site=${DBAAS_TEST_SITE:-/opt/dbaas-test}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
die() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }

# The key of everything that was made: what it was made from.
key() { cat "$@" | sha256sum | cut -c1-16; }

# mirror main|security : the URI of the machine's own mirror.
mirror() {
  apt-get indextargets --format '$(RELEASE)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' | awk -F'|' -v what="$1" '
    $2 == "main" && (what == "security") == ($1 ~ /-security$/) && $1 !~ /-(updates|backports)$/ && ($3 ~ /debian/) {print $3; exit}'
}

# suite_apt SUITE PROGRAM ARGUMENTS... : apt-get or apt-cache of a suite's own.
suite_apt() {
  local suite=$1 program=$2 root=$site/apt/$1
  shift 2
  "$program" -o Dir::State="$root/state" -o Dir::State::status="$root/status" -o Dir::Cache="$root/cache" \
    -o Dir::Cache::archives="$root/archives" -o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root -o APT::Architecture=amd64 \
    -o APT::Install-Recommends=false -o Debug::NoLocking=true -o Acquire::Retries=3 -o APT::Update::Post-Invoke::= \
    -q=2 "$@"
}

# update_suite SUITE : its sources and its lists, anew.
update_suite() {
  local suite=$1 root=$site/apt/$1 uri security keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  uri=$(mirror main)
  # Without lists of its own, apt does not tell its sources.
  [ -n "$uri" ] || { apt-get update -q=2 >&2; uri=$(mirror main); }
  [ -n "$uri" ] || die 'the machine has no Debian mirror configured'
  [ -e "$keyring" ] || die 'there is no keyring of Debian: apt-get install debian-archive-keyring'
  mkdir -p "$root/state/lists/partial" "$root/cache" "$root/archives/partial" "$root/none/partial"
  : >"$root/status"
  echo "deb [signed-by=$keyring] $uri $suite main" >"$root/sources.list"
  if [ "$suite" != sid ]; then
    security=$(mirror security)
    [ -z "$security" ] || echo "deb [signed-by=$keyring] $security $suite-security main" >>"$root/sources.list"
  fi
  suite_apt "$suite" apt-get update >&2
  touch "$root/updated"
}

# locked SUITE COMMAND... : one at a time, with lists of today.
locked() {
  local suite=$1 root=$site/apt/$1
  shift
  mkdir -p "$root"
  (
    flock 9
    [ -n "$(find "$root/updated" -mmin -600 2>/dev/null)" ] || update_suite "$suite"
    # Lists may name what the mirror has replaced since.
    "$@" || { update_suite "$suite"; "$@"; }
  ) 9>"$root/lock"
}

# download SUITE PACKAGES... : the packages and all they depend on, as files; their paths are the output.
download() {
  local suite=$1 root=$site/apt/$1
  shift
  locked "$suite" suite_apt "$suite" apt-get install --download-only --yes "$@" >&2
  # Asked with an empty archive folder, apt names them all.
  suite_apt "$suite" apt-get install --print-uris --yes -o Dir::Cache::archives="$root/none" "$@" |
    awk -v root="$root" '/^\x27/ {print root "/archives/" $2}'
}

# download_alone SUITE PACKAGES... : the same, without what they depend on.
download_alone() {
  local suite=$1 root=$site/apt/$1
  shift
  locked "$suite" eval "cd '$root/archives' && suite_apt $suite apt-get download $*" >&2
  suite_apt "$suite" apt-get download --print-uris "$@" | awk -v root="$root" '/^\x27/ {print root "/archives/" $2}'
}

# unpack FOLDER < PATHS : their files, in a tree. Links that the tree has in place of folders (/bin, /lib) are kept.
unpack() {
  mkdir -p "$1"
  xargs -P 2 -I DEB sh -c 'dpkg-deb --fsys-tarfile "$1" | tar -C "$2" -x --keep-directory-symlink' - DEB "$1"
}

is_elf() { [ -f "$1" ] && [ ! -L "$1" ] && [ "$(head -c4 "$1" | tail -c3)" = ELF ]; }
