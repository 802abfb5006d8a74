import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const maxBlock = 2 << 20 // bytes, the most that IPFS nodes exchange
const each = 6 // requests to one gateway at a time, as many as browsers open connections over HTTP/1.1
const identity = 0x00

/**
 * Gateways gives blocks by their address from several trustless gateways. It promises that only bytes which match the address come out, whoever
 * sent them. A gateway that sends other bytes is asked no more; one that fails is asked less, and again later.
 */
export class Gateways {
  #all
  #fetch
  #patience

  /**
   * @param {string[]} urls without a path, such as https://cdn.example
   * @param {{fetch?: typeof fetch, patience?: number}} [options] patience: milliseconds for one block, 15,000 if it is not said
   */
  constructor (urls, options = {}) {
    if (urls.length === 0) throw new TypeError('no gateway is named: write ?gateway=https://cdn.example behind the address, or give gateways')
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis)
    this.#patience = options.patience ?? 15_000
    this.#all = [...new Set(urls.map(origin))].map(url => ({ url, busy: 0, pace: 0, blocks: 0, bytes: 0, errors: 0, lied: false, row: 0, until: 0, last: '' }))
  }

  /** How many requests may be under way together. */
  get width () { return each * this.#all.length }

  /** What each gateway has done so far. */
  report () { return this.#all.map(({ url, blocks, bytes, errors, lied, last }) => ({ url, blocks, bytes, errors, lied, last })) }

  /**
   * block gives the bytes of a block, from the gateway that is likely to be the first; where that fails, from each of the others. It throws an
   * error that tells what each said.
   * @param {CID} cid
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<Uint8Array>}
   */
  async block (cid, options = {}) {
    if (cid.multihash.code === identity) return cid.multihash.digest
    if (cid.multihash.code !== sha256.code) throw new Error(`${cid}: hash function 0x${cid.multihash.code.toString(16)} is not known here, sha2-256 is`)
    const said = []
    const tried = new Set()
    for (;;) {
      const g = this.#next(tried)
      if (g === undefined) throw new Error(`no gateway gave ${cid}: ${said.join('; ') || 'all that are known have sent wrong bytes before'}`)
      tried.add(g)
      try {
        return await this.#ask(g, cid, options.signal)
      } catch (err) {
        options.signal?.throwIfAborted()
        said.push(`${g.url}: ${err.message}`)
      }
    }
  }

  /** get is block for whoever wants an interface-blockstore. */
  async * get (cid, options) { yield await this.block(cid, options) }

  /** The best one that was not tried: none that rests before those that do not, then by the time that its queue takes. */
  #next (tried) {
    const now = Date.now()
    const fastest = Math.min(...this.#all.map(g => g.pace || Infinity))
    const cost = g => (g.busy + 1) * (g.pace || (Number.isFinite(fastest) ? fastest : 1)) + (g.busy >= each ? 1e6 : 0) + (g.until > now ? 1e9 : 0)
    return this.#all.filter(g => !g.lied && !tried.has(g)).sort((a, b) => cost(a) - cost(b) || a.busy - b.busy)[0]
  }

  async #ask (g, cid, signal) {
    const late = AbortSignal.timeout(this.#patience)
    const began = Date.now()
    g.busy++
    try {
      const answer = await this.#fetch(`${g.url}/ipfs/${cid}?format=raw`, {
        headers: { accept: 'application/vnd.ipld.raw' },
        credentials: 'omit',
        referrerPolicy: 'no-referrer',
        redirect: 'error',
        signal: signal ? AbortSignal.any([signal, late]) : late
      })
      if (answer.status !== 200) {
        await answer.body?.cancel()
        throw new Error(`HTTP ${answer.status}`)
      }
      const bytes = await whole(answer)
      const sum = await sha256.digest(bytes)
      if (!equal(sum.digest, cid.multihash.digest)) {
        g.lied = true
        throw new Error('it sent other bytes')
      }
      g.blocks++
      g.bytes += bytes.length
      g.row = 0
      const took = Math.max(1, Date.now() - began)
      g.pace = g.pace ? 0.7 * g.pace + 0.3 * took : took
      return bytes
    } catch (err) {
      if (!signal?.aborted) {
        g.errors++
        g.row++
        g.last = late.aborted ? `no block within ${this.#patience} ms` : err.message
        g.until = Date.now() + Math.min(30_000, 250 * 2 ** g.row)
        if (late.aborted) throw new Error(g.last)
      }
      throw err
    } finally {
      g.busy--
    }
  }
}

/** whole reads an answer that may not be larger than a block. */
async function whole (answer) {
  const reader = answer.body.getReader()
  const parts = []
  let n = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    n += value.length
    if (n > maxBlock) {
      await reader.cancel()
      throw new Error(`it sent more than ${maxBlock} bytes for a block`)
    }
    parts.push(value)
  }
  if (parts.length === 1) return parts[0]
  const bytes = new Uint8Array(n)
  n = 0
  for (const p of parts) {
    bytes.set(p, n)
    n += p.length
  }
  return bytes
}

function equal (a, b) {
  return a.length === b.length && a.every((v, i) => v === b[i])
}

/** origin checks the URL of a gateway and gives it without what is behind the host. */
function origin (text) {
  let url
  try {
    url = new URL(text)
  } catch {
    throw new TypeError(`gateway ${text} is not a URL such as https://cdn.example`)
  }
  if ((url.protocol !== 'https:' && url.protocol !== 'http:') || url.username || url.search || (url.pathname !== '/' && url.pathname !== '')) {
    throw new TypeError(`gateway ${text} is not a URL such as https://cdn.example`)
  }
  return url.origin
}

/**
 * parse takes an address apart: ipfs://CID/path?gateway=URL&gateway=URL, /ipfs/CID/path, or CID/path.
 * @param {string} address
 * @returns {{cid: CID, path: string, gateways: string[]}}
 */
export function parse (address) {
  const found = /^(?:ipfs:\/\/|\/ipfs\/)?([A-Za-z0-9]+)((?:\/[^?#]*)?)(?:\?([^#]*))?$/.exec(address)
  if (found === null) throw new TypeError(`${address} is not an address such as ipfs://CID/path?gateway=https://cdn.example`)
  let cid
  try {
    cid = CID.parse(found[1])
  } catch (err) {
    throw new TypeError(`${found[1]} is no CID: ${err.message}`)
  }
  return { cid, path: decodeURIComponent(found[2]), gateways: new URLSearchParams(found[3] ?? '').getAll('gateway') }
}
