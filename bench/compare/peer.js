// The JavaScript roles of the comparison. Each prints lines of JSON: one when it is ready, and one for each line on its standard input,
// with which it ends.
//
//   node peer.js bridge BOOTSTRAP SEED SECRET                          {address, key}
//   node peer.js client BOOTSTRAP SCRAPERKEY SECRET ALIAS PAGE         {}   any line: reads the file PAGE again
//   node peer.js crowd BOOTSTRAP SCRAPERKEY SECRET PAGE                 {}   FROM COUNT PARALLEL: {seconds}, until so many are registered
//   node peer.js listen BOOTSTRAP                                      {key}
//   node peer.js dial BOOTSTRAP KEY                                    {}   bulk BYTES, trips NUMBER: {seconds}
//   node peer.js udx ID                                                {port}   peer ID PORT: {}; then as dial, of one of the two
'use strict'

const fs = require('fs')
const http = require('http')
const path = require('path')
const readline = require('readline')
const modules = path.join(__dirname, '..', '..', 'interop', 'js', 'node_modules')
const load = (name) => require(path.join(modules, name))

const HyperDHT = load('hyperdht')
const Hyperswarm = load('hyperswarm')
const UDX = load('udx-native')
const AliasRpcServer = load('dht-prom-alias-rpc')
const DhtPromClient = load('dht-prom-client')
const DhtPromScraper = load('dht-prom-client/scraper')

const print = (o) => process.stdout.write(JSON.stringify(o) + '\n')
const bootstrapOf = (text) => [{ host: text.split(':')[0], port: Number(text.split(':')[1]) }]
const node = (bootstrap) => new HyperDHT({ bootstrap: bootstrapOf(bootstrap), host: '127.0.0.1' })

// bridge has the published packages of the bridge, and its handler for scrapes on node's HTTP server.
async function bridge (bootstrap, seed, secret) {
  const swarm = new Hyperswarm({ dht: node(bootstrap), keyPair: HyperDHT.keyPair(Buffer.from(seed, 'hex')) })
  swarm.on('connection', (socket) => socket.on('error', () => {}))
  const scrapers = new Map()
  new AliasRpcServer(swarm, Buffer.from(secret, 'hex'), (alias, key) => { // eslint-disable-line no-new
    const scraper = new DhtPromScraper(swarm, key)
    scraper.on('connection-error', () => {})
    scraper.ready()
    const former = scrapers.get(alias)
    scrapers.set(alias, scraper)
    if (former) former.close()
    return true
  })
  await swarm.listen()
  const server = http.createServer({ keepAliveTimeout: 72000 }, async (req, res) => {
    const scraper = scrapers.get(req.url.split('/')[2])
    let reply = { success: false, errorMessage: 'unknown alias' }
    try {
      if (scraper) reply = await scraper.requestMetrics()
    } catch (err) {
      reply.errorMessage = err.message
    }
    const body = Buffer.from(reply.success ? reply.metrics : reply.errorMessage)
    res.writeHead(reply.success ? 200 : 502, { 'content-type': 'text/plain; charset=utf-8', 'content-length': body.length })
    res.end(body)
  })
  server.listen(0, '127.0.0.1', () => print({ address: `127.0.0.1:${server.address().port}`, key: swarm.keyPair.publicKey.toString('hex') }))
  return () => ({})
}

async function client (bootstrap, scraperKey, secret, alias, page) {
  let body = fs.readFileSync(page, 'utf8')
  const c = new DhtPromClient(node(bootstrap), () => body, scraperKey, alias, Buffer.from(secret, 'hex'), 'bench')
  c.on('register-alias-error', (err) => console.error(err))
  await c.ready()
  print({})
  return () => {
    body = fs.readFileSync(page, 'utf8')
    return {}
  }
}

