import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { Gateways, open, parse } from '../index.js'

const text = new TextEncoder().encode('hello from alice')
const cid = CID.createV1(raw.code, await sha256.digest(text))

/** people answer by the host of a gateway; asked counts. */
function people (answers) {
  const asked = {}
  return {
    asked,
    fetch: async (url, { signal }) => {
      const who = new URL(url).host
      asked[who] = (asked[who] ?? 0) + 1
      const answer = answers[who]
      if (answer === 'silent') {
        const alive = setInterval(() => {}, 1000) // as an open connection keeps the process
        return await new Promise((resolve, reject) => signal.addEventListener('abort', () => { clearInterval(alive); reject(signal.reason) }))
      }
      if (answer instanceof Error) throw answer
      return typeof answer === 'number' ? new Response('no', { status: answer }) : new Response(answer)
    }
  }
}

test('mallory is found out and asked no more; what others have comes from them', async () => {
  const p = people({ alice: text, mallory: 'hello from mallory', bob: 404, carol: new Error('nobody there') })
  const from = new Gateways(['http://mallory', 'http://bob', 'http://carol', 'http://alice'], p)
  for (let i = 0; i < 5; i++) assert.deepEqual(await from.block(cid), text)
  assert.equal(p.asked.mallory, 1)
  assert.deepEqual(from.report().map(g => [g.url, g.lied]), [['http://mallory', true], ['http://bob', false], ['http://carol', false], ['http://alice', false]])
})

test('nobody has it: each one is heard', async () => {
  const from = new Gateways(['http://mallory', 'http://bob', 'http://carol', 'http://dave'],
    { ...people({ mallory: 'x', bob: 404, carol: 'silent', dave: new Uint8Array((2 << 20) + 1) }), patience: 50 })
  await assert.rejects(from.block(cid), err => {
    for (const says of ['mallory: it sent other bytes', 'bob: HTTP 404', 'carol: no block within 50 ms', 'dave: it sent more than 2097152 bytes']) assert.ok(err.message.includes(says), `${says} in ${err.message}`)
    return true
  })
})

test('who stops waiting is not told of gateways', async () => {
  const from = new Gateways(['http://carol'], people({ carol: 'silent' }))
  const stop = new AbortController()
  const waiting = from.block(cid, { signal: stop.signal })
  stop.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  assert.equal(from.report()[0].errors, 0)
})

test('addresses', () => {
  const a = parse(`ipfs://${cid}/a%20b/c?gateway=https%3A%2F%2Fa.example&gateway=http://b.example`)
  assert.deepEqual([a.cid.toString(), a.path, a.gateways], [cid.toString(), '/a b/c', ['https://a.example', 'http://b.example']])
  for (const ok of [`/ipfs/${cid}`, `${cid}/x`, 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG']) parse(ok)
  for (const bad of ['', 'https://a.example/x', 'ipfs://', 'ipfs://bafy', `${cid}#x`]) assert.throws(() => parse(bad), TypeError, bad)
  for (const bad of ['a.example', 'ftp://a.example', 'https://a.example/x', 'https://u@a.example']) assert.throws(() => new Gateways([bad]), TypeError, bad)
  assert.throws(() => new Gateways([]), /no gateway/)
})

test('a file of one block, and a hash that is not known', async () => {
  const p = people({ alice: text })
  const file = await open(`ipfs://${cid}?gateway=http://alice`, p)
  assert.deepEqual([file.kind, file.size, await file.text()], ['file', text.length, 'hello from alice'])
  assert.deepEqual(await file.bytes({ offset: 6, length: 4 }), text.slice(6, 10))
  await assert.rejects(file.bytes({ offset: 99 }), RangeError)
  const weak = CID.createV1(raw.code, { code: 0x11, digest: new Uint8Array(20), bytes: new Uint8Array(22), size: 20 })
  await assert.rejects(new Gateways(['http://alice'], p).block(weak), /0x11/)
})
