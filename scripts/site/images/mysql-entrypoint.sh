#!/usr/bin/env bash
# Behaves as the entry point of the official mysql image does: the same variables, steps, messages and signals.
set -eo pipefail
. /usr/local/lib/entrypoint-common.sh

# What the server itself says of an option, files and arguments considered.
config() { "${@:2}" --verbose --help --log-bin-index=/tmp/no-such-index 2>/dev/null | awk -v name="$1" '$1 == name && /^[^ \t]/ {sub(/^[^ \t]+[ \t]+/, ""); print; exit}'; }

client() { mysql --defaults-extra-file=<([ -z "$known_password" ] || printf '[client]\npassword="%s"\n' "$known_password") --protocol=socket -uroot -hlocalhost --socket="$socket" --comments "$@"; }
docker_process_sql() { if [ -n "$MYSQL_DATABASE" ]; then client --database="$MYSQL_DATABASE" "$@"; else client "$@"; fi; }

[ "${1:0:1}" != - ] || set -- mysqld "$@"

if wants mysqld "$@"; then
  note "Entrypoint script for MySQL Server $MYSQL_VERSION started."
  if ! errors=$("$@" --verbose --help --log-bin-index=/tmp/no-such-index 2>&1 >/dev/null); then
    fail "mysqld failed while attempting to check config
	command was: $*
	$errors"
  fi
  datadir=$(config datadir "$@")
  socket=$(config socket "$@")
  file_env MYSQL_ROOT_HOST %
  file_env MYSQL_DATABASE
  file_env MYSQL_USER
  file_env MYSQL_PASSWORD
  file_env MYSQL_ROOT_PASSWORD
  folders=("$datadir" "$(dirname "$socket")")
  for name in general-log-file pid-file secure-file-priv slow-query-log-file; do
    value=$(config "$name" "$@")
    case $name:$value in
      *: | *:NULL) ;;
      secure-file-priv:*) folders+=("$value") ;;
      *:/*) folders+=("$(dirname "$value")") ;;
    esac
  done
  mkdir -p "${folders[@]}"
  if [ "$(id -u)" = 0 ]; then
    give "${folders[@]}" mysql
    note "Switching to dedicated user 'mysql'"
    exec gosu mysql "$BASH_SOURCE" "$@"
  fi

  if [ ! -d "$datadir/mysql" ]; then
    if [ -z "$MYSQL_ROOT_PASSWORD" ] && [ -z "$MYSQL_ALLOW_EMPTY_PASSWORD" ] && [ -z "$MYSQL_RANDOM_ROOT_PASSWORD" ]; then
      fail 'Database is uninitialized and password option is not specified
    You need to specify one of the following as an environment variable:
    - MYSQL_ROOT_PASSWORD
    - MYSQL_ALLOW_EMPTY_PASSWORD
    - MYSQL_RANDOM_ROOT_PASSWORD'
    fi
    [ "$MYSQL_USER" != root ] || fail 'MYSQL_USER="root", MYSQL_USER and MYSQL_PASSWORD are for configuring a regular user and cannot be used for the root user'
    ls /docker-entrypoint-initdb.d/ >/dev/null
    note 'Initializing database files'
    "$@" --initialize-insecure --default-time-zone=SYSTEM
    note 'Database files initialized'
    note 'Starting temporary server'
    "$@" --daemonize --skip-networking --default-time-zone=SYSTEM --socket="$socket" || fail 'Unable to start server.'
    note 'Temporary server started.'

    known_password=
    if [ -z "$MYSQL_INITDB_SKIP_TZINFO" ]; then
      mysql_tzinfo_to_sql /usr/share/zoneinfo 2>/dev/null | sed 's/Local time zone must be set--see zic manual page/FCTY/' | client --database=mysql
    fi
    if [ -n "$MYSQL_RANDOM_ROOT_PASSWORD" ]; then
      MYSQL_ROOT_PASSWORD=$(openssl rand -base64 24)
      export MYSQL_ROOT_PASSWORD
      note "GENERATED ROOT PASSWORD: $MYSQL_ROOT_PASSWORD"
    fi
    everywhere=
    if [ -n "$MYSQL_ROOT_HOST" ] && [ "$MYSQL_ROOT_HOST" != localhost ]; then
      everywhere="CREATE USER 'root'@'$MYSQL_ROOT_HOST' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD'; GRANT ALL ON *.* TO 'root'@'$MYSQL_ROOT_HOST' WITH GRANT OPTION;"
    fi
    client --database=mysql <<END
SET autocommit = 1;
SET @@SESSION.SQL_LOG_BIN=0;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'localhost' WITH GRANT OPTION;
FLUSH PRIVILEGES;
$everywhere
DROP DATABASE IF EXISTS test;
END
    known_password=$MYSQL_ROOT_PASSWORD
    if [ -n "$MYSQL_DATABASE" ]; then
      note "Creating database $MYSQL_DATABASE"
      client --database=mysql <<<"CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
    fi
    if [ -n "$MYSQL_USER" ] && [ -n "$MYSQL_PASSWORD" ]; then
      note "Creating user $MYSQL_USER"
      client --database=mysql <<<"CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
      if [ -n "$MYSQL_DATABASE" ]; then
        note "Giving user $MYSQL_USER access to schema $MYSQL_DATABASE"
        client --database=mysql <<<"GRANT ALL ON \`${MYSQL_DATABASE//_/\\_}\`.* TO '$MYSQL_USER'@'%';"
      fi
    fi
    run_init_files docker_process_sql
    [ -z "$MYSQL_ONETIME_PASSWORD" ] || client --database=mysql <<<"ALTER USER 'root'@'%' PASSWORD EXPIRE;"
    note 'Stopping temporary server'
    mysqladmin --defaults-extra-file=<(printf '[client]\npassword="%s"\n' "$known_password") shutdown -uroot --socket="$socket"
    note 'Temporary server stopped'
    note 'MySQL init process done. Ready for start up.'
  fi
fi

exec "$@"
