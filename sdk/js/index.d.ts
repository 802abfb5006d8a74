import type { CID } from 'multiformats/cid'

export interface Options {
  /** Gateways beside those that the address names. */
  gateways?: string[]
  signal?: AbortSignal
  /** Blocks that are fetched before they are asked for; six for each gateway if it is not said. */
  ahead?: number
  /** Milliseconds for one block; 15,000 if it is not said. */
  patience?: number
  fetch?: typeof fetch
}

export interface Range {
  offset?: number
  length?: number
}

/** What a gateway has done so far. */
export interface Report {
  url: string
  blocks: number
  bytes: number
  errors: number
  /** It sent bytes that do not match their address, and is asked no more. */
  lied: boolean
  /** The last error. */
  last: string
}

export function open (address: string, options?: Options): Promise<Content>

export function parse (address: string): { cid: CID, path: string, gateways: string[] }

export class Content {
  readonly cid: string
  readonly name: string
  readonly kind: 'file' | 'directory'
  /** Bytes of a file. */
  readonly size: number | undefined
  report (): Report[]
  entries (): AsyncGenerator<{ name: string, cid: string }>
  read (range?: Range): AsyncGenerator<Uint8Array>
  stream (range?: Range): ReadableStream<Uint8Array>
  bytes (range?: Range): Promise<Uint8Array>
  text (): Promise<string>
}

export class Gateways {
  constructor (urls: string[], options?: { fetch?: typeof fetch, patience?: number })
  readonly width: number
  report (): Report[]
  block (cid: CID, options?: { signal?: AbortSignal }): Promise<Uint8Array>
  get (cid: CID, options?: { signal?: AbortSignal }): AsyncGenerator<Uint8Array>
}
