'use strict'

// A peer made of the published JavaScript packages, driven by JSON lines.
//
// On stdin:  {"call": 1, "do": "command", ...arguments}
// On stdout: {"call": 1, ...result}  or  {"call": 1, "error": "message", "code": "CODE"}
//            {"event": "name", "of": handle, ...facts}
//
// Commands run at the same time; answers come when they are ready. What a command makes - a node, a client,
// a connection - is named by a handle, a number, in its answer. Keys and bytes are hex. The process ends when
// stdin does, so that none is left behind.

const crypto = require('crypto')
const fs = require('fs')
const path = require('path')
const readline = require('readline')
const c = require('compact-encoding')
const RPC = require('protomux-rpc')
const HyperDHT = require('hyperdht')
const messages = require('hyperdht/lib/messages')
const { COMMANDS } = require('hyperdht/lib/constants')
const createTestnet = require('hyperdht/testnet')
const Hyperswarm = require('hyperswarm')
const Hyperbeam = require('hyperbeam')
const blindRelay = require('blind-relay')
const AliasRpcServer = require('dht-prom-alias-rpc')
const AliasRpcClient = require('dht-prom-alias-rpc/client')
const DhtPromClient = require('dht-prom-client')
const DhtPromScraper = require('dht-prom-client/scraper')

// ---- lines and handles

const things = new Map()
let handles = 0

function keep (thing) {
  things.set(++handles, thing)
  return handles
}

function get (handle, kind) {
  const thing = things.get(handle)
  if (!thing || (kind && thing.kind !== kind)) throw new Error(`no ${kind || 'thing'} has handle ${handle}`)
  return thing
}

function put (line) {
  process.stdout.write(JSON.stringify(line, plain) + '\n')
}

// plain prints buffers as hex and errors as what they say. JSON.stringify has turned buffers into objects by
// the time it asks.
function plain (_, value) {
  if (value && value.type === 'Buffer' && Array.isArray(value.data)) return Buffer.from(value.data).toString('hex')
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (value instanceof Error) return { message: value.message, code: value.code || '' }
  return value
}

function forward (emitter, names, of) {
  for (const name of names) {
    emitter.on(name, (facts) => {
      put({ event: name, of, ...(facts instanceof Error ? { error: facts } : facts) })
    })
  }
}

const hex = (text) => Buffer.from(text || '', 'hex')

function keyPair (seed) {
  return HyperDHT.keyPair(seed ? hex(seed) : undefined)
}

function deadline (ms, what) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms)
  })
  return { late, clear: () => clearTimeout(timer) }
}

async function within (ms, what, promise) {
  const d = deadline(ms, what)
  try {
    return await Promise.race([promise, d.late])
  } finally {
    d.clear()
  }
}

// dhtOptions makes HyperDHT's options of a command's "dht" argument.
function dhtOptions (dht = {}) {
  const opts = { host: '127.0.0.1', ...dht }
  if (opts.seed) opts.seed = hex(opts.seed)
  return opts
}

// pattern is n bytes that both sides can make.
function pattern (n, start = 0) {
  const b = Buffer.allocUnsafe(n)
  for (let i = 0; i < n; i++) b[i] = ((start + i) * 31 + ((start + i) >> 8)) & 0xff
  return b
}

// ---- nodes

function nodeFacts (dht) {
  return {
    publicKey: dht.defaultKeyPair.publicKey,
    host: dht.host,
    port: dht.port,
    id: dht.id,
    address: dht.address(),
    serverPort: dht.io.serverSocket ? dht.io.serverSocket.address().port : 0,
    clientPort: dht.io.clientSocket ? dht.io.clientSocket.address().port : 0,
    remoteAddress: dht.remoteAddress(),
    firewalled: dht.firewalled,
    ephemeral: dht.ephemeral,
    randomized: dht.randomized,
    online: dht.online,
    degraded: dht.degraded,
    nodes: dht.toArray(),
    punches: dht.stats?.punches, // since 6.13
    relaying: dht.stats?.relaying
  }
}

// bootstrapped waits until a node has entered its network: before dht-rpc 6.16 the method has another name.
function bootstrapped (dht) {
  return dht.fullyBootstrapped ? dht.fullyBootstrapped() : dht.ready()
}

