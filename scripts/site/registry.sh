#!/usr/bin/env bash
# A registry of this machine (Docker Distribution, out of Debian's package) with the images of the tests, so that
# `docker pull 127.0.0.1:5000/postgres:18` is a real pull: layers, progress, digests. The engine has the layers of mysql and
# mariadb already; those of postgres are laid out anew for the registry, so that a pull has something to download.
#
#   registry.sh start     starts it on 127.0.0.1:5000 if it does not run, and pushes what images.sh made
#   registry.sh stop      stops it by its pid
#   registry.sh status    exits 0 if it runs, 3 if not
set -euo pipefail
. "$(dirname "$0")/packages.sh"
unset DOCKER_HOST DOCKER_CONTEXT
docker() { command docker -H unix:///var/run/docker.sock "$@"; }

address=127.0.0.1:5000
home=$site/registry
pidfile=$home/pid
images=(postgres:18 mysql:9.7 mariadb:10.11)

pid() { local pid; pid=$(cat "$pidfile" 2>/dev/null || true); [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = docker-registry ] && echo "$pid"; }
answers() { (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; }
key_of() { docker image inspect --format '{{index .Config.Labels "test-site.key"}}' "$1" 2>/dev/null; }

# fresh IMAGE TAG : the same files and configuration in layers that no engine has.
fresh() {
  local container folder=$home/fresh status=0
  rm -rf "$folder"
  mkdir -p "$folder/tree"
  container=$(docker create "$1")
  docker export "$container" | tar -C "$folder/tree" -x --numeric-owner
  docker rm --volumes "$container" >/dev/null
  tar -C "$folder/tree" --numeric-owner -cf "$folder/system.tar" --exclude=./usr/lib/postgresql .
  tar -C "$folder/tree" --numeric-owner -cf "$folder/server.tar" ./usr/lib/postgresql
  rm -rf "$folder/tree"
  docker image inspect "$1" | node -e '
    const {Config} = JSON.parse(require("node:fs").readFileSync(0, "utf8"))[0]
    const lines = ["FROM scratch", "ADD system.tar /", "ADD server.tar /"]
    for (const pair of Config.Env) lines.push("ENV " + pair.replace("=", "=\"") + "\"")
    for (const volume of Object.keys(Config.Volumes ?? {})) lines.push("VOLUME " + JSON.stringify([volume]))
    for (const port of Object.keys(Config.ExposedPorts ?? {})) lines.push("EXPOSE " + port)
    if (Config.StopSignal) lines.push("STOPSIGNAL " + Config.StopSignal)
    lines.push("ENTRYPOINT " + JSON.stringify(Config.Entrypoint), "CMD " + JSON.stringify(Config.Cmd))
    console.log(lines.join("\n"))' >"$folder/Dockerfile"
  DOCKER_BUILDKIT=0 docker build --quiet --force-rm --tag "$2" "$folder" >"$folder/log" 2>&1 || { status=$?; cat "$folder/log" >&2; }
  rm -rf "$folder"
  return "$status"
}

# push IMAGE : the tag is for the push only, since with it a pull would find everything in place.
push() {
  local tag=$address/$1 status=0
  case $1 in postgres:*) fresh "$1" "$tag" ;; *) docker tag "$1" "$tag" ;; esac || return
  docker push --quiet "$tag" >/dev/null || status=$?
  docker rmi "$tag" >/dev/null
  return "$status"
}

start() {
  local key image failed=0 pushes=()
  mkdir -p "$home"
  if [ ! -x "$home/usr/bin/docker-registry" ]; then download_alone bookworm docker-registry | unpack "$home"; fi
  key=$(for image in "${images[@]}"; do key_of "$image" || die "there is no image $image: scripts/site/images.sh"; done | sort -u)
  if ! pid >/dev/null; then
    if answers; then die "something else listens on $address"; fi
    # Of images that are no more, nothing is kept.
    [ "$(cat "$home/key" 2>/dev/null)" = "$key" ] || rm -rf "$home/data" "$home/key"
    printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: "%s"}\n' "$home/data" "$address" >"$home/config.yml"
    OTEL_TRACES_EXPORTER=none setsid nohup "$home/usr/bin/docker-registry" serve "$home/config.yml" </dev/null >"$home/log" 2>&1 &
    echo $! >"$pidfile"
    # by its pid alone: on a busy machine it takes a while to become what it shall be
    for _ in $(seq 300); do answers && break; kill -0 $! 2>/dev/null || { cat "$home/log" >&2; die 'the registry ended'; }; sleep 0.1; done
    answers || die 'the registry runs and does not answer'
  fi
  if [ "$(cat "$home/key" 2>/dev/null)" != "$key" ]; then
    for image in "${images[@]}"; do
      push "$image" &
      pushes+=($!)
    done
    for push in "${pushes[@]}"; do wait "$push" || failed=1; done
    [ "$failed" = 0 ] || die 'an image could not be pushed'
    echo "$key" >"$home/key"
  fi
  say "running on $address, pid $(pid), with ${images[*]}"
}

stop() {
  local pid
  pid=$(pid) || { say 'not running, or not started by this script'; return; }
  kill -TERM "$pid"
  for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
  [ ! -d "/proc/$pid" ] || die "pid $pid did not end"
  rm -f "$pidfile"
  say 'stopped'
}

status() { if pid >/dev/null; then say "running on $address, pid $(pid)"; else say 'not running'; return 3; fi; }

case "${1:-}" in
  start | stop | status) "$1" ;;
  *) die 'usage: registry.sh start|stop|status' ;;
esac
