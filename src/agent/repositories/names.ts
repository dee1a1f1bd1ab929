/** The kinds of repositories, for commands: importing this loads nothing. The registry beside it is checked against it. */
export const repositoryKinds = ['directory', 's3'] as const
export type RepositoryKind = (typeof repositoryKinds)[number]
export const isRepositoryKind = (text: string): text is RepositoryKind => (repositoryKinds as readonly string[]).includes(text)
