// Two of these peers against each other: shows that peer.mjs does what README.md says before Peerage is blamed.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { bytesOf } from './peer.mjs'

const script = fileURLToPath(new URL('./peer.mjs', import.meta.url))
const verbose = process.argv.includes('--verbose')

/** A peer in its own process: `tell` gives it a command, `event` waits for the next event of a name. */
function peer(name, ...args) {
  const child = spawn(process.execPath, [script, ...args, '--for', '30', ...(verbose ? ['--trace'] : [])], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const seen = []
  const waiting = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (verbose) console.log(name, line)
    const event = JSON.parse(line)
    const index = waiting.findIndex((one) => one.name === event.event)
    if (index < 0) seen.push(event)
    else waiting.splice(index, 1)[0].resolve(event)
  })
  return {
    tell: (line) => child.stdin.write(`${line}\n`),
    event(wanted) {
      const index = seen.findIndex((one) => one.event === wanted)
      if (index >= 0) return Promise.resolve(seen.splice(index, 1)[0])
      return new Promise((resolve) => waiting.push({ name: wanted, resolve }))
    },
    exit() {
      const code = new Promise((resolve) => child.once('exit', resolve))
      child.stdin.end()
      return code
    },
  }
}

async function pair(target = (listening) => [listening.enode]) {
  const listener = peer('listener', 'listen')
  const listening = await listener.event('listening')
  const dialer = peer('  dialer', 'dial', ...target(listening))
  const [there, here] = await Promise.all([listener.event('connected'), dialer.event('connected')])
  return { listener, dialer, listening, there, here }
}

async function exchange(from, to, size, pattern) {
  const sha256 = createHash('sha256').update(bytesOf(size, pattern)).digest('hex')
  from.tell(`send ${size} ${pattern}`)
  const [sent, message, echo] = [await from.event('sent'), await to.event('message'), await from.event('echo')]
  for (const one of [sent, message, echo]) assert.deepEqual([one.bytes, one.sha256], [size, sha256])
  assert.deepEqual([sent.code, message.code, echo.code, echo.matches], [0, 0, 1, true])
}

async function close({ listener, dialer }, reason, form, expected) {
  dialer.tell(`disconnect ${reason} ${form}`)
  const [there, here] = await Promise.all([listener.event('disconnected'), dialer.event('disconnected')])
  assert.deepEqual([here.by, here.reason], ['us', reason])
  assert.deepEqual([there.by, there.reason], expected)
  assert.deepEqual(await Promise.all([listener.exit(), dialer.exit()]), [0, 0])
}

// The generator is part of the contract with the Rust side.
assert.equal(Buffer.from(bytesOf(4)).toString('hex'), bytesOfByHand(4))
function bytesOfByHand(n) {
  let x = BigInt(n)
  let hex = ''
  for (let i = 0; i < n; i++) {
    x = (x * 1664525n + 1013904223n) % 2n ** 32n
    hex += (x >> 24n).toString(16).padStart(2, '0')
  }
  return hex
}

const first = await pair()
assert.equal(first.here.id, first.listening.id)
assert.deepEqual(first.here.capabilities, [['echo', 1]])
assert.deepEqual(first.here.shared, [{ version: 1, offset: 16, length: 2 }])
assert.deepEqual([first.here.version, first.here.port], [5, first.listening.port])
for (const size of [0, 1, 1024, 1024 * 1024]) {
  for (const pattern of ['random', 'zero']) {
    await exchange(first.dialer, first.listener, size, pattern)
    await exchange(first.listener, first.dialer, size, pattern)
  }
}
first.dialer.tell('ping')
await first.listener.event('ping')
await first.dialer.event('pong')
first.dialer.tell('dance')
assert.equal((await first.dialer.event('refused')).error, 'not a command')
await close(first, 4, 'library', ['remote', 4])

// What the specification says, in all its forms, is read as it is meant.
for (const reason of [0, 1, 4, 8, 16]) {
  await close(await pair(({ host, port, id }) => [host, String(port), id]), reason, 'spec', ['remote', reason])
}
// What the library itself sends is not always read by itself: README.md says why.
for (const [reason, expected] of [
  [0, ['us', 16]],
  [1, ['remote', 0]],
  [2, ['remote', 2]],
  [16, ['remote', 16]],
]) {
  await close(await pair(), reason, 'library', expected)
}

const lost = await pair()
lost.listener.tell('drop')
assert.deepEqual((({ by, reason }) => [by, reason])(await lost.dialer.event('disconnected')), ['nobody', null])
await Promise.all([lost.listener.exit(), lost.dialer.exit()])
console.log('ok')
