import { createHash } from 'node:crypto'

/** The world that test/sdk made: real gateways, what they hold, and those who do not do as they should. */
export const world = JSON.parse(process.env.HPIPS_WORLD ?? 'null')

export function sum (bytes) { return createHash('sha256').update(bytes).digest('hex') }
