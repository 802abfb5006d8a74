import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open } from '../index.js'
import { sum, world } from './world.js'

const skip = world === null && 'go test ./test/sdk makes the world that this needs'
const at = (cid, ...who) => `ipfs://${cid}?` + new URLSearchParams(who.map(w => ['gateway', world[w]]))

test('a film comes from alice and bob at once, whatever mallory, carol and dave do', { skip }, async () => {
  const film = await open(at(world.film, 'mallory', 'alice', 'carol', 'bob', 'dave'), { patience: 2000 })
  assert.deepEqual([film.kind, film.size], ['file', world.filmSize])
  assert.equal(sum(await film.bytes()), world.filmSum)
  const by = Object.fromEntries(film.report().map(g => [g.url, g]))
  assert.ok(by[world.alice].blocks > 0 && by[world.bob].blocks > 0, JSON.stringify(by))
  assert.ok(by[world.mallory].lied && by[world.mallory].blocks === 0 && !by[world.alice].lied && !by[world.bob].lied, JSON.stringify(by))
})

test('ranges bring their own blocks alone', { skip }, async () => {
  const whole = await (await open(at(world.film, 'alice'))).bytes()
  for (const [offset, length] of [[0, 1], [1048570, 20], [world.filmSize - 3, 10], [world.filmSize, 5], [3 << 20, 2 << 20], [5, 0]]) {
    const film = await open(at(world.film, 'alice', 'bob'))
    assert.deepEqual(await film.bytes({ offset, length }), whole.slice(offset, offset + length), `${offset}+${length}`)
    const blocks = film.report().reduce((n, g) => n + g.blocks, 0)
    assert.ok(blocks <= 1 + 1 + Math.ceil(length / (1 << 20)) + 1, `${offset}+${length}: ${blocks} blocks`)
  }
})

test('folders, large ones too', { skip }, async () => {
  const names = []
  for await (const e of (await open(at(world.folder, 'alice', 'bob'))).entries()) names.push(e.name)
  assert.deepEqual(names.sort(), ['empty', 'many', 'readme.txt'])
  assert.equal(await (await open(at(world.folder + '/readme.txt', 'bob'))).text(), 'read me')
  assert.equal((await open(at(world.folder + '/empty', 'bob'))).size, 0)
  assert.equal((await (await open(at(world.folder + '/empty', 'bob'))).bytes()).length, 0)
  const many = new Set()
  for await (const e of (await open(at(world.folder + '/many', 'alice'))).entries()) many.add(e.name)
  assert.equal(many.size, world.many)
  assert.equal(await (await open(at(world.folder + '/many/f04321', 'alice'))).text(), '4321')
  await assert.rejects(open(at(world.folder + '/none', 'alice')))
})

test('with mallory alone nothing comes', { skip }, async () => {
  await assert.rejects(open(at(world.film, 'mallory')), /mallory|other bytes/)
})

test('who stops reading has no more fetched', { skip }, async () => {
  const film = await open(at(world.film, 'alice'), { ahead: 2 })
  for await (const piece of film.read()) {
    assert.ok(piece.length > 0)
    break
  }
  const [{ blocks }] = film.report()
  assert.ok(blocks <= 5, `${blocks} blocks for the first piece`)
})
