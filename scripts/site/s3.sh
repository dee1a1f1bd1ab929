#!/usr/bin/env bash
# Two S3 servers that check signatures, out of bookworm's packages, on loopback:
#
#   Ceph's object gateway on http://127.0.0.1:17480 and https://127.0.0.1:17443. Its conditional writes are atomic in a bucket
#     without versions, and are not conditional in one with versions. What it stores is in memory.
#   OpenStack Swift with s3api on http://127.0.0.1:17490. It has no conditional writes, and insists on its region.
#
#   s3.sh start     unpacks what is not there yet, starts both if they do not run, makes users
#   s3.sh stop      stops them by their pids and removes all that they wrote
#   s3.sh status    exits 0 if they run, 3 if not
#
# Addresses, users and the CA are in $DBAAS_TEST_SITE/s3/run/servers.json while they run. They run as nobody if root starts them.
set -euo pipefail
. "$(dirname "$0")/packages.sh"

home=$site/s3
run=$home/run
key=$(key "$0")
programs=(ceph-mon ceph-osd radosgw swift-account swift-container swift-object swift-proxy)

# A pid alone says nothing after a reboot: it must run with a configuration of ours.
pid() { local pid; pid=$(cat "$run/$1.pid" 2>/dev/null) && grep -qF "$run/" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"; }
running() { # [PROGRAM...]
  local name
  [ -e "$run/servers.json" ] && [ "$(cat "$run/key")" = "$key" ] || return 1
  [ "$#" -gt 0 ] || set -- "${programs[@]}"
  for name in "$@"; do pid "$name" >/dev/null || return 1; done
}
report() { say "Ceph $(cat "$home/ceph/version") on 127.0.0.1:17480 (TLS: 17443), Swift $(cat "$home/swift/version") on 127.0.0.1:17490"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# with TREE [root] : how its programs are run: unprivileged, with its libraries and the C library of the machine.
with() {
  local lib=$home/$1/usr/lib/x86_64-linux-gnu
  prefix=(env -i PATH=/usr/bin:/bin "LD_LIBRARY_PATH=$lib:$home/$1/lib/x86_64-linux-gnu:$lib/ceph" "CEPH_CONF=$run/ceph.conf"
    "PYTHONHOME=$home/swift/usr" "PYTHONPATH=$home/swift/usr/lib/python3/dist-packages" PYTHONDONTWRITEBYTECODE=1)
  [ "$(id -u)" != 0 ] || [ "${2:-}" = root ] || prefix=(setpriv --reuid=nobody --regid=nogroup --clear-groups -- "${prefix[@]}")
}
# serve NAME COMMAND... : in the background, in a session of its own.
serve() {
  local name=$1
  shift
  setsid nohup "${prefix[@]}" "$@" </dev/null >"$run/$name.out" 2>&1 8>&- &
  echo $! >"$run/$name.pid"
}
# await NAME PORT : until it listens.
await() {
  local i
  for i in $(seq 300); do
    if listens "$2"; then return; fi
    # by its pid alone: on a busy machine it takes a while to become what it shall be
    kill -0 "$(cat "$run/$1.pid")" 2>/dev/null || { tail -n 20 "$run/$1.out" >&2; die "$1 ended"; }
    sleep 0.1
  done
  tail -n 20 "$run/$1.out" >&2
  die "$1 runs and does not answer"
}

# tree NAME PACKAGE < PATHS : unpacked; PACKAGE says its version.
tree() {
  local new=$home/$1.new
  rm -rf "$new" "${home:?}/$1"
  mkdir -p "$new"
  sort -u >"$new/debs"
  grep -v '/libc6_' "$new/debs" | unpack "$new"
  rm -rf "$new/usr/share/doc" "$new/usr/share/locale" "$new/usr/share/man"
  dpkg-deb -f "$(grep "/$2_" "$new/debs")" Version | sed 's/[+-].*//' >"$new/version"
  trees_key >"$new/key"
  mv "$new" "$home/$1"
}
trees_key() { { declare -f tree unpack_both; cat "$here/packages.sh"; } | sha256sum | cut -c1-16; }
unpack_both() {
  local python=$home/swift/usr/bin/python3.11
  [ "$(cat "$home/ceph/key" 2>/dev/null)" = "$(trees_key)" ] || {
    # Of Ceph itself the programs alone are wanted, not what services of it need.
    download_alone bookworm radosgw ceph-mon ceph-osd ceph-base ceph-common
    download bookworm librgw2 librados2 libleveldb1d libfuse2 libpmem1 librdmacm1 libibverbs1 libfmt9 libsnappy1v5 libblkid1 libaio1 liboath0 \
      libboost-context1.74.0 libboost-program-options1.74.0 libboost-filesystem1.74.0 libgoogle-perftools4 libcurl3-gnutls liblua5.3-0 librabbitmq4
  } | tree ceph radosgw
  [ "$(cat "$home/swift/key" 2>/dev/null)" = "$(trees_key)" ] || {
    download bookworm swift-proxy swift-account swift-container swift-object | tree swift swift-proxy
    # Now, since who runs it cannot write there.
    with swift root
    "${prefix[@]}" "$python" -m compileall -q -j 2 "$home/swift/usr/lib" >/dev/null || true
  }
}

# A monitor, one object store in memory, and the gateway. No keys within the cluster: it is reachable from this machine alone.
ceph() {
  local bin=$home/ceph/usr/bin lib=$home/ceph/usr/lib/x86_64-linux-gnu fsid user
  fsid=$(cat /proc/sys/kernel/random/uuid)
  cat >"$run/ceph.conf" <<END
[global]
fsid = $fsid
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
monmap = $run/ceph/monmap
ms_bind_msgr2 = false
ms_bind_port_min = 17460
ms_bind_port_max = 17475
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
paxos_propose_interval = 0.05
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_max_object_name_len = 460
osd_class_dir = $lib/rados-classes
plugin_dir = $lib/ceph
erasure_code_dir = $lib/ceph/erasure-code
admin_socket =
run_dir = $run/ceph
crash_dir = $run/ceph
log_file = $run/ceph/\$name.log
mon_cluster_log_file = $run/ceph/cluster.log
keyring = $run/ceph/keyring
mon_data = $run/ceph/mon
osd_data = $run/ceph/osd
rgw_data = $run/ceph
rgw_dns_name = s3.localhost
rgw_enable_lc_threads = false
rgw_bucket_quota_ttl = 0
rgw_bucket_quota_soft_threshold = 0
rgw_frontends = beast endpoint=127.0.0.1:17480 tcp_nodelay=1 ssl_endpoint=127.0.0.1:17443 ssl_certificate=$run/ceph/tls.pem
END
  with ceph
  "${prefix[@]}" mkdir -p "$run/ceph/mon" "$run/ceph/osd"
  "${prefix[@]}" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=test of dbaas' -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$run/ceph/key.pem" -out "$run/ceph/ca.pem" 2>/dev/null
  "${prefix[@]}" sh -c "cat '$run/ceph/key.pem' '$run/ceph/ca.pem' >'$run/ceph/tls.pem'"
  {
    "${prefix[@]}" "$bin/ceph-authtool" --create-keyring "$run/ceph/keyring" --gen-key -n mon. --cap mon 'allow *'
    "${prefix[@]}" "$bin/monmaptool" --create --fsid "$fsid" --addv a '[v1:127.0.0.1:17478]' "$run/ceph/monmap"
    "${prefix[@]}" "$bin/osdmaptool" --createsimple 1 "$run/ceph/osdmap"
    "${prefix[@]}" "$bin/ceph-mon" --mkfs -i a --monmap "$run/ceph/monmap" --keyring "$run/ceph/keyring" --osdmap "$run/ceph/osdmap"
  } >"$run/ceph.out" 2>&1 || { cat "$run/ceph.out" >&2; die 'the cluster could not be made'; }
  serve ceph-mon "$bin/ceph-mon" -f -i a -c "$run/ceph.conf"
  await ceph-mon 17478
  "${prefix[@]}" "$bin/ceph-osd" --no-mon-config --mkfs -i 0 --osd-uuid "$(cat /proc/sys/kernel/random/uuid)" >>"$run/ceph.out" 2>&1
  # It may ask the monitor for its place before it has learned the cluster's id ("wrong fsid"); then it ends, and is started anew.
  for _ in $(seq 20); do
    serve ceph-osd "$bin/ceph-osd" -f -i 0 -c "$run/ceph.conf"
    for _ in $(seq 300); do
      if grep -q 'done with init' "$run/ceph/osd.0.log" 2>/dev/null; then break 2; fi
      pid ceph-osd >/dev/null || [ ! -s "$run/ceph-osd.out" ] || break
      sleep 0.1
    done
  done
  pid ceph-osd >/dev/null || { tail -n 20 "$run/ceph-osd.out" >&2; die 'ceph-osd ended'; }
  for user in owner guest small; do
    "${prefix[@]}" timeout 120 "$bin/radosgw-admin" user create --uid=$user --display-name=$user --access-key="$user-$(secret)" --secret-key="$(secret)" >"$run/$user.json" 2>>"$run/ceph.out" ||
      { tail -n 20 "$run/ceph.out" >&2; die 'users could not be made'; }
  done
  "${prefix[@]}" "$bin/radosgw-admin" quota set --quota-scope=user --uid=small --max-size=1M >>"$run/ceph.out" 2>&1
  "${prefix[@]}" "$bin/radosgw-admin" quota enable --quota-scope=user --uid=small >>"$run/ceph.out" 2>&1
  serve radosgw "$bin/radosgw" -f -n client.rgw.a -c "$run/ceph.conf"
  await radosgw 17480
}

swift_ports=(account:17492 container:17493 object:17494 proxy:17490)
serve_swift() { serve "swift-$1" "$home/swift/usr/bin/python3.11" "$run/swift/serve.py" "$run/swift" "$run/swift/$1.conf" "$1-server"; }
# What has ended by itself is served again, and said: others may be at work with the rest.
revive() {
  local each name port
  with swift
  for each in "${swift_ports[@]}"; do
    name=${each%:*} port=${each#*:}
    if listens "$port"; then continue; fi
    say "swift-$name had ended, and is started again. Its last words: $(tail -n 3 "$run/swift-$name.out")"
    serve_swift "$name"
    await "swift-$name" "$port"
  done
}

swift() {
  local bin=$home/swift/usr/bin name port pipeline patience=
  with swift
  "${prefix[@]}" mkdir -p "$run/swift/devices/d0"
  printf '[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n[storage-policy:0]\nname = gold\ndefault = yes\n' >"$run/swift/swift.conf"
  printf 'import sys\nfrom swift.common import utils\nutils.set_swift_dir(sys.argv[1])\nfrom swift.common.wsgi import run_wsgi\nsys.exit(run_wsgi(sys.argv[2], sys.argv[3], verbose=True))\n' >"$run/swift/serve.py"
  "${prefix[@]}" "$bin/python3.11" -c '
import sys
from swift.common.ring import RingBuilder
for name, port in (("account", 17492), ("container", 17493), ("object", 17494)):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port, "device": "d0", "weight": 1})
    builder.rebalance()
    builder.get_ring().save("%s/%s.ring.gz" % (sys.argv[1], name))
' "$run/swift" >"$run/swift.out" 2>&1 || { cat "$run/swift.out" >&2; die 'the rings could not be made'; }
  for name in "${swift_ports[@]}"; do
    port=${name#*:} name=${name%:*} pipeline=$name-server
    # Its patience is for a cluster: here one machine is busy, and there is nobody else to ask.
    [ "$name" != proxy ] || patience='conn_timeout = 30
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 1000000'
    [ "$name" != proxy ] || pipeline='catch_errors cache s3api tempauth copy versioned_writes symlink slo dlo proxy-server'
    cat >"$run/swift/$name.conf" <<END
[DEFAULT]
swift_dir = $run/swift
devices = $run/swift/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = $port
workers = 0
user = $("${prefix[@]}" id -un)
log_address = $run/swift/log
log_level = ERROR
disable_fallocate = true
fallocate_reserve = 0
[pipeline:main]
pipeline = $pipeline
[app:$name-server]
use = egg:swift#$name
account_autocreate = true
$patience
[filter:catch_errors]
use = egg:swift#catch_errors
# It must be there, and nothing need answer.
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_owner = $swift_secret .admin
[filter:copy]
use = egg:swift#copy
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
END
    serve_swift "$name"
  done
  for name in "${swift_ports[@]}"; do await "swift-${name%:*}" "${name#*:}"; done
}

start() {
  local made
  mkdir -p "$home"
  exec 8>"$home/lock"
  flock 8
  if running ceph-mon ceph-osd radosgw; then revive; report; return; fi
  stop_all
  unpack_both
  for port in 17478 17480 17443 17490 17492 17493 17494; do if listens "$port"; then die "something else listens on 127.0.0.1:$port"; fi; done
  mkdir -p "$run/swift"
  chmod 755 "$run"
  [ "$(id -u)" != 0 ] || chown nobody:nogroup "$run" "$run/swift"
  swift_secret=$(secret)
  ( swift ) &
  made=$!
  ( ceph ) || { wait "$made" || true; stop_all; exit 1; }
  wait "$made" || { stop_all; exit 1; }
  chmod 600 "$run"/swift/*.conf
  [ "$(id -u)" != 0 ] || chown nobody "$run"/swift/*.conf
  echo "$key" >"$run/key"
  ( umask 077; swift_secret=$swift_secret node -e '
    const {readFileSync} = require("node:fs"), run = process.argv[1]
    const users = Object.fromEntries(["owner", "guest", "small"].map((user) => {
      const {keys: [{access_key, secret_key}]} = JSON.parse(readFileSync(`${run}/${user}.json`, "utf8"))
      return [user, {accessKeyId: access_key, secretAccessKey: secret_key}]
    }))
    console.log(JSON.stringify({
      ceph: {endpoint: "http://127.0.0.1:17480", tls: "https://127.0.0.1:17443", ca: readFileSync(`${run}/ceph/ca.pem`, "utf8"), domain: "s3.localhost", users},
      swift: {endpoint: "http://127.0.0.1:17490", users: {owner: {accessKeyId: "test:owner", secretAccessKey: process.env.swift_secret}}},
    }))' "$run" >"$run/servers.json.new" )
  rm -f "$run"/{owner,guest,small}.json
  mv "$run/servers.json.new" "$run/servers.json"
  report
}

stop_all() {
  local name pid pids=()
  for name in "${programs[@]}"; do if pid=$(pid "$name"); then pids+=("$pid"); kill -TERM "$pid"; fi; done
  for _ in $(seq 100); do
    local alive=()
    for pid in "${pids[@]}"; do if [ -d "/proc/$pid" ]; then alive+=("$pid"); fi; done
    pids=("${alive[@]}")
    [ "${#pids[@]}" -gt 0 ] || break
    sleep 0.1
  done
  # What they have is to be thrown away: no reason to wait longer.
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
stop() {
  [ -e "$run" ] || { say 'not running, or not started by this script'; return; }
  stop_all
  say 'stopped'
}
status() { if running; then report; else say 'not running'; return 3; fi; }

case "${1:-}" in
  start | stop | status) "$1" ;;
  *) die 'usage: s3.sh start|stop|status' ;;
esac
