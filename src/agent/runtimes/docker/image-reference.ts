/** References of images: `[registry[:port]/]path[:tag][@sha256:…]`, as github.com/distribution/reference defines them. */

export interface ImageReference {
  /** `docker.io` where none is named. */
  readonly registry: string
  /** `library/postgres` where `postgres` was written and the registry is Docker Hub. */
  readonly path: string
  readonly tag: string | null
  readonly digest: string | null
}

const hub = 'docker.io'

/** Undefined for what is none. */
export function parseReference(text: string): ImageReference | undefined {
  const match = /^([^@]+?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(text)
  if (!match) return undefined
  const name = match[1] as string
  const slash = name.indexOf('/')
  const first = slash < 0 ? '' : name.slice(0, slash)
  // as Docker tells them apart: a registry has a dot or a port, or is localhost
  const named = first === 'localhost' || /[.:]/.test(first)
  const registry = named && first !== 'index.docker.io' ? first : hub
  const rest = named ? name.slice(slash + 1) : name
  if (!/^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/.test(rest)) return undefined
  const path = registry === hub && !rest.includes('/') ? `library/${rest}` : rest
  return {registry, path, tag: match[2] ?? null, digest: match[3] ?? null}
}

/** The repository as Docker shows it: `postgres`, `127.0.0.1:5000/mysql`. */
export const repositoryOf = ({registry, path}: ImageReference): string =>
  registry === hub ? path.replace(/^library\//, '') : `${registry}/${path}`

/** With the tag `latest` where neither a tag nor a digest is named. */
export const formatReference = (reference: ImageReference): string =>
  `${repositoryOf(reference)}${reference.digest === null || reference.tag !== null ? `:${reference.tag ?? 'latest'}` : ''}${
    reference.digest === null ? '' : `@${reference.digest}`}`

/** Whether both name the same repository, whatever the tag. */
export const sameRepository = (one: ImageReference, other: ImageReference): boolean =>
  one.registry === other.registry && one.path === other.path
