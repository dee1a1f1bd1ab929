#!/usr/bin/env bash
# Behaves as the entry point of the official mariadb image does: the same variables, steps, messages and signals.
set -eo pipefail
. /usr/local/lib/entrypoint-common.sh

config() { "${@:2}" --verbose --help 2>/dev/null | awk -v name="$1" '$1 == name && /^[^ \t]/ {sub(/^[^ \t]+[ \t]+/, ""); print; exit}'; }

client() { mariadb --defaults-extra-file=<([ -z "$known_password" ] || printf '[client]\npassword="%s"\n' "$known_password") --protocol=socket -uroot -hlocalhost --socket="$socket" "$@"; }
docker_process_sql() { if [ -n "$MARIADB_DATABASE" ]; then client --database="$MARIADB_DATABASE" "$@"; else client "$@"; fi; }

# Either family of names, MARIADB_ or MYSQL_, sets both.
either() {
  file_env "MYSQL_$1" "${2:-}"
  local mysql=MYSQL_$1 mariadb=MARIADB_$1
  file_env "$mariadb" "${!mysql}"
  export "$mysql=${!mariadb}"
}

quoted() { local text=${1//\\/\\\\}; echo "${text//\'/\\\'}"; }

[ "${1:0:1}" != - ] || set -- mariadbd "$@"

if wants 'mariadbd|mysqld' "$@"; then
  note "Entrypoint script for MariaDB Server $MARIADB_VERSION started."
  if ! errors=$("$@" --verbose --help 2>&1 >/dev/null); then
    fail "mariadbd failed while attempting to check config
	command was: $*
	$errors"
  fi
  datadir=$(config datadir "$@")
  socket=$(config socket "$@")
  either ROOT_HOST %
  either DATABASE
  either USER
  either PASSWORD
  either ROOT_PASSWORD
  : "${MARIADB_RANDOM_ROOT_PASSWORD:=$MYSQL_RANDOM_ROOT_PASSWORD}"
  : "${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:=$MYSQL_ALLOW_EMPTY_PASSWORD}"
  mkdir -p "$datadir" "$(dirname "$socket")"
  if [ "$(id -u)" = 0 ]; then
    give "$datadir" "$(dirname "$socket")" mysql
    note "Switching to dedicated user 'mysql'"
    exec gosu mysql "$BASH_SOURCE" "$@"
  fi

  if [ ! -d "$datadir/mysql" ]; then
    if [ -z "$MARIADB_ROOT_PASSWORD" ] && [ -z "$MARIADB_ALLOW_EMPTY_ROOT_PASSWORD" ] && [ -z "$MARIADB_RANDOM_ROOT_PASSWORD" ]; then
      fail 'Database is uninitialized and password option is not specified
	You need to specify one of MARIADB_ROOT_PASSWORD, MARIADB_ROOT_PASSWORD_HASH, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD'
    fi
    ls /docker-entrypoint-initdb.d/ >/dev/null
    note 'Initializing database files'
    mariadb-install-db --datadir="$datadir" --rpm --auth-root-authentication-method=normal --skip-test-db \
      --old-mode='UTF8_IS_UTF8MB3' --default-time-zone=SYSTEM --enforce-storage-engine= --skip-log-bin --expire-logs-days=0 \
      --loose-innodb_buffer_pool_load_at_startup=0 --loose-innodb_buffer_pool_dump_at_shutdown=0 "${@:2}"
    note 'Database files initialized'
    note 'Starting temporary server'
    "$@" --skip-networking --default-time-zone=SYSTEM --socket="$socket" --wsrep_on=OFF --expire-logs-days=0 --skip-slave-start \
      --loose-innodb_buffer_pool_load_at_startup=0 &
    server=$!
    known_password=
    note 'Waiting for server startup'
    for attempt in {300..0}; do
      if client --database=mysql <<<'SELECT 1' >/dev/null 2>&1; then break; fi
      sleep 0.1
    done
    [ "$attempt" != 0 ] || fail 'Unable to start server.'
    note 'Temporary server started.'

    if [ -z "$MARIADB_INITDB_SKIP_TZINFO" ]; then
      mariadb-tzinfo-to-sql --skip-write-binlog /usr/share/zoneinfo 2>/dev/null | client --database=mysql
    fi
    if [ -n "$MARIADB_RANDOM_ROOT_PASSWORD" ]; then
      MARIADB_ROOT_PASSWORD=$(head -c 24 /dev/urandom | base64)
      export MARIADB_ROOT_PASSWORD
      note "GENERATED ROOT PASSWORD: $MARIADB_ROOT_PASSWORD"
    fi
    password=$(quoted "$MARIADB_ROOT_PASSWORD")
    everywhere=
    if [ -n "$MARIADB_ROOT_HOST" ] && [ "$MARIADB_ROOT_HOST" != localhost ]; then
      everywhere="CREATE USER 'root'@'$MARIADB_ROOT_HOST' IDENTIFIED BY '$password';
        GRANT ALL ON *.* TO 'root'@'$MARIADB_ROOT_HOST' WITH GRANT OPTION;
        GRANT PROXY ON ''@'%' TO 'root'@'$MARIADB_ROOT_HOST' WITH GRANT OPTION;"
    fi
    database=
    if [ -n "$MARIADB_DATABASE" ]; then
      note "Creating database $MARIADB_DATABASE"
      database="CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;"
    fi
    user=
    if [ -n "$MARIADB_USER" ] && [ -n "$MARIADB_PASSWORD" ]; then
      note "Creating user $MARIADB_USER"
      user="CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$(quoted "$MARIADB_PASSWORD")';"
      [ -z "$MARIADB_DATABASE" ] || user+="GRANT ALL ON \`${MARIADB_DATABASE//_/\\_}\`.* TO '$MARIADB_USER'@'%';"
    fi
    note 'Securing system users (equivalent to running mysql_secure_installation)'
    client --database=mysql --binary-mode <<END
SET @orig_sql_log_bin= @@SESSION.SQL_LOG_BIN;
SET @@SESSION.SQL_LOG_BIN=0;
SET @@SESSION.SQL_MODE=REPLACE(@@SESSION.SQL_MODE, 'NO_BACKSLASH_ESCAPES', '');
DROP USER IF EXISTS root@'127.0.0.1', root@'::1';
EXECUTE IMMEDIATE CONCAT('DROP USER IF EXISTS root@\'', @@hostname,'\'');
SET PASSWORD FOR 'root'@'localhost'= PASSWORD('$password');
$everywhere
SET @@SESSION.SQL_LOG_BIN=@orig_sql_log_bin;
$database
$user
END
    known_password=$MARIADB_ROOT_PASSWORD
    run_init_files docker_process_sql
    note 'Stopping temporary server'
    kill "$server"
    wait "$server"
    note 'Temporary server stopped'
    note 'MariaDB init process done. Ready for start up.'
  fi
  unset MARIADB_ROOT_PASSWORD MARIADB_PASSWORD MYSQL_ROOT_PASSWORD MYSQL_PASSWORD MYSQL_ROOT_HOST MARIADB_ROOT_HOST
fi

exec "$@"