function keepNode (dht) {
  const handle = keep({ kind: 'node', dht, close: () => dht.destroy({ force: true }) })
  forward(dht, ['persistent', 'wakeup', 'network-change'], handle)
  dht.on('network-update', () => put({ event: 'network-update', of: handle, online: dht.online, degraded: dht.degraded }))
  return handle
}

// ---- connections

function keepConnection (socket, of) {
  const thing = { kind: 'connection', socket, received: 0, close: () => socket.destroy() }
  const handle = keep(thing)
  socket.on('data', (b) => {
    thing.received += b.byteLength
    if (!thing.quiet) put({ event: 'data', of: handle, bytes: b })
  })
  socket.on('message', (b) => put({ event: 'message', of: handle, bytes: b }))
  socket.on('end', () => {
    put({ event: 'end', of: handle })
    socket.end()
  })
  socket.on('error', (error) => { thing.error = error })
  socket.on('close', () => put({ event: 'close', of: handle, error: thing.error, received: thing.received }))
  return handle
}

function connectionFacts (socket) {
  return {
    localPort: socket.rawStream.socket ? socket.rawStream.socket.address().port : 0,
    publicKey: socket.publicKey,
    remotePublicKey: socket.remotePublicKey,
    handshakeHash: socket.handshakeHash,
    remoteHost: socket.rawStream.remoteHost,
    remotePort: socket.rawStream.remotePort,
    streamId: socket.rawStream.id,
    initiator: socket.isInitiator
  }
}

async function connect (dht, { key, seed, localConnection, holepunch, relayAddresses, relayThrough, fastOpen, reusableSocket, blockedPort, timeoutMs = 20000 }) {
  if (blockedPort) { // pings to a port of this machine are not answered
    const ping = dht.ping.bind(dht)
    dht.ping = (to, opts) => {
      if (to.port !== blockedPort) return ping(to, opts)
      put({ event: 'blocked', port: blockedPort })
      return Promise.reject(new Error('blocked'))
    }
  }
  const socket = dht.connect(hex(key), {
    keyPair: keyPair(seed),
    fastOpen,
    reusableSocket,
    localConnection,
    holepunch: holepunch === false ? () => false : undefined,
    relayAddresses,
    relayThrough: relayThrough ? hex(relayThrough) : null
  })
  let failure = null
  socket.on('error', (error) => { failure = error })
  try {
    const opened = await within(timeoutMs, 'connecting', socket.opened)
    if (!opened) throw failure || new Error('destroyed before it was open')
  } catch (error) {
    socket.destroy()
    throw error
  }
  return socket
}

// echo answers everything a connection sends, messages with messages.
function echo (socket) {
  socket.on('data', (b) => {
    if (!socket.write(b)) {
      socket.pause()
      socket.once('drain', () => socket.resume())
    }
  })
  socket.on('message', (b) => socket.send(b))
  socket.on('end', () => socket.end())
}

// answer ends a connection with all that it has sent, once it has ended itself; hangUp does so at once, with a greeting.
function answer (socket) {
  const all = []
  socket.on('data', (b) => all.push(b))
  socket.on('end', () => socket.end(Buffer.concat(all)))
}

const hangUp = (socket) => socket.end('greeting')

// rpcEcho answers protomux-rpc calls: echo returns its value, fail throws, hang never answers, number cannot read
// less than eight bytes, letter cannot write what it should answer, leave destroys the connection.
function rpcEcho (socket) {
  const rpc = new RPC(socket, { protocol: 'echo', valueEncoding: c.raw })
  rpc.respond('echo', (value) => value)
  rpc.respond('fail', () => { throw new Error('asked to fail') })
  rpc.respond('hang', () => new Promise(() => {}))
  rpc.respond('number', { valueEncoding: c.fixed(8) }, (value) => value)
  const unwritable = () => { throw new Error('not a letter') }
  rpc.respond('letter', { responseEncoding: { preencode: unwritable, encode: unwritable } }, () => 1)
  rpc.respond('leave', () => {
    socket.destroy()
    return new Promise(() => {})
  })
}

