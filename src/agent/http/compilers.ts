/**
 * Told of these, Fastify does not load its own compilers of schemas (ajv and fast-json-stringify, 40 ms of every agent
 * start): `register.ts` gives each route a validator, and answers are serialised by JSON.stringify.
 */
export const noCompilers = {
  buildValidator: () => (): never => {
    throw new Error('a route without its own validator')
  },
  buildSerializer: () => () => (data: unknown): string => JSON.stringify(data),
}
