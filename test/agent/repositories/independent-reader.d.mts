export function read(folder: string, masterKey: Buffer, incarnation: string, number: number): {files: Map<string, Buffer>; meta: Record<string, unknown>}
export function readLog(folder: string, masterKey: Buffer, incarnation: string): {timeline: string; segment: string; bytes: Buffer; final: boolean}[]
