#!/usr/bin/env bash
# A Docker engine for the tests, on a machine without a service manager.
#
#   docker-engine.sh start     if no engine answers on /var/run/docker.sock: starts one in the background and waits for it
#   docker-engine.sh stop      stops the engine that `start` started, by its pid; any other engine is left alone
#   docker-engine.sh status    exits 0 if an engine answers, 3 if none does
#
# The engine has a data root of its own, so that nothing of it mixes with an engine that the machine may get later.
set -euo pipefail
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH

socket=/var/run/docker.sock
home=${DBAAS_TEST_SITE:-/opt/dbaas-test}/docker
pidfile=$home/dockerd.pid
log=$home/dockerd.log
export PATH=$PATH:/usr/sbin:/sbin

say() { printf 'docker-engine: %s\n' "$*"; }
die() { printf 'docker-engine: %s\n' "$*" >&2; exit 1; }
answers() { timeout 20 docker -H "unix://$socket" info --format '{{.ServerVersion}}' 2>/dev/null; }
# A pid alone says nothing after a reboot: another process may have it by now.
is() { [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]; }
ours() { local pid; pid=$(cat "$pidfile" 2>/dev/null || true); is "$pid" dockerd && echo "$pid"; }

start() {
  local version pid
  if version=$(answers); then say "running: engine $version"; return; fi
  command -v dockerd >/dev/null || die 'there is no dockerd: apt-get install docker.io iptables'
  [ "$(id -u)" = 0 ] || die 'only root can start an engine'
  mkdir -p "$home"
  if ! pid=$(ours); then
    # Left by an engine that was killed: both would keep a new one from starting.
    rm -f "$pidfile"
    is "$(cat /var/run/docker/containerd/containerd.pid 2>/dev/null || true)" containerd || rm -f /var/run/docker/containerd/containerd.pid
    # Many small networks: the default pools end at 31.
    setsid nohup dockerd --host "unix://$socket" --data-root "$home/data" --pidfile "$pidfile" --shutdown-timeout 10 \
      --default-address-pool base=172.16.0.0/12,size=24 </dev/null >"$log" 2>&1 &
    pid=$!
  fi
  for _ in $(seq 300); do
    if version=$(answers); then say "started: engine $version, pid $(ours || echo "$pid"), data in $home/data, log in $log"; return; fi
    kill -0 "$pid" 2>/dev/null || { tail -20 "$log" >&2; die 'dockerd ended'; }
    sleep 0.2
  done
  tail -20 "$log" >&2
  die 'dockerd runs and does not answer'
}

stop() {
  local pid
  pid=$(ours) || { say 'not running, or not started by this script'; return; }
  kill -TERM "$pid"
  for _ in $(seq 300); do
    if ! is "$pid" dockerd; then rm -f "$pidfile"; say 'stopped'; return; fi
    sleep 0.2
  done
  die "pid $pid did not end within a minute; its log is $log"
}

status() {
  local version
  if version=$(answers); then say "running: engine $version$(ours >/dev/null && echo " (started by this script, pid $(ours))")"; return; fi
  say 'not running'
  return 3
}

case "${1:-}" in
  start | stop | status) "$1" ;;
  *) die 'usage: docker-engine.sh start|stop|status' ;;
esac
