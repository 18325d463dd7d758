// An RLPx peer that the authors of Peerage did not write: `@ethereumjs/devp2p`, with one small capability of
// ours on top. README.md beside this file says how it is driven.

import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

import { DisconnectReasonNames, Peer, RLPx } from '@ethereumjs/devp2p'
import { RLP } from '@ethereumjs/rlp'
import { bytesToUnprefixedHex, unprefixedHexToBytes } from '@ethereumjs/util'
import snappy from 'snappyjs'

const SAY = 0
const ECHO = 1
const PING = 0x02
const DISCONNECT = 0x01

const USAGE = `usage: node peer.mjs listen [options]
       node peer.mjs dial ENODE [options]
       node peer.mjs dial HOST PORT ID [options]
options: --for SECONDS   end after so long (default 60)
         --key HEX       the private key, 32 bytes (default: a new one)
         --client NAME   the client id in Hello (default: the library's own)
         --trace         print each frame's message id and first payload bytes, as they are on the wire`

const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** `n` bytes that any language can make again: a 32-bit linear congruential generator, its top byte. */
export function bytesOf(n, pattern = 'random') {
  const out = new Uint8Array(n)
  if (pattern === 'zero') return out
  let x = n | 0
  for (let i = 0; i < n; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    out[i] = x >>> 24
  }
  return out
}

/** The capability `echo` version 1: Say brings bytes, Echo brings the same bytes back. */
class Echo {
  // The library's own base class is not exported, and would end a connection without an eth-like Status after
  // five seconds. All that its connection asks of a capability is this constructor and `_handleMessage`.
  constructor(version, peer, send) {
    this._version = version
    this._peer = peer
    this._send = send
    this.waiting = []
  }

  // The library hands us the payload decompressed, but compresses nothing of what we send.
  _handleMessage(code, payload) {
    const bytes = RLP.decode(payload)
    if (!(bytes instanceof Uint8Array)) throw new Error('the payload is not one byte string')
    const hash = sha256(bytes)
    const conn = this._peer._socket.peerageConn
    if (code === SAY) {
      say('message', { conn, code, bytes: bytes.length, sha256: hash })
      this.transmit(ECHO, bytes)
    } else {
      const asked = this.waiting.shift()
      say('echo', { conn, code, bytes: bytes.length, sha256: hash, matches: asked === hash })
    }
  }

  ask(bytes) {
    const hash = sha256(bytes)
    this.waiting.push(hash)
    this.transmit(SAY, bytes)
    say('sent', { conn: this._peer._socket.peerageConn, code: SAY, bytes: bytes.length, sha256: hash })
  }

  transmit(code, bytes) {
    const peer = this._peer
    // An ack, a Hello and a message that arrive in one segment are all handled before the library sends its own Hello.
    if (peer._weHello === null) {
      peer.events.once('connect', () => this.transmit(code, bytes))
      return
    }
    const payload = RLP.encode(bytes)
    this._send(code, peer.getHelloMessage().protocolVersion >= 5 ? snappy.compress(payload) : payload)
  }
}

const CAPABILITY = { name: 'echo', version: 1, length: 2, constructor: Echo }

let connections = 0
let current = null

/** The library's node; it also tells of connections that end before Hello, which the library passes over. */
class Node extends RLPx {
  _onConnect(socket, id) {
    const conn = ++connections
    socket.peerageConn = conn
    socket.setNoDelay(true)
    say('opened', { conn, direction: id === null ? 'in' : 'out', from: `${socket.remoteAddress}:${socket.remotePort}` })
    socket.once('close', () => {
      if (!socket.peerageUp) say('failed', { conn, error: socket.peerageError ?? 'closed before Hello' })
    })
    super._onConnect(socket, id)
  }
}

/** Prints what each frame holds: the message id, and the payload as it is on the wire. */
function trace() {
  const wire = (peer, event, id, payload) =>
    say(event, {
      conn: peer._socket.peerageConn,
      id: id === 0x80 ? 0 : id,
      bytes: payload.length,
      payload: bytesToUnprefixedHex(payload.slice(0, 160)),
    })
  const { _sendMessage, _handleBody } = Peer.prototype
  Peer.prototype._sendMessage = function (id, payload) {
    wire(this, 'tx', id, payload)
    return _sendMessage.call(this, id, payload)
  }
  Peer.prototype._handleBody = function () {
    const session = this._eciesSession
    session.parseBody = (frame) => {
      delete session.parseBody
      const body = session.parseBody(frame)
      wire(this, 'rx', body[0], body.subarray(1))
      return body
    }
    return _handleBody.call(this)
  }
}