// exchange sends n bytes in chunks and checks that they come back.
function exchange (socket, n, chunk) {
  return new Promise((resolve, reject) => {
    const started = Date.now()
    let sent = 0
    let received = 0
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after ${received} of ${n} bytes`)))
    socket.on('data', (b) => {
      if (!pattern(b.byteLength, received).equals(b)) {
        return reject(new Error(`bytes ${received} to ${received + b.byteLength} came back changed`))
      }
      received += b.byteLength
      if (received === n) resolve({ bytes: received, ms: Date.now() - started, ...connectionFacts(socket) })
    })
    const fill = () => {
      while (sent < n) {
        const size = Math.min(chunk, n - sent)
        const more = socket.write(pattern(size, sent))
        sent += size
        if (!more) return socket.once('drain', fill)
      }
    }
    fill()
  })
}

// ---- metrics

// The metrics that a client serves; they can be changed while the client runs.
class Source {
  constructor (args) {
    this.asked = 0
    this.set(args)
  }

  set ({ text, bytes, fail, delayMs, hang }) {
    this.text = text === undefined ? 'up 1\n' : text
    this.bytes = bytes || 0
    this.fail = fail || ''
    this.delayMs = delayMs || 0
    this.hang = !!hang
  }

  async read () {
    this.asked++
    if (this.hang) await new Promise(() => {})
    if (this.delayMs) await new Promise((resolve) => setTimeout(resolve, this.delayMs))
    if (this.fail) throw new Error(this.fail)
    let body = this.text
    if (this.bytes > body.length) {
      const lines = []
      for (let size = body.length; size < this.bytes; size += lines[lines.length - 1].length) {
        lines.push(`filler{n="${lines.length}"} ${lines.length}\n`)
      }
      body += lines.join('')
    }
    return body
  }
}

// Scraper does what the bridge does: an alias server on a swarm, and a scraper for each alias.
class Scraper {
  constructor (swarm, secret, requestTimeoutMs) {
    this.swarm = swarm
    this.requestTimeoutMs = requestTimeoutMs
    this.aliases = new Map()
    this.registrations = new AliasRpcServer(swarm, secret, this.put.bind(this))
  }

  forwardTo (handle) {
    this.handle = handle
    forward(this.registrations, [
      'alias-request', 'alias-success', 'alias-unauthorised', 'alias-error',
      'connection-open', 'connection-close', 'connection-error'
    ], handle)
  }

  put (alias, key, hostname, service) {
    const current = this.aliases.get(alias)
    if (current) {
      if (current.key.equals(key)) return false
      current.scraper.close()
    }
    const scraper = new DhtPromScraper(this.swarm, key, { requestTimeoutMs: this.requestTimeoutMs })
    const entry = { alias, key: Buffer.from(key), hostname, service, scraper, opens: 0 }
    scraper.on('connection-open', (facts) => {
      entry.opens++
      put({ event: 'scrape-connection-open', of: this.handle, alias, ...facts })
    })
    scraper.on('connection-close', (facts) => put({ event: 'scrape-connection-close', of: this.handle, alias, ...facts }))
    scraper.on('connection-error', (facts) => put({ event: 'scrape-connection-error', of: this.handle, alias, ...facts }))
    scraper.ready()
    this.aliases.set(alias, entry)
    return true
  }

  async connected (alias, waitMs) {
    const entry = this.aliases.get(alias)
    if (!entry) throw new Error('Unknown alias')
    if (entry.scraper.rpc) return entry
    await within(waitMs, `connecting to ${alias}`, new Promise((resolve) => entry.scraper.once('connection-open', resolve)))
    return entry
  }
}

// ---- packages

// inPackage is the path of a file of a package, whether the package exports it or not.
const inPackage = (name, file) => path.join(__dirname, 'node_modules', name, file)

const source = (name, file) => fs.readFileSync(inPackage(name, file), 'utf8')
const version = (name) => JSON.parse(source(name, 'package.json')).version

// ---- commands

const commands = {
  // packages lists the versions of the packages that differ between the versions under test, and what they can do.
  async packages () {
    const node = new HyperDHT(dhtOptions({ bootstrap: [] }))
    await node.destroy()
    return {
      versions: Object.fromEntries(['hyperdht', 'hyperswarm', 'dht-rpc', 'protomux-rpc', '@hyperswarm/secret-stream'].map((n) => [n, version(n)])),
      features: {
        'unordered messages': !!require('@hyperswarm/secret-stream').prototype.send,
        'codes and causes of errors of calls': !!require(inPackage('protomux-rpc', 'lib/errors.js')).UNKNOWN_METHOD,
        'keep-alives by default': node.connectionKeepAlive > 0,
        'replacement of connections in use by a new one': source('hyperswarm', 'index.js').includes('existingIsOutdated'),
        'addresses in front of names of bootstrap nodes': source('dht-rpc', 'index.js').includes('suggestedIP'),
        'hole punches beside a local address': source('hyperdht', 'lib/connect.js').includes('onlanconnect'),
        'bumps of topics': source('hyperdht', 'index.js').includes('bump')
      }
    }
  },

  async testnet ({ size = 3, host = '127.0.0.1', port = 0 }) {
    const net = await createTestnet(size, { host, port })
    const nodes = net.nodes.map(nodeFacts)
    return { on: keep({ kind: 'testnet', net, close: () => net.destroy() }), bootstrap: net.bootstrap, nodes }
  },

  async bootstrapper ({ port, host = '127.0.0.1', dht }) {
    const node = HyperDHT.bootstrapper(port, host, dhtOptions({ host, ...dht }))
    await bootstrapped(node)
    return { on: keepNode(node), bootstrap: [{ host, port: node.address().port }], ...nodeFacts(node) }
  },

  async node ({ dht }) {
    const node = new HyperDHT(dhtOptions(dht))
    await bootstrapped(node)
    return { on: keepNode(node), ...nodeFacts(node) }
  },

  async info ({ on }) {
    return nodeFacts(get(on, 'node').dht)
  },

  async suspend ({ on }) {
    await get(on, 'node').dht.suspend()
    return {}
  },

  async resume ({ on }) {
    await get(on, 'node').dht.resume()
    return {}
  },

  // destroy lets a node say goodbye, which close does not.
  async destroy ({ on }) {
    await get(on, 'node').dht.destroy()
    return {}
  },

  async close ({ on }) {
    await get(on).close()
    things.delete(on)
    return {}
  },

  // -- the DHT

  async ping ({ on, host, port }) {
    const reply = await get(on, 'node').dht.ping({ host, port })
    return { rtt: reply.rtt, from: reply.from, to: reply.to }
  },

  async findNode ({ on, target }) {
    const query = get(on, 'node').dht.findNode(hex(target))
    await query.finished()
    return { closest: query.closestNodes }
  },

  async findPeer ({ on, key }) {
    const found = []
    for await (const { from, to, peer } of get(on, 'node').dht.findPeer(hex(key))) found.push({ from, to, peer })
    return { found }
  },

  async lookup ({ on, target }) {
    const found = []
    for await (const { from, to, peers, bump } of get(on, 'node').dht.lookup(hex(target))) found.push({ from, to, peers, bump })
    return { found }
  },

  async announce ({ on, target, seed, relayAddresses = [], bump, clear }) {
    const kp = keyPair(seed)
    const query = get(on, 'node').dht.announce(hex(target), kp, relayAddresses, { bump, clear })
    await query.finished()
    return { publicKey: kp.publicKey, closest: query.closestNodes }
  },

  // lookupAndUnannounce looks a target up, and removes the records of a key from the nodes that it meets.
  async lookupAndUnannounce ({ on, target, seed }) {
    const query = get(on, 'node').dht.lookupAndUnannounce(hex(target), keyPair(seed))
    await query.finished()
    return {}
  },

  // refresh sends an announcement that names a refresh token only, which no node has issued, to each node near a target.
  async refresh ({ on, target }) {
    const { dht } = get(on, 'node')
    const value = c.encode(messages.announce, { peer: null, refresh: Buffer.alloc(32, 1), signature: null, bump: 0 })
    let asked = 0
    for await (const { token, from } of dht.lookup(hex(target))) {
      if (!token) continue
      asked++
      dht.request({ command: COMMANDS.ANNOUNCE, target: hex(target), token, value }, from).catch(() => {}) // it is not answered
    }
    return { asked }
  },

  async unannounce ({ on, target, seed }) {
    await get(on, 'node').dht.unannounce(hex(target), keyPair(seed))
    return {}
  },

  async mutablePut ({ on, seed, value, seq = 0 }) {
    const { publicKey, signature } = await get(on, 'node').dht.mutablePut(keyPair(seed), hex(value), { seq })
    return { publicKey, signature, seq }
  },

  async mutableGet ({ on, key, seq = 0, latest = true, refresh = false }) {
    const got = await get(on, 'node').dht.mutableGet(hex(key), { seq, latest, refresh: refresh ? () => true : null })
    return got ? { found: true, seq: got.seq, value: got.value, signature: got.signature } : { found: false }
  },

  async immutablePut ({ on, value }) {
    const { hash } = await get(on, 'node').dht.immutablePut(hex(value))
    return { hash }
  },

  async immutableGet ({ on, hash }) {
    const got = await get(on, 'node').dht.immutableGet(hex(hash))
    return got ? { found: true, value: got.value } : { found: false }
  },

  // -- connections

  // listen serves connections: mode echo, answer, hangUp, rpc, or hold, which makes a handle of each connection. A pool takes them all.
  async listen ({ on, seed, mode = 'echo', admit, relayThrough, shareLocalAddress, holepunch, vetoPunch, reusableSocket, pool, decideMs }) {
    const server = get(on, 'node').dht.createServer({
      shareLocalAddress,
      reusableSocket,
      pool: pool ? get(pool, 'pool').pool : null,
      holepunch: holepunch === false ? false : vetoPunch ? () => false : undefined,
      relayThrough: relayThrough ? hex(relayThrough) : null,
      firewall: (remotePublicKey, payload, address) => {
        const refused = !!admit && !admit.includes(remotePublicKey.toString('hex'))
        put({ event: 'firewall', of: handle, remotePublicKey, address, refused })
        return decideMs ? new Promise((resolve) => setTimeout(resolve, decideMs, refused)) : refused
      }
    })
    const handle = keep({ kind: 'server', server, close: () => server.close() })
    server.on('connection', (socket) => {
      const facts = { event: 'connection', of: handle, ...connectionFacts(socket) }
      if (mode === 'hold') {
        facts.on = keepConnection(socket, handle)
      } else {
        socket.on('error', (error) => { facts.error = error })
        socket.on('close', () => put({ ...facts, event: 'connection-close', error: facts.error }))
      }
      put(facts)
      if (mode === 'echo') echo(socket)
      if (mode === 'answer') answer(socket)
      if (mode === 'hangUp') hangUp(socket)
      if (mode === 'rpc') rpcEcho(socket)
    })
    await server.listen(keyPair(seed))
    return { on: handle, publicKey: server.publicKey, relayAddresses: server.relayAddresses }
  },

  async serverSuspend ({ on }) {
    await get(on, 'server').server.suspend()
    return {}
  },

  async serverResume ({ on }) {
    await get(on, 'server').server.resume()
    return {}
  },

  // ask connects, writes bytes and ends before the connection is open, and returns what the other side sent until it ended.
  async ask ({ on, key, bytes, timeoutMs = 20000 }) {
    const socket = get(on, 'node').dht.connect(hex(key))
    const all = []
    socket.on('data', (b) => all.push(b))
    socket.end(hex(bytes))
    await within(timeoutMs, 'the answer', new Promise((resolve, reject) => socket.on('error', reject).on('close', resolve)))
    return { answer: Buffer.concat(all) }
  },

  // abandon connects and destroys the connection at once.
  async abandon ({ on, key, timeoutMs = 20000 }) {
    const socket = get(on, 'node').dht.connect(hex(key))
    socket.on('error', () => {}).destroy()
    await within(timeoutMs, 'the end', new Promise((resolve) => socket.on('close', resolve)))
    return { opened: await socket.opened }
  },

  // connect opens a connection and makes a handle of it.
  async connect ({ on, ...args }) {
    const socket = await connect(get(on, 'node').dht, args)
    return { on: keepConnection(socket), ...connectionFacts(socket) }
  },

  // pool makes an empty pool of connections.
  async pool ({ on }) {
    const pool = get(on, 'node').dht.pool()
    pool.on('connection', (socket) => socket.on('error', () => {}))
    return { on: keep({ kind: 'pool', pool, node: on, close: () => {} }) }
  },

  // poolConnect begins to connect to a key, under the node's own.
  async poolConnect ({ on, key }) {
    const { pool, node } = get(on, 'pool')
    const connect = () => get(node, 'node').dht.connect(hex(key), { pool })
    const socket = connect().on('error', () => {})
    return { same: connect() === socket }
  },

  // pooled waits until a pool has one connection, which this side has dialled or not, and makes a handle of it.
  async pooled ({ on, initiator, timeoutMs = 20000 }) {
    const { pool } = get(on, 'pool')
    const one = () => [...pool.connections].map((ref) => ref._stream).find((s) => s.isInitiator === initiator)
    while (pool.connecting > 0 || !one()) {
      await within(timeoutMs, 'a connection of the pool', new Promise((resolve) => pool.once('connection', resolve)))
    }
    return { on: keepConnection(one()), connections: [...pool.connections].length, ...connectionFacts(one()) }
  },

  // stranger connects under a random key and reports how that ended.
  async stranger ({ on, key, timeoutMs }) {
    try {
      const socket = await connect(get(on, 'node').dht, { key, timeoutMs })
      socket.destroy()
      return { admitted: true }
    } catch (error) {
      return { admitted: false, why: error.message, code: error.code || '' }
    }
  },

  // echo connects, sends bytes and checks that they come back.
  async echo ({ on, bytes = 1000, chunk = 1000, timeoutMs = 30000, ...args }) {
    const socket = await connect(get(on, 'node').dht, args)
    try {
      return await within(timeoutMs, 'the echo', exchange(socket, bytes, chunk))
    } finally {
      socket.end()
    }
  },

  // call connects and makes one protomux-rpc call.
  async call ({ on, protocol = 'echo', method, value = '', timeoutMs = 5000, ...args }) {
    const socket = await connect(get(on, 'node').dht, args)
    try {
      const rpc = new RPC(socket, { protocol, valueEncoding: c.raw })
      await within(timeoutMs, 'opening the channel', rpc.fullyOpened())
      return { value: await rpc.request(method, hex(value), { timeout: timeoutMs }) }
    } catch (error) {
      if (error.cause) error.message += ` because ${error.cause.message}`
      throw error
    } finally {
      socket.end()
    }
  },

  async send ({ on, bytes, unordered = false }) {
    const { socket } = get(on, 'connection')
    return { more: unordered ? (await socket.send(hex(bytes)), true) : socket.write(hex(bytes)) }
  },

  // quiet leaves the bytes of a connection out of its events.
  async quiet ({ on }) {
    get(on, 'connection').quiet = true
    return {}
  },

  async end ({ on }) {
    get(on, 'connection').socket.end()
    return {}
  },

  // relay is a blind relay: others connect to it by its key and name it as relayThrough.
  async relay ({ on, seed }) {
    const { dht } = get(on, 'node')
    const relay = new blindRelay.Server({ createStream: (opts) => dht.createRawStream({ ...opts, framed: true }) })
    const server = dht.createServer((socket) => {
      socket.on('error', () => {})
      relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {}).on('pair', () => thing.sides++)
    })
    await server.listen(keyPair(seed))
    const thing = { kind: 'relay', sides: 0, close: () => server.close() }
    return { on: keep(thing), publicKey: server.publicKey }
  },

  // relayStats counts the pairs that were matched. The package itself counts them since 1.4.
  async relayStats ({ on }) {
    return { matched: get(on, 'relay').sides / 2 }
  },

  // -- metrics

  async client ({ dht, scraper, alias, secret, service = 'service', hostname, registerIntervalMs, seed, promClient, ...source }) {
    const node = new HyperDHT(dhtOptions(dht))
    const metrics = new Source(source)
    const client = new DhtPromClient(
      node, promClient ? require('prom-client') : () => metrics.read(),
      scraper, alias, secret, service,
      { keyPair: seed ? keyPair(seed) : undefined, registerIntervalMs, hostname }
    )
    if (promClient) client.promClient.collectDefaultMetrics()
    const handle = keep({ kind: 'client', client, metrics, close: () => client.close() })
    forward(client, [
      'register-alias-success', 'register-alias-error', 'connection-open', 'connection-close', 'connection-error',
      'metrics-request', 'metrics-success', 'metrics-error', 'firewall-block'
    ], handle)
    forward(client.aliasClient, ['alias-attempt'], handle)
    client.aliasClient.on('connection-error', (facts) => put({ event: 'alias-connection-error', of: handle, ...facts }))
    // The packages answer metrics requests from the moment they listen, and ready waits for the first
    // attempt to register, which may take long: the caller waits for its event where it wants to.
    client.ready().catch((error) => put({ event: 'client-error', of: handle, error }))
    return { on: handle, publicKey: client.publicKey, nodeKey: node.defaultKeyPair.publicKey }
  },

  // source changes what a client serves: text, bytes to pad it to, fail, delayMs, hang.
  async source ({ on, ...source }) {
    const { metrics } = get(on, 'client')
    metrics.set(source)
    return { asked: metrics.asked }
  },

  // register makes a client register now, and answers when that is over.
  async register ({ on }) {
    await get(on, 'client').client._tryRegisterAlias()
    return {}
  },

  async scraper ({ dht, seed, secret, requestTimeoutMs }) {
    const node = new HyperDHT(dhtOptions(dht))
    const swarm = new Hyperswarm({ dht: node, keyPair: keyPair(seed) })
    // Connections break, and the swarm creates new ones; the scraper's events report what happened.
    swarm.on('connection', (socket) => socket.on('error', () => {}))
    const scraper = new Scraper(swarm, hex(secret), requestTimeoutMs)
    await swarm.listen()
    const handle = keep({ kind: 'scraper', scraper, close: () => swarm.destroy({ force: true }) })
    scraper.forwardTo(handle)
    return { on: handle, publicKey: swarm.keyPair.publicKey }
  },

  async aliases ({ on }) {
    const entries = [...get(on, 'scraper').scraper.aliases.values()]
    return {
      aliases: entries.map(({ alias, key, hostname, service, scraper, opens }) =>
        ({ alias, key, hostname, service, connected: scraper.rpc !== null, opens }))
    }
  },

  // channels counts what the connection to an alias holds: channels, requests under way, handlers.
  async channels ({ on, alias }) {
    const { rpc, socket } = get(on, 'scraper').scraper.aliases.get(alias).scraper
    return {
      protocols: [...rpc.mux].map((channel) => channel.protocol),
      known: rpc.mux._infos.size,
      rejected: rpc.mux._remoteBacklog, // protomux counts them as waiting until the connection closes
      requests: rpc._requests.size,
      handlers: socket.eventNames().reduce((n, name) => n + socket.listenerCount(name), 0)
    }
  },

  // scrape asks for the metrics of an alias, several times; it waits for a connection first.
  async scrape ({ on, alias, times = 1, waitMs = 20000, body = false }) {
    const entry = await get(on, 'scraper').scraper.connected(alias, waitMs)
    const scrapes = []
    for (let i = 0; i < times; i++) {
      const started = Date.now()
      const { success, metrics, errorMessage } = await entry.scraper.requestMetrics()
      scrapes.push({
        success,
        ms: Date.now() - started,
        bytes: success ? Buffer.byteLength(metrics) : 0,
        sha256: success ? crypto.createHash('sha256').update(metrics).digest('hex') : '',
        body: success && body ? metrics : undefined,
        errorMessage
      })
    }
    return { scrapes }
  },

  // -- swarms

  // swarm starts a swarm on a node, without topics; an event reports each of its connections.
  async swarm ({ on, seed, maxPeers, maxParallel, reject = [] }) {
    const firewall = (remotePublicKey) => {
      const refused = reject.includes(remotePublicKey.toString('hex'))
      put({ event: 'swarm-firewall', of: handle, remotePublicKey, refused })
      return refused
    }
    const swarm = new Hyperswarm({ dht: get(on, 'node').dht, keyPair: keyPair(seed), maxPeers, maxParallel, firewall })
    const handle = keep({ kind: 'swarm', swarm, close: () => swarm.server.close() })
    swarm.on('connection', (socket, info) => {
      put({
        event: 'swarm-connection',
        of: handle,
        on: keepConnection(socket, handle),
        topics: info.topics,
        client: info.client,
        ...connectionFacts(socket)
      })
    })
    return { on: handle, publicKey: swarm.keyPair.publicKey }
  },

  // swarmJoin joins a topic, or refreshes it with other roles, and waits until it is announced and looked up.
  async swarmJoin ({ on, topic, server = true, client = true }) {
    const { swarm } = get(on, 'swarm')
    const joined = swarm.status(hex(topic))
    if (joined) await joined._sessions[0].refresh({ server, client })
    else await swarm.join(hex(topic), { server, client }).flushed()
    return {}
  },

  async swarmLeave ({ on, topic }) {
    await get(on, 'swarm').swarm.leave(hex(topic))
    return {}
  },

  async swarmSuspend ({ on }) {
    await get(on, 'swarm').swarm.suspend()
    return {}
  },

  async swarmResume ({ on }) {
    await get(on, 'swarm').swarm.resume()
    return {}
  },

  // swarmDrop destroys all connections of a swarm.
  async swarmDrop ({ on }) {
    for (const socket of get(on, 'swarm').swarm.connections) socket.destroy()
    return {}
  },

  async swarmListen ({ on }) {
    await get(on, 'swarm').swarm.listen()
    return {}
  },

  async swarmFlush ({ on }) {
    return { flushed: await get(on, 'swarm').swarm.flush() }
  },

  async swarmJoinPeer ({ on, key }) {
    get(on, 'swarm').swarm.joinPeer(hex(key))
    return {}
  },

  async swarmLeavePeer ({ on, key }) {
    get(on, 'swarm').swarm.leavePeer(hex(key))
    return {}
  },

  async swarmBan ({ on, key }) {
    const info = get(on, 'swarm').swarm.peers.get(key)
    if (!info) throw new Error(`the swarm does not know ${key}`)
    info.ban(true)
    return {}
  },

  async swarmInfo ({ on }) {
    const { swarm } = get(on, 'swarm')
    const peers = [...swarm.peers.values()].map((p) => (
      { publicKey: p.publicKey, banned: p.banned, explicit: p.explicit, topics: p.topics }))
    const open = [...swarm.connections].map((c) => ({ publicKey: c.remotePublicKey, handshakeHash: c.handshakeHash }))
    return { peers, open }
  },

  // beam is one side of a pipe of hyperbeam, on a node that ends with it: the one that listens without a key. Its events are those of a
  // connection, and remote-address when it listens.
  async beam ({ on, key, announce = false }) {
    const options = { announce, dht: get(on, 'node').dht }
    const beam = key ? new Hyperbeam(key, options) : new Hyperbeam(options)
    const handle = keepConnection(beam)
    beam.on('remote-address', () => put({ event: 'remote-address', of: handle }))
    return { on: handle, key: beam.key }
  },

  // registerAlias registers any key under any alias, as a client would.
  async registerAlias ({ on, scraper, secret, alias, key, hostname = 'host', service = 'service', timeoutMs }) {
    const client = new AliasRpcClient(hex(scraper), hex(secret), get(on, 'node').dht, { requestTimeoutMs: timeoutMs })
    client.on('connection-error', () => {})
    return { updated: await client.registerAlias(alias, hex(key), hostname, service) }
  }
}

async function run (line) {
  const { call, do: name, ...args } = JSON.parse(line)
  try {
    if (!Object.hasOwn(commands, name)) throw new Error(`no command is named ${name}`)
    put({ call, ...(await commands[name](args)) })
  } catch (error) {
    put({ call, error: String(error.message || error), code: error.code || '' })
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', run)
  .on('close', () => process.exit(0))
put({ event: 'ready', node: process.version })
