/**
 * Told of these, Fastify does not load its own compilers of schemas (ajv and fast-json-stringify: a good part of every
 * agent start). Routes have no Fastify schemas: `register.ts` checks requests, and answers are JSON.stringify's.
 */
export const noCompilers = {
  buildValidator: () => (): never => {
    throw new Error('no route has a schema of its own')
  },
  buildSerializer:
    () =>
    () =>
    (data: unknown): string =>
      JSON.stringify(data),
}
