# Sourced by the entry points of the test images: what the official images' have in common.

note() { printf '%s [Note] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*"; }
fail() { printf '%s [ERROR] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*" >&2; exit 1; }

# file_env NAME [DEFAULT] : $NAME, or what the file $NAME_FILE holds, or the default.
file_env() {
  local name=$1 file_name=$1_FILE value=${2:-}
  if [ -n "${!name:-}" ] && [ -n "${!file_name:-}" ]; then
    printf 'error: both %s and %s are set (but are exclusive)\n' "$name" "$file_name" >&2
    exit 1
  fi
  if [ -n "${!name:-}" ]; then value=${!name}; elif [ -n "${!file_name:-}" ]; then value=$(<"${!file_name}"); fi
  export "$name=$value"
  unset "$file_name"
}

# run_init_files SQL_COMMAND : /docker-entrypoint-initdb.d, in order.
run_init_files() {
  local sql=$1 file
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh)
        if [ -x "$file" ]; then echo "$0: running $file"; "$file"; else echo "$0: sourcing $file"; . "$file"; fi
        ;;
      *.sql) echo "$0: running $file"; "$sql" <"$file" ;;
      *.sql.gz) echo "$0: running $file"; gunzip -c "$file" | "$sql" ;;
      *.sql.xz) echo "$0: running $file"; xzcat "$file" | "$sql" ;;
      *.sql.zst) echo "$0: running $file"; zstd -dc "$file" | "$sql" ;;
      *) [ ! -e "$file" ] || echo "$0: ignoring $file" ;;
    esac
  done
}

# wants NAME ARGUMENTS... : whether the command is a server's, and not one that only prints something.
wants() {
  local server=$1 argument
  shift
  [[ $1 =~ ^($server)$ ]] || return 1
  for argument; do
    case $argument in -'?' | --help | -V | --version | --describe-config | --print-defaults) return 1 ;; esac
  done
}

# give FOLDER... USER : to the user, with all that is in it.
give() { find "${@:1:$#-1}" \! -user "${!#}" -exec chown --no-dereference "${!#}:${!#}" '{}' +; }
