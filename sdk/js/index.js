import * as dagPB from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { exporter } from 'ipfs-unixfs-exporter'
import * as raw from 'multiformats/codecs/raw'
import { Gateways, parse } from './gateways.js'

export { Gateways, parse }

/**
 * open finds what an address leads to, checked on the way.
 * @param {string} address ipfs://CID/path?gateway=URL&gateway=URL, as `hpips cdn publish` prints it
 * @param {{gateways?: string[], signal?: AbortSignal, ahead?: number, patience?: number, fetch?: typeof fetch}} [options]
 * @returns {Promise<Content>}
 */
export async function open (address, options = {}) {
  const { cid, path, gateways } = parse(address)
  const from = new Gateways([...gateways, ...options.gateways ?? []], options)
  const entry = await exporter(cid + path, from, { signal: options.signal })
  if (entry.type === 'object' || entry.unixfs?.type === 'symlink') throw new Error(`${address} is no file and no folder`)
  return new Content(entry, from, options)
}

/** Content is a file or a folder. */
export class Content {
  #entry
  #from
  #options

  constructor (entry, from, options) {
    this.#entry = entry
    this.#from = from
    this.#options = options
    this.cid = entry.cid.toString()
    this.name = entry.name
    this.kind = entry.type === 'directory' ? 'directory' : 'file'
    this.size = this.kind === 'file' ? Number(entry.unixfs ? entry.unixfs.fileSize() : entry.node.length) : undefined
  }

  /** What each gateway has sent so far. */
  report () { return this.#from.report() }

  /** The entries of a folder: { name, cid }. */
  async * entries () {
    if (this.kind !== 'directory') throw new TypeError(`${this.cid} is a file`)
    for await (const e of this.#entry.entries({ signal: this.#options.signal })) yield { name: e.name, cid: e.cid.toString() }
  }

  /**
   * read gives the bytes of a file in order, in pieces of a block at most; as much as `ahead` blocks is fetched before it is asked for.
   * @param {{offset?: number, length?: number}} [range]
   */
  async * read (range = {}) {
    if (this.kind !== 'file') throw new TypeError(`${this.cid} is a folder`)
    const start = range.offset ?? 0
    const end = Math.min(this.size, start + (range.length ?? this.size))
    if (!(start >= 0 && start <= this.size && end >= start)) throw new RangeError(`offset ${range.offset}, length ${range.length}: the file has ${this.size} bytes`)
    const stop = new AbortController()
    const signal = this.#options.signal ? AbortSignal.any([this.#options.signal, stop.signal]) : stop.signal
    try {
      yield * walk(this.#from, this.#entry.cid, this.#entry.node, start, end, this.#options.ahead ?? this.#from.width, signal)
    } finally {
      stop.abort() // whoever reads no further does not have the rest fetched
    }
  }

  /** A file as a ReadableStream. */
  stream (range) {
    const pieces = this.read(range)
    return new ReadableStream({
      async pull (to) {
        const { done, value } = await pieces.next()
        if (done) to.close()
        else to.enqueue(value)
      },
      async cancel () { await pieces.return() }
    }, { highWaterMark: 0 })
  }

  /** The bytes of a file, or of a range of it. */
  async bytes (range) {
    const all = new Uint8Array(await new Response(this.stream(range)).arrayBuffer())
    return all
  }

  /** A file as text. */
  async text () { return new TextDecoder().decode(await this.bytes()) }
}

/**
 * walk yields the bytes start…end of a file. It keeps a plan of nodes in the order of their bytes, the first `ahead` of which are being fetched,
 * takes the first, and puts what is below it in its place.
 */
async function * walk (from, cid, node, start, end, ahead, signal) {
  const plan = [{ cid, at: 0, size: undefined, block: Promise.resolve(node) }]
  while (plan.length > 0) {
    for (const next of plan.slice(0, ahead)) {
      next.block ??= from.block(next.cid, { signal })
      next.block.catch(() => {}) // it is told when its turn comes
    }
    const { cid, at, size, block } = plan.shift()
    const { data, below, total } = unfold(cid, await block, at)
    if (size !== undefined && total !== size) throw new Error(`${cid} has ${total} bytes, and what is above it says ${size}`)
    if (data.length > 0 && at < end && at + data.length > start) yield data.subarray(Math.max(0, start - at), Math.min(data.length, end - at))
    plan.unshift(...below.filter(b => b.at < end && b.at + b.size > start))
  }
}

/** unfold takes a node of a file apart: its own bytes, what is below it and where that begins, and the bytes of all. */
function unfold (cid, block, at) {
  if (cid.code === raw.code || (cid.multihash.code === 0 && block instanceof Uint8Array && cid.code !== dagPB.code)) return { data: block, below: [], total: block.length }
  if (cid.code !== dagPB.code) throw new Error(`${cid} is no part of a file`)
  const node = block instanceof Uint8Array ? dagPB.decode(block) : block
  const file = UnixFS.unmarshal(node.Data ?? new Uint8Array())
  if (file.type !== 'file' && file.type !== 'raw') throw new Error(`${cid} is no part of a file`)
  if (file.blockSizes.length !== node.Links.length) throw new Error(`${cid} has ${node.Links.length} parts and ${file.blockSizes.length} sizes`)
  const data = file.data ?? new Uint8Array()
  let next = at + data.length
  const below = node.Links.map((l, i) => {
    const part = { cid: l.Hash, at: next, size: Number(file.blockSizes[i]), block: undefined }
    next += part.size
    return part
  })
  return { data, below, total: next - at }
}
