/** Shared libraries that a server's programs miss on a machine, and the packages that have them. */

interface Packages {
  readonly apt: string
  readonly dnf: string
}

/** What official tarballs of databases link to and a bare machine may lack. */
const known: readonly (readonly [library: RegExp, packages: Packages])[] = [
  [/^libaio\.so\.1/, {apt: 'libaio1', dnf: 'libaio'}],
  [/^libnuma\.so\.1/, {apt: 'libnuma1', dnf: 'numactl-libs'}],
  [/^libncurses(w?)\.so\.5/, {apt: 'libncurses5', dnf: 'ncurses-compat-libs'}],
  [/^libtinfo\.so\.5/, {apt: 'libtinfo5', dnf: 'ncurses-compat-libs'}],
  [/^libncurses(w?)\.so\.6/, {apt: 'libncurses6', dnf: 'ncurses-libs'}],
  [/^libtinfo\.so\.6/, {apt: 'libtinfo6', dnf: 'ncurses-libs'}],
  [/^lib(ssl|crypto)\.so\.1\.1/, {apt: 'libssl1.1', dnf: 'compat-openssl11'}],
  [/^lib(ssl|crypto)\.so\.3/, {apt: 'libssl3', dnf: 'openssl-libs'}],
  [/^libcrypt\.so\.1/, {apt: 'libcrypt1', dnf: 'libxcrypt-compat'}],
  [/^liburing\.so\.2/, {apt: 'liburing2', dnf: 'liburing'}],
  [/^libpcre2-8\.so\.0/, {apt: 'libpcre2-8-0', dnf: 'pcre2'}],
  [/^libreadline\.so\.8/, {apt: 'libreadline8', dnf: 'readline'}],
  [/^libxml2\.so\.2/, {apt: 'libxml2', dnf: 'libxml2'}],
  [/^liblz4\.so\.1/, {apt: 'liblz4-1', dnf: 'lz4-libs'}],
  [/^libzstd\.so\.1/, {apt: 'libzstd1', dnf: 'libzstd'}],
  [/^libz\.so\.1/, {apt: 'zlib1g', dnf: 'zlib'}],
  [/^libpam\.so\.0/, {apt: 'libpam0g', dnf: 'pam'}],
  [/^libsystemd\.so\.0/, {apt: 'libsystemd0', dnf: 'systemd-libs'}],
  [/^libstdc\+\+\.so\.6/, {apt: 'libstdc++6', dnf: 'libstdc++'}],
  [/^libatomic\.so\.1/, {apt: 'libatomic1', dnf: 'libatomic'}],
  [/^libtirpc\.so\.3/, {apt: 'libtirpc3', dnf: 'libtirpc'}],
  [/^libgssapi_krb5\.so\.2/, {apt: 'libgssapi-krb5-2', dnf: 'krb5-libs'}],
  [/^libldap(_r)?-2\.4\.so\.2/, {apt: 'libldap-2.4-2', dnf: 'openldap-compat'}],
  [/^libldap.*\.so\.2/, {apt: 'libldap-2.5-0', dnf: 'openldap'}],
  [/^libedit\.so\.2/, {apt: 'libedit2', dnf: 'libedit'}],
]

/** What the dynamic linker says, of glibc and musl, and what `ldd` lists. In the order they are named, each once. */
export function missingLibraries(output: string): string[] {
  const patterns = [
    /error while loading shared libraries: (\S+): cannot open shared object file/g,
    /Error loading shared library (\S+): No such file/g,
    /^\s*(\S+) => not found/gm,
  ]
  return [...new Set(patterns.flatMap((pattern) => [...output.matchAll(pattern)].map((match) => match[1] as string)))]
}

/** The newest version of a library's symbols that is asked for and not there: `GLIBC_2.34`. */
export function missingSymbols(output: string): {name: string; version: string} | undefined {
  const found = [...output.matchAll(/version [`'"]?(GLIBC|GLIBCXX)_([\d.]+)'? not found/g)].map((match) => ({name: match[1] as string, version: match[2] as string}))
  return found.sort((a, b) => b.version.localeCompare(a.version, 'en', {numeric: true}))[0]
}

/** Commands that install what is missing, as far as it is known where it is. */
export function packagesFor(libraries: readonly string[]): string[] {
  const found = libraries.flatMap((library) => known.find(([pattern]) => pattern.test(library))?.[1] ?? [])
  if (found.length === 0) return []
  const names = (of: keyof Packages): string => [...new Set(found.map((packages) => packages[of]))].join(' ')
  return [`apt-get install ${names('apt')}`, `dnf install ${names('dnf')}`]
}