// crowd has many clients on one node.
async function crowd (bootstrap, scraperKey, secret, page) {
  const body = fs.readFileSync(page, 'utf8')
  const dht = node(bootstrap)
  await dht.fullyBootstrapped()
  print({})
  return async (from, count, parallel) => {
    const began = process.hrtime.bigint()
    let next = Number(from)
    const end = next + Number(count)
    const worker = async () => {
      while (next < end) {
        // Each client has a key of its own, as those on different nodes: the bridge keeps one connection for a key.
        const own = {
          createServer: (...args) => dht.createServer(...args),
          connect: (key) => dht.connect(key, { keyPair: HyperDHT.keyPair() })
        }
        const c = new DhtPromClient(own, () => body, scraperKey, `crowd-target-${next++}`, Buffer.from(secret, 'hex'), 'bench')
        let failed = null
        c.on('register-alias-error', (err) => { failed = err })
        await c.ready()
        if (failed) throw failed
      }
    }
    await Promise.all(Array.from({ length: Number(parallel) }, worker))
    return { seconds: Number(process.hrtime.bigint() - began) / 1e9 }
  }
}

// Streams: a header, a mode and a number of bytes, and then that many. The last byte of a bulk is answered by one byte; trips are echoed.

const TRIPS = 1
const HEADER = 9
const CHUNK = Buffer.alloc(1 << 20)
const TRIP = Buffer.alloc(64)

function answerStream (stream) {
  let head = Buffer.alloc(0)
  let left = 0
  stream.on('error', (err) => console.error(err))
  stream.on('data', (b) => {
    while (b.length > 0) {
      if (left === 0) {
        const rest = HEADER - head.length
        head = Buffer.concat([head, b.subarray(0, rest)])
        b = b.subarray(rest)
        if (head.length === HEADER) left = Number(head.readBigUInt64LE(1))
        continue
      }
      const part = b.subarray(0, left)
      b = b.subarray(part.length)
      left -= part.length
      if (head[0] === TRIPS) stream.write(part)
      else if (left === 0) stream.write(Buffer.alloc(1))
      if (left === 0) head = Buffer.alloc(0)
    }
  })
}

// caller returns what answers the lines of a dialer.
function caller (stream) {
  let received = 0
  let wanted = 0
  let resume = null
  stream.on('error', (err) => {
    console.error(err)
    process.exit(1)
  })
  stream.on('data', (b) => {
    received += b.length
    if (received >= wanted && resume) resume()
  })
  const receive = (n) => new Promise((resolve) => {
    wanted += n
    resume = resolve
    if (received >= wanted) resolve()
  })
  const header = (mode, n) => {
    const b = Buffer.alloc(HEADER)
    b[0] = mode
    b.writeBigUInt64LE(BigInt(n), 1)
    stream.write(b)
  }
  return async (what, text) => {
    const n = Number(text)
    const began = process.hrtime.bigint()
    if (what === 'trips') {
      header(TRIPS, n * TRIP.length)
      for (let i = 0; i < n; i++) {
        stream.write(TRIP)
        await receive(TRIP.length)
      }
    } else {
      header(0, n)
      for (let left = n; left > 0; left -= CHUNK.length) {
        if (!stream.write(CHUNK.subarray(0, left))) await new Promise((resolve) => stream.once('drain', resolve))
      }
      await receive(1)
    }
    return { seconds: Number(process.hrtime.bigint() - began) / 1e9 }
  }
}

async function listen (bootstrap) {
  const server = node(bootstrap).createServer({ shareLocalAddress: false }, answerStream)
  await server.listen()
  print({ key: server.publicKey.toString('hex') })
  return () => ({})
}

async function dial (bootstrap, key) {
  const dht = node(bootstrap)
  await dht.fullyBootstrapped()
  const socket = dht.connect(Buffer.from(key, 'hex'), { localConnection: false })
  const call = caller(socket)
  await socket.opened
  print({})
  return call
}

async function udx (id) {
  const u = new UDX()
  const socket = u.createSocket()
  socket.bind(0, '127.0.0.1')
  const stream = u.createStream(Number(id))
  print({ port: socket.address().port })
  let call = null
  return async (what, ...args) => {
    if (what !== 'peer') {
      if (!call) call = caller(stream)
      return call(what, ...args)
    }
    stream.connect(socket, Number(args[0]), Number(args[1]), '127.0.0.1')
    if (args[2] === 'answer') answerStream(stream)
    return {}
  }
}

const roles = { bridge, client, crowd, listen, dial, udx }

async function main ([role, ...args]) {
  const lines = readline.createInterface({ input: process.stdin })
  const answer = await roles[role](...args)
  for await (const line of lines) print(await answer(...line.split(' ')))
  process.exit(0)
}

main(process.argv.slice(2)).catch((err) => {
  console.error(err)
  process.exit(1)
})