function up(peer) {
  const socket = peer._socket
  socket.peerageUp = true
  peer.conn = socket.peerageConn
  current = peer
  const { protocolVersion, clientId, capabilities, port } = peer.getHelloMessage()
  const answerPing = peer._handlePing.bind(peer)
  peer._handlePing = () => {
    say('ping', { conn: peer.conn })
    answerPing()
  }
  const notePong = peer._handlePong.bind(peer)
  peer._handlePong = () => {
    say('pong', { conn: peer.conn })
    notePong()
  }
  say('connected', {
    conn: peer.conn,
    id: bytesToUnprefixedHex(peer.getId()),
    client: clientId,
    version: protocolVersion,
    port,
    capabilities: capabilities.map(({ name, version }) => [name, version]),
    shared: peer._protocols.map(({ protocol, offset, length }) => ({
      version: protocol._version,
      offset,
      length,
    })),
  })
}

function down(peer, reason, disconnectWe) {
  const by = disconnectWe === true ? 'us' : disconnectWe === false ? 'remote' : 'nobody'
  say('disconnected', {
    conn: peer._socket.peerageConn,
    reason: reason ?? null,
    name: reason === undefined ? null : (DisconnectReasonNames[reason] ?? 'unknown'),
    by,
  })
  if (current === peer) current = null
}

/** Says goodbye. The library sends a bare integer, never compressed; `spec` sends what the specification says. */
function disconnect(peer, reason, form = 'library') {
  if (form === 'library') {
    peer.disconnect(reason)
    return
  }
  peer._sendMessage(DISCONNECT, snappy.compress(RLP.encode([reason])))
  peer._disconnectReason = reason
  peer._disconnectWe = true
  peer._closed = true
  setTimeout(() => peer._socket.end(), 2000)
}

function command(line) {
  const [word, ...rest] = line.trim().split(/\s+/)
  if (word === '') return
  if (word === 'quit') return end('quit')
  if (current === null) return say('refused', { command: line, error: 'not connected' })
  const number = Number(rest[0])
  switch (word) {
    case 'send':
      if (!Number.isSafeInteger(number) || number < 0) break
      return current.getProtocols()[0].ask(bytesOf(number, rest[1]))
    case 'disconnect':
      if (!Number.isInteger(number) || number < 0 || number > 255) break
      return disconnect(current, number, rest[1])
    case 'ping':
      return void current._sendMessage(PING, snappy.compress(RLP.encode([])))
    case 'drop':
      return void current._socket.destroy()
  }
  say('refused', { command: line, error: 'not a command' })
}

function end(why) {
  // The callback of the last write runs when the pipe has it: nothing printed is lost.
  process.stdout.write(`${JSON.stringify({ event: 'end', why })}\n`, () => process.exit(0))
}

function parse(argv) {
  const options = { mode: argv[0], seconds: 60, key: undefined, client: undefined, trace: false, target: [] }
  for (let i = 1; i < argv.length; i++) {
    if (argv[i] === '--for') options.seconds = Number(argv[++i])
    else if (argv[i] === '--key') options.key = unprefixedHexToBytes(argv[++i])
    else if (argv[i] === '--client') options.client = argv[++i]
    else if (argv[i] === '--trace') options.trace = true
    else options.target.push(argv[i])
  }
  if (options.target.length === 1) {
    const url = new URL(options.target[0])
    options.target = [url.hostname.replace(/^\[|\]$/g, ''), url.port, url.username]
  }
  const wanted = { listen: 0, dial: 3 }[options.mode]
  if (options.target.length !== wanted || !(options.seconds > 0)) throw new Error(USAGE)
  return options
}

function main(argv) {
  const options = parse(argv)
  if (options.trace) trace()
  const node = new Node(options.key ?? crypto.getRandomValues(new Uint8Array(32)), {
    capabilities: [CAPABILITY],
    clientId: options.client === undefined ? undefined : new TextEncoder().encode(options.client),
    maxPeers: 50,
  })
  const id = bytesToUnprefixedHex(node.id)
  node.events.on('peer:added', up)
  node.events.on('peer:removed', down)
  node.events.on('error', (error) => say('error', { error: String(error) }))
  node.events.on('peer:error', (peer, error) => {
    peer._socket.peerageError = String(error?.message ?? error)
    say('error', { conn: peer._socket.peerageConn, error: peer._socket.peerageError })
  })
  setTimeout(() => end('timeout'), options.seconds * 1000)
  const lines = createInterface({ input: process.stdin })
  lines.on('line', command)
  lines.on('close', () => end('stdin'))

  if (options.mode === 'listen') {
    node.events.once('listening', () => {
      const { address, port } = node._server.address()
      node._listenPort = port
      say('listening', { enode: `enode://${id}@${address}:${port}`, host: address, port, id })
    })
    node.listen(0, '127.0.0.1')
  } else {
    const [address, port, remote] = options.target
    say('dialing', { host: address, port: Number(port), id })
    node
      .connect({ id: unprefixedHexToBytes(remote), address, tcpPort: Number(port) })
      .catch((error) => say('failed', { conn: 0, error: String(error?.message ?? error) }))
  }
}

// The library emits errors of its protocols out of band; none may end the process without a line that says so.
process.on('uncaughtException', (error) => {
  say('error', { error: String(error?.stack ?? error) })
  process.exit(1)
})

if (process.argv[1] === new URL(import.meta.url).pathname) {
  try {
    main(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error.message}\n`)
    process.exit(2)
  }
}
